"""What stops the short way of a write, its one statement, and what stopping leaves behind."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from tokenkeep.backends.vault import VaultStore
from tokenkeep.errors import FormatUnsupported, SecretDamaged, VaultDamaged
from tokenkeep.secret import Secret
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.lockfile import LockFile
from vault.places import call, item, open_store, value


def reach_in(directory: Path, *statements: str) -> list[tuple[object, ...]]:
    """What the last of some statements gives that are run behind the vault's back."""
    database = sqlite3.connect(directory / "vault" / "vault.db", isolation_level=None)
    rows: list[tuple[object, ...]] = []
    for statement in statements:
        rows = database.execute(statement).fetchall()
    database.close()
    return rows


def written(directory: Path) -> VaultStore:
    """A store with two items, of whose entries it remembers nothing."""
    store = open_store(directory)
    for name in ("a", "b"):
        store.write(item(name), Secret("before"), call())
        state = store._vault._open_state
        assert state is not None
        state[1].forget(subject(item(name)))
    return store


def opened_files(directory: Path) -> list[str]:
    """The names of a directory's files that this process has open; none where nobody can tell."""
    if not os.path.isdir("/proc/self/fd"):
        return []
    places = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            places.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:  # what listed them
            continue
    return [os.path.basename(place) for place in places if place.startswith(os.fspath(directory))]


def behind_the_index(statement: str) -> tuple[str, ...]:
    """Statements that change the table of items while its index does not know."""
    return (
        "CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'item_by_place_b'",
        "PRAGMA writable_schema = ON",
        "DELETE FROM sqlite_schema WHERE name = 'item_by_place_b'",
        "PRAGMA writable_schema = RESET",
        statement,
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_schema SELECT * FROM kept",
        "PRAGMA writable_schema = RESET",
        "PRAGMA schema_version = 100",
    )


@pytest.mark.parametrize("damage", ["x'00'", "CAST(substr(envelope, 1, 30) || x'ff' AS BLOB)"])
def test_refused_statement_keeps_nothing_open(tmp_path: Path, damage: str) -> None:
    """Closing after it moves no log into the database while another process has the lock."""
    store = written(tmp_path)
    reach_in(tmp_path, f"UPDATE item SET envelope = {damage}")
    store.write(item("a"), Secret("3"), call())
    rival = LockFile(os.fspath(tmp_path / "vault"))
    assert rival.try_lock()
    files = [tmp_path / "vault" / name for name in ("vault.db", "vault.db-wal")]
    before = [file.read_bytes() for file in files]
    store.close()
    assert set(opened_files(tmp_path)) <= {"lock"}
    del store
    assert before == [file.read_bytes() for file in files]
    rival.close()
    assert "3" == value(open_store(tmp_path), "a")


@pytest.mark.parametrize("columns", ["place_a BLOB PRIMARY KEY", "place_a"])
@pytest.mark.parametrize("name", ["a", "new"])
def test_table_that_takes_rows_without_a_place_gets_none(
    tmp_path: Path, columns: str, name: str
) -> None:
    """What somebody made of the table makes nothing that stops the statement pass for a write."""
    store = written(tmp_path)
    reach_in(
        tmp_path,
        f"CREATE TABLE other ({columns}, place_b, name, envelope)",
        "INSERT INTO other SELECT place_a, place_b, name, envelope FROM item",
        "DROP TABLE item",
        "ALTER TABLE other RENAME TO item",
        "CREATE UNIQUE INDEX item_by_place_b ON item (place_b, place_a)",
        "UPDATE state SET erase_pending = 1",
    )
    store.write(item(name), Secret("3"), call())
    assert "3" == value(store, name)
    assert [(0,)] == reach_in(tmp_path, "SELECT count(*) FROM item WHERE place_a IS NULL")


def test_entry_whose_row_has_another_second_place_is_not_updated(tmp_path: Path) -> None:
    """Though the index still leads from the right place to it: it would be written and not read."""
    store = written(tmp_path)
    reach_in(tmp_path, *behind_the_index("UPDATE item SET place_b = zeroblob(24)"))
    try:
        store.write(item("a"), Secret("3"), call())
    except VaultDamaged:
        with pytest.raises(SecretDamaged):
            store.read(item("a"), call())
    else:
        assert "3" == value(store, "a")


def test_entry_that_the_index_lost_is_not_updated(tmp_path: Path) -> None:
    """It would go on having one way to it instead of two, and nobody would know."""
    store = written(tmp_path)
    reach_in(
        tmp_path,
        "CREATE TEMP TABLE lost AS SELECT * FROM item",
        "DELETE FROM item",
        *behind_the_index("INSERT INTO item SELECT * FROM lost"),
    )
    assert "before" == value(store, "a")
    try:
        store.write(item("a"), Secret("3"), call())
    except VaultDamaged:
        assert "before" == value(store, "a")
    else:
        indexed = "SELECT count(*) FROM item INDEXED BY item_by_place_b WHERE place_b > x''"
        assert [(1,)] == reach_in(tmp_path, indexed)


def test_envelope_with_another_head_goes_into_quarantine(tmp_path: Path) -> None:
    """Also where all that is behind its head would open: a newer version may have written it."""
    store = written(tmp_path)
    reach_in(tmp_path, "UPDATE item SET envelope = CAST(x'7f' || substr(envelope, 2) AS BLOB)")
    with pytest.raises(FormatUnsupported):
        store.read(item("a"), call())
    store.write(item("a"), Secret("3"), call())
    assert "3" == value(store, "a")
    assert [(1,)] == reach_in(tmp_path, "SELECT count(*) FROM quarantine")
