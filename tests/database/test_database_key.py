"""A database's key: made once, kept, lost, replaced; on a real SQLCipher database."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3

from tokenkeep.backends.memory import MemoryStore
from tokenkeep.database import DatabaseKey
from tokenkeep.errors import (
    SecretDamaged,
    SecretInvalidated,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.faulty import Fails, FaultyStore

SERVICE = "org.example.notes"


class Crash(BaseException):
    """The process ended here."""


class Place:
    """A storage and the path of a database."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store: Any = MemoryStore()
        self.path = directory / "notes.db"

    def storage(self, store: Any = None, **settings: Any) -> SecureStorage:
        return SecureStorage(
            SERVICE, store or self.store, state_directory=str(self.directory), **settings
        )

    def key(self, step: Callable[[str], None] = lambda _name: None) -> DatabaseKey:
        return DatabaseKey(self.storage(), self.path, step=step)

    def fill(self, count: int = 3) -> None:
        with self.key() as key:
            connection = key.connect()
            connection.execute("CREATE TABLE note (text)")
            connection.executemany("INSERT INTO note VALUES (?)", [("x" * 500,)] * count)
            connection.commit()
            connection.close()

    def count(self, key: DatabaseKey | None = None) -> int:
        connection = (key or self.key()).connect()
        try:
            (count,) = connection.execute("SELECT count(*) FROM note").fetchone()
            return int(count)
        finally:
            connection.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_first_connection_makes_key_and_database(place: Place) -> None:
    """The file is encrypted and private, and opens again with the stored key."""
    place.fill()
    assert 3 == place.count()
    assert ["database key"] == place.storage().names()
    head = place.path.read_bytes()
    assert b"SQLite format 3" not in head
    assert b"xxxx" not in head
    assert 0o600 == stat.S_IMODE(place.path.stat().st_mode)


def test_it_is_a_sqlcipher_database_as_any_client_opens_it(place: Place) -> None:
    """The stored key in SQLCipher's raw form is all that another program needs."""
    from tokenkeep import fields

    place.fill()
    found = fields.unpack(place.storage().read("database key").reveal_bytes())  # type: ignore[union-attr]
    assert found["salt"] == place.path.read_bytes()[:16]
    connection = sqlcipher3.connect(str(place.path))
    connection.execute(f"""PRAGMA key = "x'{found["key"].hex()}'" """)
    assert (3,) == connection.execute("SELECT count(*) FROM note").fetchone()
    connection.close()


def test_the_key_is_in_locked_memory_and_wiped(place: Place) -> None:
    """Asked of the kernel: the process has locked memory while a key is held."""
    place.fill()
    key = place.key()
    assert key.is_memory_locked is None
    key.connect().close()
    assert key.is_memory_locked is True
    if os.path.exists("/proc/self/status"):
        status = Path("/proc/self/status").read_text()
        assert "VmLck:\t       0 kB" not in status
    key.close()
    assert key.is_memory_locked is None


def test_the_key_is_never_in_sql_text(place: Place) -> None:
    """No statement that SQLite traces has the key in it, nor has a traceback with locals."""
    place.fill()
    seen: list[str] = []

    class Traced(sqlcipher3.dbapi2.Connection):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self.set_trace_callback(seen.append)

    place.key().connect(factory=Traced).close()
    from tokenkeep import fields

    stored = place.storage().read("database key")
    assert stored is not None
    secret = fields.unpack(stored.reveal_bytes())["key"].hex()
    assert seen
    assert not any(secret in statement.lower() for statement in seen)


def test_a_lost_key_is_one_error_and_is_never_made_anew(place: Place) -> None:
    """Again and again the same answer, and the database's bytes stay what they are."""
    place.fill()
    place.storage().delete("database key")
    before = place.path.read_bytes()
    for _ in range(2):
        with pytest.raises(SecretInvalidated, match="its key is not") as caught:
            place.key().connect()
        assert "reset" in str(caught.value.hint)
    assert [] == place.storage().names()
    assert before == place.path.read_bytes()


def test_a_locked_store_is_not_a_lost_key(place: Place) -> None:
    """Nothing is made, nothing erased; it opens once the store does."""
    place.fill()
    locked = FaultyStore(place.store, {"read": Fails(StoreLocked)})
    with pytest.raises(StoreLocked):
        DatabaseKey(place.storage(locked), place.path).connect()
    assert 3 == place.count()


def test_another_databases_key_is_told_from_a_damaged_database(place: Place) -> None:
    """A restored file of another database: invalidated. Damage behind the head: damaged."""
    place.fill()
    good = place.path.read_bytes()
    other = Place(place.directory / "other")
    other.directory.mkdir()
    other.fill()
    shutil.copy(other.path, place.path)
    with pytest.raises(SecretInvalidated, match="another database's"):
        place.key().connect()
    place.path.write_bytes(good[:16] + os.urandom(len(good) - 16))
    with pytest.raises(SecretDamaged, match="damaged"):
        place.key().connect()
    place.path.write_bytes(good)
    assert 3 == place.count()


def test_something_else_under_the_keys_name_is_left_alone(place: Place) -> None:
    """An item that is no key is damage, not a reason to make one."""
    place.storage().write("database key", "my own text")
    with pytest.raises(SecretDamaged, match="no database's key"):
        place.key().connect()
    assert "my own text" == place.storage().read("database key").reveal()  # type: ignore[union-attr]


def test_what_cannot_be_opened_as_a_file_is_one_of_our_errors(place: Place) -> None:
    """A folder where the database was: the key stays, and opens it when it is back."""
    place.fill()
    aside = place.path.rename(place.directory / "aside.db")
    place.path.mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        place.key().connect()
    place.path.rmdir()
    aside.rename(place.path)
    assert 3 == place.count()


def test_a_second_database_needs_a_key_of_its_own(place: Place) -> None:
    """Begun with the first one's key, it would be lost when that is replaced; a moved one not."""
    place.fill()
    second = place.directory / "second.db"
    with pytest.raises(UnsupportedOption, match="another database"):
        DatabaseKey(place.storage(), second).connect()
    assert not second.exists()
    DatabaseKey(place.storage(), second, name="second").connect().close()
    moved = place.directory / "moved.db"
    place.path.rename(moved)
    assert 3 == place.count(DatabaseKey(place.storage(), moved))


def test_reset_begins_anew_and_keeps_the_old_file(place: Place) -> None:
    """The only way to another key over an old database is to say so."""
    place.fill()
    before = place.path.read_bytes()
    place.storage().delete("database key")
    aside = place.key().reset()
    assert aside is not None
    assert before == Path(aside).read_bytes()
    place.fill(1)
    assert 1 == place.count()
    assert place.key().reset() is not None
    assert place.key().reset() is None


def test_rekey_replaces_the_key(place: Place) -> None:
    """The old key opens nothing any more; the data is what it was; nothing is left beside."""
    place.fill()
    before = place.storage().read("database key")
    key = place.key()
    key.rekey()
    assert 3 == place.count(key)
    after = place.storage().read("database key")
    assert before != after
    assert ["database key"] == place.storage().names()
    place.storage().write("database key", before)  # type: ignore[arg-type]
    with pytest.raises(SecretDamaged):
        place.key().connect()


STEPS = ("store next", "re-encrypt", "settle", "store key", "erase next")


@pytest.mark.parametrize("crash_at", STEPS)
def test_a_crash_at_any_step_of_a_rekey_is_finished_or_taken_back(
    place: Place, crash_at: str
) -> None:
    """The next connection opens the database, and a later rekey goes through."""
    place.fill()
    seen = []

    def step(name: str) -> None:
        seen.append(name)
        if name == crash_at:
            raise Crash

    with pytest.raises(Crash):
        place.key(step).rekey()
    assert crash_at == seen[-1]
    assert 3 == place.count()
    place.key().rekey()
    assert 3 == place.count()
    assert ["database key"] == place.storage().names()


@pytest.mark.parametrize("after", [False, True])
def test_a_store_that_fails_during_a_rekey_loses_nothing(place: Place, after: bool) -> None:
    """At whichever of its calls the store refuses, or its answer is lost: the database opens."""
    place.fill()
    number, is_through = 0, False
    while not is_through:
        number += 1
        faulty = FaultyStore(place.store, {number: Fails(StoreFull, after=after)})
        try:
            DatabaseKey(place.storage(faulty), place.path).rekey()
            is_through = True
        except StoreFull:
            assert number == len(faulty.steps)
        assert 3 == place.count()
    assert number > 8
    assert ["database key"] == place.storage().names()


def test_one_who_held_the_old_key_reads_the_new_one(place: Place) -> None:
    """Another process's rekey is followed at the next connection."""
    place.fill()
    mine, theirs = place.key(), place.key()
    assert 3 == place.count(mine)
    theirs.rekey()
    assert 3 == place.count(mine)


def test_a_rekey_waits_for_no_writer_without_end(place: Place) -> None:
    """A connection that keeps writing is answered with a timeout, and nothing is half done."""
    place.fill()
    writer = place.key().connect(isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO note VALUES ('y')")
    with pytest.raises(StoreTimeout):
        DatabaseKey(place.storage(), place.path).rekey()
    writer.execute("COMMIT")
    writer.close()
    assert 4 == place.count()


def test_many_that_connect_first_share_one_key(place: Place) -> None:
    """Threads with objects of their own race for the first connection."""
    problems: list[BaseException] = []
    gate = threading.Barrier(6)

    def first() -> None:
        gate.wait()
        try:
            place.key().connect().close()
        except BaseException as exc:
            problems.append(exc)

    threads = [threading.Thread(target=first) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [] == problems
    place.fill()
    assert 3 == place.count()


def test_a_restored_pair_opens_and_an_older_key_does_not(place: Place, tmp_path: Path) -> None:
    """Key and database from one backup belong together; a key from before a rekey is told."""
    place.fill()
    old_key = place.storage().read("database key")
    shutil.copy(place.path, tmp_path / "backup.db")
    place.key().rekey()
    place.storage().write("database key", old_key)  # type: ignore[arg-type]
    with pytest.raises(SecretDamaged):
        place.key().connect()
    shutil.copy(tmp_path / "backup.db", place.path)
    assert 3 == place.count()
