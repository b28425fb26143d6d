"""A database's key while others reset it, make it first, or are forked from us."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from database.test_database_key import Crash, Place
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.database import DatabaseKey
from tokenkeep.item import Call, ItemName
from tokenkeep.native.locked_memory import LockedMemory
from tokenkeep.secret import Secret


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


class Meanwhile(MemoryStore):
    """A store in which somebody else does something right after the first look at an item."""

    def __init__(self, others: Callable[[], None]) -> None:
        super().__init__()
        self.others: Callable[[], None] | None = others

    def read(self, name: ItemName, call: Call) -> Secret | None:
        found = super().read(name, call)
        others, self.others = self.others, None
        if others is not None:
            others()
        return found


def test_a_database_is_never_begun_with_a_key_that_somebody_erased(place: Place) -> None:
    """Who holds a key while another resets makes a new one: what it writes opens again."""
    place.fill()
    mine = place.key()
    assert 3 == place.count(mine)
    place.key().reset()
    connection = mine.connect()
    connection.execute("CREATE TABLE note (text)")
    connection.close()
    assert 0 == place.count()


def test_a_key_that_was_just_made_by_another_is_not_lost(place: Place) -> None:
    """Between our look into the store and at the file another makes both."""
    place.store = Meanwhile(place.fill)
    assert 3 == place.count()


def test_a_rekey_may_come_first(place: Place) -> None:
    """Without a key and a database both are made, and the key replaced."""
    DatabaseKey(place.storage(timeout=2.0), place.path).rekey()
    place.fill()
    assert 3 == place.count()


@pytest.mark.parametrize("crash_at", [1, 2, 3])
def test_a_killed_reset_leaves_a_log_with_its_database(
    place: Place, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one moves the rest to the same place, so that a restored key opens all of it."""
    place.fill()
    kept = place.storage().read("database key")
    writer = place.key().connect(isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO note VALUES ('y')")
    moved: list[str] = []
    rename = os.rename

    def killed(source: Any, target: Any) -> None:
        moved.append(source)
        if len(moved) == crash_at:
            raise Crash
        rename(source, target)

    with monkeypatch.context() as until_killed:
        until_killed.setattr(os, "rename", killed)
        with pytest.raises(Crash):
            place.key().reset()
    aside = place.key().reset()
    assert aside is not None
    assert os.path.exists(aside + "-wal")
    place.storage().write("database key", kept)  # type: ignore[arg-type]
    assert 4 == place.count(DatabaseKey(place.storage(), aside))
    writer.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_is_forked_in_the_middle_goes_on(place: Place) -> None:
    """The lock of a thread that the child does not have keeps nobody out there."""
    place.fill()
    key = place.key()

    def look() -> None:
        os._exit(0 if place.count(key) == 3 else 1)

    with key._alone():
        child = os.fork()
        if not child:
            thread = threading.Thread(target=look, daemon=True)
            thread.start()
            thread.join(20)
            os._exit(2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_neither_sees_nor_wipes_locked_memory() -> None:
    """The memory is not shared: the child finds nothing or a copy, and wipes that only."""
    memory = LockedMemory(b"secret", requires_lock=False)
    child = os.fork()
    if not child:
        with memory.view() as seen:
            found = bytes(seen)
        memory.wipe()
        os._exit(0 if found in (bytes(6), b"secret") else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with memory.view() as mine:
        assert b"secret" == bytes(mine)
    memory.wipe()
