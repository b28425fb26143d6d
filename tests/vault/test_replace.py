"""All keys replaced at once: the new ones open the vault, the old ones never again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.places import CHEAP
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.backends.store_item import SERVICE as KEPT
from tokenkeep.backends.store_item import StoreItemKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import (
    StoreLocked,
    StoreUnavailable,
    TokenkeepError,
    UnsupportedOption,
    WrongKey,
)
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.testing.faulty import Fails, FaultyStore
from tokenkeep.vault.key import Key
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.rekey import RekeyReport, rekey
from tokenkeep.vault.replace import every_name, replace_all, was_begun
from tokenkeep.vault.vault import Vault

ITEMS = {
    ItemName("org.example", "one"): b"first value",
    ItemName("org.example", "one", SESSION): b"a session",
    ItemName("org.other", "two"): b"second value",
}


class Crash(Exception):
    """The process dies here."""


def call() -> Call:
    return Call(30.0)


def old_keys(place: Path) -> tuple[Key, ...]:
    return KeyFile(place / "old.key"), Passphrase("old", profile=CHEAP)


def new_keys(place: Path) -> tuple[Key, ...]:
    return KeyFile(place / "new.key"), Passphrase("new", profile=CHEAP)


def store(place: Path, *keys: Key) -> VaultStore:
    return VaultStore(VaultOptions(place / "vault", keys, create=False))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = VaultStore(VaultOptions(tmp_path / "vault", old_keys(tmp_path)))
    for name, value in ITEMS.items():
        made.write(name, Secret(value), call())
    made.close()
    return tmp_path


def replaced(
    place: Path, keys: tuple[Key, ...], step: Callable[[str], None] = lambda _name: None
) -> RekeyReport:
    """What the command does: the old keys open the vault unless this goes on."""
    header = Vault(str(place / "vault"), (), False).header()
    assert header is not None
    goes_on = was_begun(header, keys, call())
    vault = Vault(str(place / "vault"), keys if goes_on else (*old_keys(place), *keys), False)
    try:
        return replace_all(vault, keys, call, step=step).rekeyed
    finally:
        vault.close()


def opens(place: Path, key: Key) -> bool:
    opened = store(place, key)
    try:
        found = {name: opened.read(name, call()) for name in ITEMS}
    except TokenkeepError:
        return False
    finally:
        opened.close()
    return {name: Secret(value) for name, value in ITEMS.items()} == found


def ways_in(place: Path) -> list[bool]:
    """Which of the old two and of the new two open the vault with everything in it."""
    return [opens(place, key) for key in (*old_keys(place), *new_keys(place))]


def test_new_keys_open_it_and_old_ones_do_not(place: Path) -> None:
    """Each new key by itself; root key, item keys and every envelope are other ones."""
    vault = Vault(str(place / "vault"), old_keys(place), False)
    before = vault.opened(call())[1]
    report = replaced(place, new_keys(place))
    assert (3, 0, False) == (report.items, report.damaged, report.pending)
    assert [False, False, True, True] == ways_in(place)
    after = Vault(str(place / "vault"), new_keys(place), False).opened(call())[1]
    assert before.root != after.root
    assert not before.header.wrapped_keys.keys() & after.header.wrapped_keys.keys()
    assert not {slot.id for slot in before.header.slots} & {slot.id for slot in after.header.slots}
    assert b"" == after.header.previous_root
    assert all("replacing" not in slot.extra for slot in after.header.slots)


def test_old_bytes_are_gone(place: Path) -> None:
    """No envelope of before is in any of the vault's files, so that the old keys open nothing."""
    database = place / "vault" / "vault.db"
    connection = sqlite3.connect(database)
    sealed = [row[0] for row in connection.execute("SELECT envelope FROM item")]
    connection.close()
    replaced(place, new_keys(place))
    content = b"".join(path.read_bytes() for path in (place / "vault").iterdir())
    assert 3 == len(sealed)
    assert [] == [each for each in sealed if each[-16:] in content]


def is_through(place: Path) -> bool:
    header = Vault(str(place / "vault"), (), False).header()
    return header is not None and all("replacing" not in slot.extra for slot in header.slots)


def test_killed_anywhere_it_goes_on(tmp_path: Path) -> None:
    """Before the one step that counts the old keys open everything, after it the new ones."""
    count = 0
    while True:
        place = tmp_path / str(count)
        place.mkdir()
        made = VaultStore(VaultOptions(place / "vault", old_keys(place)))
        for name, value in ITEMS.items():
            made.write(name, Secret(value), call())
        made.close()
        left = count

        def dies(_name: str) -> None:
            nonlocal left
            if left == 0:
                raise Crash
            left -= 1

        try:
            replaced(place, new_keys(place), dies)
        except Crash:
            pass
        else:
            break
        by_old, _, by_new, _ = ways_in(place)
        assert by_old != by_new
        try:
            assert 3 == replaced(place, new_keys(place)).items
        except UnsupportedOption:
            assert is_through(place)
        assert [False, False, True, True] == ways_in(place)
        count += 1
    assert count > 8


@pytest.mark.parametrize("number", [0, 1], ids=["key file", "passphrase"])
def test_an_old_key_is_no_new_one(place: Path, number: int) -> None:
    """Whoever has it would be in again: refused, and nothing has changed."""
    with pytest.raises(UnsupportedOption, match="opens the vault already"):
        replaced(place, (new_keys(place)[1], old_keys(place)[number]))
    assert [True, True, False, False] == ways_in(place)
    assert not os.path.exists(place / "new.key")


def test_it_is_not_taken_for_an_interrupted_rekey(place: Path) -> None:
    """A key that only had its root key replaced, and not to the end, is an old one, too."""
    vault = Vault(str(place / "vault"), old_keys(place), False)

    def dies(name: str) -> None:
        if name == "batch":
            raise Crash

    with pytest.raises(Crash):
        rekey(vault, call, root=True, step=dies)
    vault.close()
    with pytest.raises(UnsupportedOption, match="opens the vault already"):
        replaced(place, (old_keys(place)[1],))
    assert 3 == replaced(place, new_keys(place)).items
    assert [False, False, True, True] == ways_in(place)


def test_a_vault_needs_a_new_key(place: Path) -> None:
    """Nobody is locked out by an empty list."""
    vault = Vault(str(place / "vault"), old_keys(place), False)
    with pytest.raises(UnsupportedOption, match="at least one new key"):
        replace_all(vault, (), call)
    assert opens(place, old_keys(place)[0])


def test_another_vaults_key_file_is_refused(place: Path, tmp_path: Path) -> None:
    """It would lose the other vault its name."""
    other = KeyFile(tmp_path / "other.key")
    made = VaultStore(VaultOptions(tmp_path / "other", other))
    made.write(ItemName("a", "b"), Secret("x"), call())
    made.close()
    with pytest.raises(StoreUnavailable, match="another vault"):
        replaced(place, (other,))
    assert opens(place, old_keys(place)[0])


def test_what_the_old_keys_kept_elsewhere_is_erased(tmp_path: Path) -> None:
    """A new item of the platform's store takes the old one's place, under another name."""
    platform = MemoryStore()
    key = StoreItemKey(platform)
    made = VaultStore(VaultOptions(tmp_path / "vault", key))
    made.write(ItemName("a", "b"), Secret("x"), call())
    made.close()
    before = platform.names(KEPT, call())
    vault = Vault(str(tmp_path / "vault"), (key,), False)
    replace_all(vault, (key,), call)
    after = platform.names(KEPT, call())
    assert (1, 1) == (len(before), len(after))
    assert before != after
    assert Secret("x") == store(tmp_path, key).read(ItemName("a", "b"), call())


def test_what_cannot_be_erased_elsewhere_is_said(tmp_path: Path) -> None:
    """The old key opens nothing any more, whether its store can be reached or not."""
    platform = FaultyStore(MemoryStore())
    key = StoreItemKey(platform)
    made = VaultStore(VaultOptions(tmp_path / "vault", key))
    made.write(ItemName("a", "b"), Secret("x"), call())
    made.close()
    platform.faults["delete"] = Fails(StoreLocked)
    new = KeyFile(tmp_path / "new.key")
    vault = Vault(str(tmp_path / "vault"), (key, new), False)
    report = replace_all(vault, (new,), call)
    assert (1, ["store-item"]) == (report.rekeyed.items, [each.kind for each in report.dropped])
    assert [StoreLocked] == [type(each) for each in report.problems]
    assert Secret("x") == store(tmp_path, new).read(ItemName("a", "b"), call())
    with pytest.raises(WrongKey):
        store(tmp_path, key).read(ItemName("a", "b"), call())


def test_every_application_is_listed(place: Path) -> None:
    """By name, of both kinds; what has no name any more is counted."""
    vault = Vault(str(place / "vault"), old_keys(place), False)
    assert (sorted(ITEMS), 0) == every_name(vault, call)
