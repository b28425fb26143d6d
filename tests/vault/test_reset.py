"""The one explicit way out of a vault that nothing can open any more."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from tokenkeep.errors import (
    InteractionDenied,
    NotAVault,
    StoreLocked,
    StoreUnavailable,
    TokenkeepError,
    VaultDamaged,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.vault import files
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.reset import require_lost, set_aside
from tokenkeep.vault.vault import Vault
from vault.places import (
    CHEAP,
    PATIENCE,
    SERVICE,
    call,
    item,
    key_file,
    open_store,
    open_vault,
    value,
)


def storage_at(place: Path, *keys: KeyFile | Passphrase) -> SecureStorage:
    return SecureStorage(SERVICE, open_store(place, *keys), state_directory=str(place / "state"))


def test_a_vault_that_opens_is_emptied_of_the_service_alone(tmp_path: Path) -> None:
    """Reset does what `delete_all` does; other applications' items stay."""
    storage = storage_at(tmp_path)
    storage.write("a", "1")
    other = SecureStorage("org.other", open_store(tmp_path), state_directory=str(tmp_path / "s"))
    other.write("b", "2")
    erased = storage.reset()
    assert (1, None) == (erased, erased.set_aside)
    assert [] == storage.names()
    assert ["b"] == other.names()


def test_reset_of_nothing_is_nothing(tmp_path: Path) -> None:
    """Neither a vault nor a key file: there is nothing to begin anew."""
    erased = storage_at(tmp_path).reset()
    assert (0, None) == (erased, erased.set_aside)


@pytest.mark.requires("POSIX files")
def test_a_vault_that_was_moved_away_while_it_was_open_is_not_said_to_be_erased(
    tmp_path: Path,
) -> None:
    """Its items are wherever it went."""
    storage = storage_at(tmp_path)
    storage.write("a", "1")
    os.rename(tmp_path / "vault", tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable):
        storage.reset()
    os.rename(tmp_path / "elsewhere", tmp_path / "vault")
    assert "1" == value(open_store(tmp_path), "a")


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("header", ["good", "damaged"])
def test_a_pipe_in_the_place_of_the_database_keeps_nobody_waiting(
    tmp_path: Path, header: str
) -> None:
    """SQLite would wait for somebody at its other end; the vault is lost, and set aside."""
    storage = storage_at(tmp_path)
    storage.write("a", "1")
    storage.store.close()  # type: ignore[attr-defined]
    if header == "damaged":
        damage_header(tmp_path)
    os.rename(tmp_path / "vault" / files.DATABASE, tmp_path / "kept")
    os.mkfifo(tmp_path / "vault" / files.DATABASE, 0o600)
    set_aside = []
    reset = threading.Thread(
        target=lambda: set_aside.append(storage.reset().set_aside), daemon=True
    )
    reset.start()
    reset.join(PATIENCE)
    assert [True] == [place is not None for place in set_aside]


def lose_key_file(place: Path) -> None:
    os.unlink(key_file(place).path)


def give_another_key(place: Path) -> None:
    os.unlink(key_file(place).path)
    key_file(place).make()


def damage_header(place: Path) -> None:
    header = place / "vault" / "header"
    header.write_bytes(header.read_bytes()[:-5] + b"xxxxx")


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lose_key_file, VaultKeyMissing),
        (give_another_key, WrongKey),
        (damage_header, VaultDamaged),
    ],
)
def test_a_lost_vault_is_set_aside_whole(
    tmp_path: Path, harm: object, error: type[TokenkeepError]
) -> None:
    """Until then every call says what is wrong; afterwards a new vault begins; nothing is gone."""
    storage_at(tmp_path).write("a", "1")
    database = (tmp_path / "vault" / "vault.db").read_bytes()
    assert callable(harm)
    harm(tmp_path)
    storage = storage_at(tmp_path)
    for attempt in (lambda: storage.read("a"), lambda: storage.write("a", "2"), storage.names):
        with pytest.raises(error):
            attempt()
    aside = storage.reset().set_aside
    assert aside is not None
    assert database == Path(aside, "vault.db").read_bytes()
    assert storage.read("a") is None
    storage.write("a", "2")
    assert "2" == value(open_store(tmp_path), "a")


def test_what_was_set_aside_can_be_moved_back(tmp_path: Path) -> None:
    """A lost key file that turns up opens what was kept."""
    storage_at(tmp_path).write("a", "1")
    key = Path(key_file(tmp_path).path)
    kept = key.read_bytes()
    key.unlink()
    aside = storage_at(tmp_path).reset().set_aside
    assert aside is not None
    os.rename(aside, tmp_path / "vault")
    key.write_bytes(kept)
    key.chmod(0o600)
    assert "1" == value(open_store(tmp_path), "a")


def test_key_file_of_another_vault_stays_where_it_is(tmp_path: Path) -> None:
    """With a damaged header the database still says which vault it was."""
    for place in (tmp_path / "one", tmp_path / "other"):
        place.mkdir()
        storage_at(place).write("a", "1")
    damage_header(tmp_path / "one")
    storage = storage_at(tmp_path / "one", key_file(tmp_path / "one"), key_file(tmp_path / "other"))
    assert storage.reset().set_aside is not None
    assert not os.path.exists(key_file(tmp_path / "one").path)
    assert "1" == value(open_store(tmp_path / "other"), "a")


def test_killed_between_its_two_moves_it_goes_on(tmp_path: Path) -> None:
    """The key file was moved, the vault not yet: the same call moves the vault."""
    storage_at(tmp_path).write("a", "1")
    os.rename(key_file(tmp_path).path, tmp_path / "key.set-aside-1234")
    storage = storage_at(tmp_path)
    with pytest.raises(VaultKeyMissing):
        storage.read("a")
    assert storage.reset().set_aside is not None
    storage.write("a", "2")
    assert "2" == value(open_store(tmp_path), "a")


def test_a_vault_that_is_elsewhere_is_not_lost(tmp_path: Path) -> None:
    """A drive that is not mounted: the key file that waits for it stays, and so does the answer."""
    storage_at(tmp_path).write("a", "1")
    os.rename(tmp_path / "vault", tmp_path / "elsewhere")
    key = Path(key_file(tmp_path).path).read_bytes()
    with pytest.raises(StoreUnavailable, match="the vault is gone"):
        storage_at(tmp_path).reset()
    assert key == Path(key_file(tmp_path).path).read_bytes()
    os.rename(tmp_path / "elsewhere", tmp_path / "vault")
    assert "1" == value(open_store(tmp_path), "a")


def test_a_key_file_that_came_back_meanwhile_keeps_the_vault_in_its_place(tmp_path: Path) -> None:
    """What was found lost is not lost any more, however long a person thought it over."""
    storage_at(tmp_path).write("a", "1")
    os.rename(tmp_path / "key", tmp_path / "elsewhere")
    vault = open_vault(tmp_path)
    lost = require_lost(vault, call())
    assert lost is not None
    os.rename(tmp_path / "elsewhere", tmp_path / "key")
    with pytest.raises(StoreUnavailable, match="changed meanwhile"):
        set_aside(vault, lost, call())
    assert "1" == value(open_store(tmp_path), "a")


def test_a_damaged_key_file_of_no_vault_stays_where_it_is(tmp_path: Path) -> None:
    """There is nothing to set aside: the error about the key file says what is the matter."""
    storage_at(tmp_path).write("a", "1")
    os.rename(tmp_path / "vault", tmp_path / "elsewhere")
    (tmp_path / "key").write_bytes(b"damaged")
    with pytest.raises(WrongKey):
        storage_at(tmp_path).reset()
    assert b"damaged" == (tmp_path / "key").read_bytes()


@pytest.mark.requires("POSIX files")
def test_a_lock_that_others_can_have_keeps_the_vault_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process has no descriptor left; the writer who has the lock knows nothing of it."""
    storage_at(tmp_path).write("a", "1")
    os.rename(tmp_path / "key", tmp_path / "elsewhere")
    vault = open_vault(tmp_path)
    lost = require_lost(vault, call())
    assert lost is not None

    def none_left(_path: str) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(files, "open_lock", none_left)
        with pytest.raises(StoreUnavailable):
            set_aside(vault, lost, call())
    assert (tmp_path / "vault").is_dir()
    assert Path(set_aside(vault, lost, call())).is_dir()


class LockedKey(Passphrase):
    """A key whose own store is locked."""

    def opener(self, vault_id: bytes, call: object) -> object:  # type: ignore[override]
        raise StoreLocked("locked")


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (LockedKey("x", profile=CHEAP), StoreLocked),
        (Passphrase(lambda: "correct horse", CHEAP, prompts=True), InteractionDenied),
        (Passphrase("mistyped", profile=CHEAP), WrongKey),
    ],
)
def test_what_may_open_again_is_left_alone(
    tmp_path: Path, key: Passphrase, error: type[TokenkeepError]
) -> None:
    """Locked, a question that may not be asked, and a mistyped passphrase are no reason."""
    right = Passphrase("correct horse", profile=CHEAP)
    open_store(tmp_path, right).write(item("a"), Secret("1"), call())
    with pytest.raises(error):
        storage_at(tmp_path, key).reset()
    assert "1" == value(open_store(tmp_path, right), "a")


def test_a_foreign_thing_is_never_moved(tmp_path: Path) -> None:
    """What is no vault is not ours to set aside."""
    (tmp_path / "vault").mkdir(0o700)
    (tmp_path / "vault" / "letters.txt").write_text("dear diary")
    with pytest.raises(NotAVault):
        storage_at(tmp_path).reset()
    assert "dear diary" == (tmp_path / "vault" / "letters.txt").read_text()


def test_of_two_that_reset_the_second_leaves_the_new_vault_alone(tmp_path: Path) -> None:
    """Both found the vault lost; one set it aside and began anew before the other moved it."""
    storage_at(tmp_path).write("a", "1")
    lose_key_file(tmp_path)
    late = Vault(str(tmp_path / "vault"), (key_file(tmp_path),), True)
    lost = require_lost(late, call())
    assert lost is not None
    first = storage_at(tmp_path)
    assert first.reset().set_aside is not None
    first.write("a", "2")
    with pytest.raises(StoreUnavailable, match="replaced meanwhile"):
        set_aside(late, lost, call())
    assert "2" == value(open_store(tmp_path), "a")
