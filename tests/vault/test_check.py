"""What a check says is wrong lies where it says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tokenkeep.errors import VaultDamaged
from tokenkeep.secret import Secret
from tokenkeep.vault.check import check
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.rows import following
from tokenkeep.vault.transfer import export
from vault.places import call, item, open_store, open_vault, passphrase, record

SIDES = ("vault.db-wal", "vault.db-shm")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with a few items and one in quarantine, all of it in the database."""
    directory = tmp_path_factory.mktemp("check")
    store = open_store(directory)
    for number in range(40):
        store.write(item(f"n{number}"), Secret(f"value {number}"), call())
    store.write(record("alice"), Secret("record"), call())
    store.erase("org.example.none", call())
    store.close()
    change(
        directory, "UPDATE item SET envelope = x'00' WHERE place_a IN (SELECT place_a FROM item)"
    )
    store = open_store(directory)
    for number in range(40):
        store.write(item(f"n{number}"), Secret(f"value {number}"), call())
    store.write(record("alice"), Secret("record"), call())
    store.erase("org.example.none", call())
    store.close()
    return directory


def change(directory: Path, statement: str) -> None:
    database = sqlite3.connect(directory / "vault" / "vault.db")
    database.execute(statement)
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def places_found(directory: Path) -> set[str]:
    vault = open_vault(directory)
    try:
        return {finding.where.split(" ")[0] for finding in check(vault, call).findings}
    finally:
        vault.close()


def spoilt(directory: Path, name: str, every: int) -> dict[int, set[str]]:
    """Where a check finds something wrong, for flipped bytes of a file that say something."""
    path = directory / name
    whole = path.read_bytes()
    found = {}
    try:
        saying = [at for at, byte in enumerate(whole) if byte]
        for at in saying[::every]:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
            restore_sides(directory)
            found[at] = places_found(directory)
    finally:
        path.write_bytes(whole)
        restore_sides(directory)
    assert set() == places_found(directory)
    return found


def test_a_flipped_byte_of_the_header_is_found_in_the_header(place: Path) -> None:
    assert {("header",)} == {tuple(each) for each in spoilt(place, "vault/header", 7).values()}


def test_a_flipped_byte_of_the_key_file_is_found_at_the_key(place: Path) -> None:
    assert {("key",)} == {tuple(each) for each in spoilt(place, "key", 5).values()}


def test_a_flipped_byte_of_the_database_is_never_found_at_a_key(place: Path) -> None:
    """It is in the database, an item or quarantine, or may be in the header too."""
    found = spoilt(place, "vault/vault.db", 61)
    assert len(found) > 100
    assert {"vault.db", "item", "quarantine"} == set().union(*found.values()) - {"header"}


def test_a_tree_out_of_order_ends_every_walk_over_it(place: Path) -> None:
    """Whoever asks for what comes behind the last row must not get the same rows for ever."""
    path = place / "vault" / "vault.db"
    whole = path.read_bytes()
    vault = open_vault(place)
    (last,) = vault.opened(call())[0].row(call(), "SELECT max(place_a) FROM item")
    vault.close()
    try:
        path.write_bytes(whole.replace(last, b"\0" + last[1:]))
        restore_sides(place)
        assert "vault.db" in places_found(place)
        vault = open_vault(place)
        exported = export(vault, str(place / "exported"), passphrase(), call)
        assert 1 == exported.unnamed
        assert len(exported.items) >= 39  # all others but the session
        with suppress(VaultDamaged):  # which way the search for the next batch goes is chance
            rekey(vault, call)
        vault.close()
    finally:
        restore(place, whole)


@pytest.mark.parametrize("last", [b"b", b"a", b"", None, "c", 7])
def test_a_walk_that_comes_no_further_ends_as_damage(last: object) -> None:
    with pytest.raises(VaultDamaged):
        following(b"b", last)
    assert b"ba" == following(b"b", b"ba")


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE state SET generation = 7", "header and vault.db"),
        ("UPDATE state SET vault_id = x'00112233445566778899aabbccddeeff'", "vault.db"),
        ("DELETE FROM state", "vault.db"),
        ("DROP TABLE item", "vault.db"),
        ("PRAGMA application_id = 1", "vault.db"),
        ("UPDATE quarantine SET kept = x'00' WHERE number = 1", "quarantine 1"),
    ],
)
def test_damage_within_the_database_is_found_there(
    tmp_path: Path, place: Path, statement: str, where: str
) -> None:
    whole = (place / "vault" / "vault.db").read_bytes()
    try:
        change(place, statement)
        vault = open_vault(place)
        assert {where} == {finding.where for finding in check(vault, call).findings}
        vault.close()
    finally:
        restore(place, whole)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"another format's file" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:6000]),
        lambda path: path.chmod(0o644),
    ],
    ids=["empty", "missing", "foreign", "truncated", "readable by others"],
)
def test_a_database_file_that_cannot_be_used_is_found_once(
    place: Path, spoil: Callable[[Path], object]
) -> None:
    """Not at the header, which is whole, nor at the key, which opens."""
    path = place / "vault" / "vault.db"
    whole = path.read_bytes()
    try:
        spoil(path)
        vault = open_vault(place)
        assert ["vault.db"] == [finding.where for finding in check(vault, call).findings]
        vault.close()
    finally:
        restore(place, whole)


def restore(place: Path, whole: bytes) -> None:
    path = place / "vault" / "vault.db"
    path.unlink(missing_ok=True)
    path.write_bytes(whole)
    path.chmod(0o600)
    restore_sides(place)


def restore_sides(place: Path) -> None:
    for side in SIDES:
        (place / "vault" / side).unlink(missing_ok=True)
