"""What is in quarantine can be looked at, taken back once it opens, and erased."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenkeep.database_item import KEY_BYTES, SALT_BYTES, packed
from tokenkeep.errors import (
    FormatUnsupported,
    SecretDamaged,
    StoreUnavailable,
    UnsupportedOption,
    WriteConflict,
)
from tokenkeep.installation import Marker
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.check import check
from tokenkeep.vault.quarantine import entries, erase, restore
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.vault import Vault
from vault.places import all_bytes, call, item, open_store, open_vault, record, value

NEWER = "UPDATE item SET envelope = CAST(x'02' || substr(envelope, 2) AS BLOB)"


def run(place: Path, statement: str) -> None:
    vault = open_vault(place)
    vault.transaction(call(), lambda connection, _keys: connection.execute(statement))
    vault.close()


def replaced(place: Path, names: list[ItemName], spoil: str) -> Vault:
    """A vault whose items were written anew after they had been spoilt."""
    store = open_store(place)
    for name in names:
        store.write(name, Secret(f"old {name.name}"), call())
    store.close()
    run(place, spoil)
    for name in names:
        store.write(name, Secret(f"new {name.name}"), call())
    store.close()
    return open_vault(place)


def lost_index(place: Path) -> Vault:
    """An item in quarantine that an index had lost: its bytes are whole."""
    return replaced(place, [item("a")], "UPDATE item SET place_b = zeroblob(24)")


def test_what_does_not_open_is_listed_with_the_reason(tmp_path: Path) -> None:
    """By name and number, oldest first, of both kinds; nothing changes."""
    vault = replaced(tmp_path, [item("a"), item("b"), record("alice")], NEWER)
    found = entries(vault, call())
    assert [1, 2, 3] == [entry.number for entry in found]
    assert [item("a"), item("b"), record("alice")] == [entry.name for entry in found]
    assert {FormatUnsupported} == {type(entry.problem) for entry in found}
    assert 3 == check(vault, call).quarantined
    for number in (1, 2, 3):
        with pytest.raises(FormatUnsupported):
            restore(vault, number, call(), replace=True)
    assert 3 == len(entries(vault, call()))
    vault.close()


@pytest.mark.parametrize("damage", ["name = x'00'", "kept = x'00'", "name = '', kept = ''"])
def test_a_damaged_entry_is_listed_and_can_be_erased(tmp_path: Path, damage: str) -> None:
    vault = lost_index(tmp_path)
    run(tmp_path, f"UPDATE quarantine SET {damage}".replace("''", "x''"))
    (entry,) = entries(vault, call())
    assert isinstance(entry.problem, SecretDamaged)
    with pytest.raises(SecretDamaged):
        restore(vault, entry.number, call(), replace=True)
    assert (1, False) == erase(vault, [entry.number], call())
    assert [] == entries(vault, call())
    vault.close()


def test_what_opens_again_is_taken_back(tmp_path: Path) -> None:
    """Over another item only if that was asked for; afterwards it is an item like all others."""
    vault = lost_index(tmp_path)
    (entry,) = entries(vault, call())
    assert entry.problem is None
    with pytest.raises(WriteConflict):
        restore(vault, entry.number, call())
    store = open_store(tmp_path)
    assert "new a" == value(store, "a")
    assert item("a") == restore(vault, entry.number, call(), replace=True)
    assert "old a" == value(store, "a")
    assert [] == entries(vault, call())
    with pytest.raises(UnsupportedOption):
        restore(vault, entry.number, call())
    assert check(vault, call).is_well
    store.close()
    vault.close()


def test_a_rekey_leaves_what_may_open_one_day_the_key_to_it(tmp_path: Path) -> None:
    """Also of what only a newer version reads; erased, its key goes with the next rekey."""
    vault = replaced(tmp_path, [item("a")], NEWER)
    rekey(vault, call)
    assert FormatUnsupported is type(entries(vault, call())[0].problem)
    assert 2 == len(vault.opened(call())[1].header.wrapped_keys)
    erase(vault, None, call())
    rekey(vault, call)
    assert 1 == len(vault.opened(call())[1].header.wrapped_keys)
    vault.close()


@pytest.mark.parametrize("root", [False, True])
def test_a_rekey_takes_what_opens_again_with_it(tmp_path: Path, root: bool) -> None:
    vault = lost_index(tmp_path)
    rekey(vault, call, root=root)
    assert 1 == len(vault.opened(call())[1].header.wrapped_keys)
    (entry,) = entries(vault, call())
    assert item("a") == entry.name
    assert entry.problem is None
    restore(vault, entry.number, call(), replace=True)
    assert "old a" == value(open_store(tmp_path), "a")
    vault.close()


def test_a_session_is_not_taken_back(tmp_path: Path) -> None:
    """Its refresh token may have been redeemed since: sent again it would end what lives."""
    vault = replaced(tmp_path, [record("alice")], "UPDATE item SET place_b = zeroblob(24)")
    with pytest.raises(UnsupportedOption):
        restore(vault, 1, call(), replace=True)
    assert 1 == len(entries(vault, call()))
    vault.close()


def test_erased_means_gone(tmp_path: Path) -> None:
    """The bytes too; some or all, and none if one of them is not there."""
    vault = replaced(tmp_path, [item("a"), item("b"), item("c")], NEWER)
    (kept,) = vault.opened(call())[0].row(call(), "SELECT kept FROM quarantine WHERE number = 2")
    with pytest.raises(UnsupportedOption):
        erase(vault, [2, 7], call())
    assert [1, 2, 3] == [entry.number for entry in entries(vault, call())]
    assert kept in all_bytes(tmp_path)
    assert (1, False) == erase(vault, [2, 2], call())
    assert [1, 3] == [entry.number for entry in entries(vault, call())]
    assert kept not in all_bytes(tmp_path)
    assert (2, False) == erase(vault, None, call())
    assert (0, False) == erase(vault, None, call())
    assert ["new a", "new b"] == [value(open_store(tmp_path), name) for name in "ab"]
    vault.close()


def test_without_a_vault_there_is_no_quarantine(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    for use in (
        lambda: entries(vault, call()),
        lambda: restore(vault, 1, call()),
        lambda: erase(vault, None, call()),
    ):
        with pytest.raises(StoreUnavailable):
            use()


def test_a_databases_key_is_not_replaced_by_what_is_restored(tmp_path: Path) -> None:
    """The database would never open again; the entry stays, and comes back where the key is not."""
    vault, store = lost_index(tmp_path), open_store(tmp_path)
    key = packed(Secret(bytes(KEY_BYTES)), bytes(SALT_BYTES), "/notes.db")
    store.write(item("a"), key, call())
    with pytest.raises(WriteConflict, match="the key of a database") as caught:
        restore(vault, 1, call(), replace=True)
    assert "tokenkeep vault quarantine --erase 1, if that is the database to keep" == (
        caught.value.hint
    )
    assert (key, 1) == (store.read(item("a"), call()), len(entries(vault, call())))
    store.write(item("a"), Secret("no key any more"), call())
    assert item("a") == restore(vault, 1, call(), replace=True)
    vault.close()
    store.close()


def test_what_is_restored_is_this_installations_own(tmp_path: Path) -> None:
    """A check for a fresh install does not erase it; what was not restored is not claimed."""
    vault, state = lost_index(tmp_path / "vault"), str(tmp_path / "state")
    marker = Marker(state, item("a").service)
    with marker.hold(call().clock, call()):
        marker.begin()
    with pytest.raises(WriteConflict):
        restore(vault, 1, call(), state_directory=state)
    assert ["a"] == marker.left_over(["a"])
    restore(vault, 1, call(), replace=True, state_directory=state)
    assert [] == marker.left_over(["a"])
    vault.close()
