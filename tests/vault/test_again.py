"""Writing an item again and again, while others reach into the vault's files in between."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from tokenkeep.backends.vault import VaultStore
from tokenkeep.errors import SecretDamaged, StoreTimeout, VaultDamaged
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.testing import FakeClock
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.lockfile import LockFile
from tokenkeep.vault.rows import put_plainly
from vault.places import SERVICE, call, item, open_store, open_vault, value


def reach_in(directory: Path, *statements: str) -> int:
    """Runs statements behind the vault's back; how many rows quarantine has then."""
    database = sqlite3.connect(directory / "vault" / "vault.db", isolation_level=None)
    for statement in statements:
        database.execute(statement)
    (count,) = database.execute("SELECT count(*) FROM quarantine").fetchone()
    database.close()
    return int(count)


@pytest.mark.parametrize("damage", ["envelope = x'00'", "envelope = zeroblob(100)"])
def test_damage_between_two_writes_of_one_process_is_quarantined(
    tmp_path: Path, damage: str
) -> None:
    """What the writer remembers of its own write never stands in for what lies there."""
    store = open_store(tmp_path)
    for text in ("1", "2"):
        store.write(item("a"), Secret(text), call())
    reach_in(tmp_path, f"UPDATE item SET {damage}")
    store.write(item("a"), Secret("3"), call())
    assert 1 == reach_in(tmp_path)
    assert "3" == value(store, "a")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE item SET name = x'00'",
        "UPDATE item SET place_b = zeroblob(24)",
        # What lies at the other place leads elsewhere, as a flipped bit in the index makes it.
        "UPDATE item SET place_a = zeroblob(24)",
    ],
)
def test_damaged_entry_is_mended_by_the_next_write_after_a_minute(
    tmp_path: Path, damage: str
) -> None:
    """What was whole a moment ago is not looked at again before a minute is over."""
    store, clock = open_store(tmp_path), FakeClock()
    for text in ("1", "2"):
        store.write(item("a"), Secret(text), Call(5, clock=clock))
    reach_in(tmp_path, damage)
    clock.advance(61)
    store.write(item("a"), Secret("3"), Call(5, clock=clock))
    assert [item("a")] == store.names(SERVICE, call())
    assert "3" == value(store, "a")


@pytest.mark.parametrize("change", ["generation = 2", "erase_pending = 1", "erase_pending = NULL"])
@pytest.mark.parametrize("name", ["a", "new"])
def test_write_that_says_it_is_done_is_done_under_any_schema(
    tmp_path: Path, change: str, name: str
) -> None:
    """A table that takes any value makes none of what stops the short way pass for a write."""
    store = open_store(tmp_path)
    for text in ("1", "2"):
        store.write(item("a"), Secret(text), call())
    reach_in(
        tmp_path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(replace(replace(sql, 'STRICT,', ''),"
        " 'STRICT', ''), 'NOT NULL', '') WHERE type = 'table'",
        "PRAGMA schema_version = 100",
        "PRAGMA writable_schema = RESET",
        f"UPDATE state SET {change}",
    )
    store._vault._open_state[1].forget(subject(item("a")))
    try:
        store.write(item(name), Secret("3"), call())
    except VaultDamaged:  # the header knows of no such generation
        reach_in(tmp_path, "UPDATE state SET generation = 1")
        assert ("2" if name == "a" else None) == value(store, name)
    else:
        assert "3" == value(store, name)


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    """Their order is no part of what a writer goes by."""
    store = open_store(tmp_path)
    for text in ("1", "2"):
        store.write(item("a"), Secret(text), call())
    reach_in(
        tmp_path,
        "CREATE TABLE other (envelope BLOB NOT NULL, place_a BLOB PRIMARY KEY, name BLOB NOT NULL,"
        " place_b BLOB NOT NULL) STRICT, WITHOUT ROWID",
        "INSERT INTO other (place_a, place_b, name, envelope)"
        " SELECT place_a, place_b, name, envelope FROM item",
        "DROP TABLE item",
        "ALTER TABLE other RENAME TO item",
        "CREATE UNIQUE INDEX item_by_place_b ON item (place_b, place_a)",
    )
    store._vault._open_state[1].forget(subject(item("a")))
    for name in ("a", "b"):
        store.write(item(name), Secret("3"), call())
        assert "3" == value(store, name)
    assert [item("a"), item("b")] == store.names(SERVICE, call())


def test_item_that_was_read_as_damaged_is_mended_by_the_next_write(tmp_path: Path) -> None:
    """Whoever writes because a read failed reads what he wrote."""
    store = open_store(tmp_path)
    for text in ("1", "2"):
        store.write(item("a"), Secret(text), call())
    reach_in(tmp_path, "UPDATE item SET place_b = zeroblob(24)")
    with pytest.raises(SecretDamaged):
        store.read(item("a"), call())
    store.write(item("a"), Secret("3"), call())
    assert "3" == value(store, "a")


def test_item_that_another_process_wrote_or_deleted_is_written_again(tmp_path: Path) -> None:
    """Remembering is no lock: the other's write is replaced, and a deleted item comes back."""
    ours, theirs = open_store(tmp_path), open_store(tmp_path)
    for text in ("1", "2"):
        ours.write(item("a"), Secret(text), call())
    theirs.write(item("a"), Secret("theirs"), call())
    ours.write(item("a"), Secret("3"), call())
    assert "3" == value(theirs, "a")
    assert theirs.delete(item("a"), call())
    ours.write(item("a"), Secret("4"), call())
    assert "4" == value(theirs, "a")
    assert 0 == reach_in(tmp_path)


def test_write_that_was_undone_is_not_remembered_as_there(tmp_path: Path) -> None:
    """A transaction that fails after its write leaves the old value, which the next one finds."""
    vault = open_vault(tmp_path)
    store = open_store(tmp_path)
    for text in ("1", "2"):
        store.write(item("a"), Secret(text), call())
    vault.write(item("a"), Secret("3"), call())
    with pytest.raises(ZeroDivisionError):
        vault.transaction(call(), lambda connection, _keys: (
            connection.execute("DELETE FROM item"), 1 / 0,
        ))  # fmt: skip
    vault.write(item("a"), Secret("4"), call())
    assert "4" == value(store, "a")


def test_rollback_that_an_interrupt_came_before_is_made_up_for(tmp_path: Path) -> None:
    """What was begun and never ended is undone by the next write, which is a commit of its own."""
    store = open_store(tmp_path)
    for text in ("1", "2"):
        store.write(item("a"), Secret(text), call())
    state = store._vault._open_state
    assert state is not None
    assert state[0]._writer is not None
    for statement in ("BEGIN IMMEDIATE", "DELETE FROM item"):
        state[0]._writer.execute(statement)
    store.write(item("a"), Secret("3"), call())
    assert "3" == value(open_store(tmp_path), "a")
    store.write(item("b"), Secret("4"), call())
    assert "4" == value(open_store(tmp_path), "b")


def test_interrupt_at_any_moment_of_a_write_keeps_nobody_else_out(tmp_path: Path) -> None:
    """Before or after the lock is had, at every line of the write: it is free, and all is whole."""
    store, rival = open_store(tmp_path), LockFile(os.fspath(tmp_path / "vault"))
    for text in ("before", "0"):
        store.write(item("a"), Secret(text), call())
    moments = 0
    while interrupted(store, moments):
        assert rival.try_lock(), moments
        rival.unlock()
        assert value(open_store(tmp_path), "a") in ("0", "interrupted"), moments
        moments += 1
    rival.close()
    assert moments > 10
    assert "interrupted" == value(open_store(tmp_path), "a")


def interrupted(store: VaultStore, moment: int) -> bool:
    """Whether a write came to the so manieth line or end of what it does under the lock."""
    codes, left = (LockFile.try_lock.__code__, put_plainly.__code__), moment

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., object] | None:
        nonlocal left
        if frame.f_code not in codes:
            return None
        if event in ("line", "return"):
            left -= 1
            if left < 0:
                left = 1 << 30
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        store.write(item("a"), Secret("interrupted"), call())
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.requires("POSIX files")
def test_lock_file_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    """Whoever comes later locks the file that has the name, so that an open vault must, too."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret("1"), call())
    (tmp_path / "vault" / "lock").unlink()
    newcomer = LockFile(os.fspath(tmp_path / "vault"))
    assert newcomer.try_lock()
    with pytest.raises(StoreTimeout):
        store.write(item("a"), Secret("2"), Call(0.2))
    newcomer.unlock()
    newcomer.close()
    store.write(item("a"), Secret("3"), call())
    assert "3" == value(store, "a")


@pytest.mark.requires("POSIX files")
def test_a_lock_file_that_was_replaced_while_it_was_opened_is_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes next locks the file that has the name, so that this one must, too."""
    open_store(tmp_path).write(item("a"), Secret("1"), call())
    path = tmp_path / "vault" / "lock"
    fstat = os.fstat

    def replaced(fd: int) -> os.stat_result:
        monkeypatch.undo()
        path.unlink()
        return fstat(fd)

    monkeypatch.setattr(os, "fstat", replaced)
    lock, other = LockFile(os.fspath(path.parent)), LockFile(os.fspath(path.parent))
    assert lock.try_lock()
    assert not other.try_lock()
    lock.close()
    other.close()


def test_lock_is_free_between_two_writes(tmp_path: Path) -> None:
    """The lock file stays open after a write, but not locked."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret("1"), call())
    other = LockFile(os.fspath(tmp_path / "vault"))
    assert other.try_lock()
    other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_has_no_share_in_the_parents_lock(tmp_path: Path) -> None:
    """After a fork the child's lock keeps the parent out, as any other process's does."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret("1"), call())
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            lock = LockFile(os.fspath(tmp_path / "vault"))
            store.write(item("b"), Secret("child"), call())
            status = 0 if lock.try_lock() else 1
            os.write(go, b"x")
            call().clock.sleep(1.0)
        finally:
            os._exit(status)
    os.read(ready, 1)
    with pytest.raises(StoreTimeout):
        store.write(item("a"), Secret("2"), Call(0.1))
    assert 0 == os.waitpid(pid, 0)[1]
    os.close(ready)
    os.close(go)
    store.write(item("a"), Secret("3"), call())
    assert ("3", "child") == (value(store, "a"), value(store, "b"))
