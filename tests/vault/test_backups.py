"""Backups put back: parts of different age, or another vault in an open one's place."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenkeep.backends.vault import VaultStore
from tokenkeep.errors import (
    SecretDamaged,
    StoreUnavailable,
    VaultDamaged,
)
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.testing import FakeClock
from tokenkeep.vault.check import check
from tokenkeep.vault.header_file import replace_header
from tokenkeep.vault.rekey import rekey
from vault.places import SERVICE, VERBS, call, fill, item, open_store, open_vault, value


def test_header_of_an_older_backup_is_noticed(tmp_path: Path) -> None:
    """A header that is older than the database is damage, not a smaller vault."""
    fill(tmp_path)
    old = (tmp_path / "vault" / "header").read_bytes()
    rekey(open_vault(tmp_path), call)
    (tmp_path / "vault" / "header").write_bytes(old)
    with pytest.raises(VaultDamaged):
        value(open_store(tmp_path), "a")


@pytest.mark.requires("POSIX files")
def test_backup_that_was_put_in_place_of_an_open_vault_is_opened_by_the_next_call(
    tmp_path: Path,
) -> None:
    """A write to what was moved away would be lost: it fails once, and trying again helps."""
    fill(tmp_path)
    vault = tmp_path / "vault"
    shutil.copytree(vault, tmp_path / "backup")
    stores = [open_store(tmp_path) for _verb in range(3)]
    for store in stores:
        store.write(item("a"), Secret("newer"), call())
    vault.rename(tmp_path / "elsewhere")
    (tmp_path / "backup").rename(vault)
    acts: list[Callable[[VaultStore], object]] = [
        lambda store: store.write(item("b"), Secret("new"), call()),
        lambda store: store.delete(item("b"), call()),
        lambda store: rekey(store._vault, call),
    ]
    for store, act in zip(stores, acts, strict=True):
        with pytest.raises(StoreUnavailable, match="moved or replaced") as caught:
            act(store)
        assert "try again" == caught.value.hint
        act(store)
        assert "value a" == value(store, "a")
    (tmp_path / "vault").rename(tmp_path / "backup")
    (tmp_path / "elsewhere").rename(vault)
    assert "newer" == value(open_store(tmp_path), "a")


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("is_whole", [True, False], ids=["vault", "database"])
def test_reader_follows_to_what_took_the_place_of_its_vault(tmp_path: Path, is_whole: bool) -> None:
    """Within a moment, by every way of reading. Where nothing has the name, it reads on."""
    fill(tmp_path)
    vault, clock = tmp_path / "vault", FakeClock()
    shutil.copytree(vault, tmp_path / "backup")
    store = open_store(tmp_path)
    store.write(item("a"), Secret("newer"), call())
    store.write(item("new"), Secret("value"), call())

    def seen() -> tuple[str | None, bool, int, object]:
        clock.advance(1.0)
        ours = Call(clock=clock)
        found = store.read(item("a"), ours)
        return (
            None if found is None else found.reveal(),
            store.contains(item("new"), ours),
            len(store.names(SERVICE, ours)),
            store.version(ours),
        )

    newer = seen()
    assert ("newer", True) == newer[:2]
    if is_whole:
        vault.rename(tmp_path / "elsewhere")
        assert newer == seen()
        (tmp_path / "backup").rename(vault)
    else:
        (tmp_path / "elsewhere").mkdir()
        for name in ("vault.db", "vault.db-wal", "vault.db-shm"):
            (vault / name).rename(tmp_path / "elsewhere" / name)
        assert newer == seen()
        for name in ("vault.db-wal", "vault.db"):
            (tmp_path / "backup" / name).rename(vault / name)
    older = seen()
    assert ("value a", False, newer[2] - 1) == older[:3]
    assert older[3] != newer[3]
    store.write(item("a"), Secret("newest"), call())
    assert "newest" == value(store, "a") == value(open_store(tmp_path), "a")


def swapped(
    place: Path, moment: str, then: Callable[[], object] = lambda: None
) -> Callable[[str], None]:
    """A rekey's steps, at one of which a backup of its first one takes the vault's place."""
    vault, steps = place / "vault", list[str]()

    def step(name: str) -> None:
        if name == "batch" and name not in steps:
            shutil.copytree(vault, place / "backup")
        if name == moment and name not in steps:
            vault.rename(place / "elsewhere")
            (place / "backup").rename(vault)
            time.sleep(0.2)  # until a reader looks again
            then()
        steps.append(name)

    return step


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("moment", ["batch", "quarantine", "retire", "erase"])
def test_rekey_does_not_go_on_in_what_took_the_place_of_its_vault(
    tmp_path: Path, moment: str
) -> None:
    """A backup of the middle of it has items that only the previous root key finds."""
    fill(tmp_path)
    step = swapped(tmp_path, moment)
    ours = open_vault(tmp_path)
    with pytest.raises(StoreUnavailable, match="moved or replaced"):
        rekey(ours, call, root=True, step=step)
    assert ["value a", "value b"] == [value(open_store(tmp_path), name) for name in "ab"]
    rekey(ours, call)
    assert ["value a", "value b"] == [value(open_store(tmp_path), name) for name in "ab"]
    ours.close()


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("moment", ["batch", "quarantine", "retire", "erase"])
def test_rekey_retires_no_key_of_a_vault_that_another_thread_has_followed_to(
    tmp_path: Path, moment: str
) -> None:
    """What it has not walked through may need the old key."""
    fill(tmp_path)
    ours = open_vault(tmp_path)
    step = swapped(tmp_path, moment, lambda: ours.read(item("a"), call()))
    if moment == "erase":
        rekey(ours, call, root=True, step=step)  # it was through by then
    else:
        with pytest.raises(StoreUnavailable, match="replaced meanwhile"):
            rekey(ours, call, root=True, step=step)
    assert ["value a", "value b"] == [value(open_store(tmp_path), name) for name in "ab"]
    ours.close()


@pytest.mark.requires("POSIX files")
def test_what_was_read_of_a_vault_is_not_written_to_another_in_its_place(tmp_path: Path) -> None:
    """One that was only read until then is noticed by the first write, too."""
    fill(tmp_path)
    vault = tmp_path / "vault"
    shutil.copytree(vault, tmp_path / "backup")
    store = open_store(tmp_path)
    assert "value a" == value(store, "a")
    vault.rename(tmp_path / "elsewhere")
    (tmp_path / "backup").rename(vault)
    with pytest.raises(StoreUnavailable, match="moved or replaced"):
        store.write(item("a"), Secret("new"), call())
    store.write(item("a"), Secret("new"), call())
    assert "new" == value(store, "a") == value(open_store(tmp_path), "a")


@pytest.mark.parametrize("root", [False, True], ids=["new DEK", "new root key"])
def test_database_of_an_older_backup_is_noticed(tmp_path: Path, root: bool) -> None:
    """Items that the header has no key of are not absent, and nothing is written beside them."""
    fill(tmp_path)
    vault = tmp_path / "vault"
    shutil.copytree(vault, tmp_path / "backup")
    rekey(open_vault(tmp_path), call, root=root)
    for name in ("vault.db", "vault.db-wal", "vault.db-shm"):
        (vault / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup" / "vault.db", vault)
    shutil.copy(tmp_path / "backup" / "vault.db-wal", vault)
    for verb in VERBS[:-1]:
        with pytest.raises(SecretDamaged) as caught:
            verb(tmp_path)
        assert caught.value.hint
    with pytest.raises(VaultDamaged):
        value(open_store(tmp_path), "never there")
    with pytest.raises(VaultDamaged):
        open_store(tmp_path).contains(item("never there"), call())
    report = check(open_vault(tmp_path), call)
    assert ["header and vault.db"] == [finding.where for finding in report.findings]
    assert open_store(tmp_path).reset(SERVICE, call())
    assert value(open_store(tmp_path), "a") is None


def test_header_whose_writer_died_has_the_keys_of_all_items(tmp_path: Path) -> None:
    """The database does not know of it: what is absent is absent, and the next write says so."""
    fill(tmp_path)
    vault = open_vault(tmp_path)
    engine, keys = vault.opened(call())
    newer = keys.header.following(is_rekeying=True).encode()
    engine.locked(call(), lambda _connection: replace_header(engine, newer))
    store = open_store(tmp_path)
    assert ("value a", None) == (value(store, "a"), value(store, "never there"))
    store.write(item("b"), Secret("new"), call())
    assert (2,) == engine.row(call(), "SELECT generation FROM state")
