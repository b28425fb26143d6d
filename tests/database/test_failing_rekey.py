"""A rekey that cannot commit: the database keeps its key, whatever SQLCipher says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3

from database.test_database_key import Crash, Place
from database.test_kills import key_in
from support.small_disk import fill, set_read_only, small_disk
from tokenkeep.database import DatabaseKey
from tokenkeep.errors import AccessDenied, StoreFull, StoreTimeout, StoreUnavailable
from tokenkeep.secret import Secret

#: What a connection waits for others (sqlcipher3's default), and then some.
LONGEST_SECONDS = 12.0
MODES = ("DELETE", "WAL")
KEY, NEXT = "database key", "database key (next)"

READER = """
import sys
from database.test_kills import key_in
connection = key_in(sys.argv[1]).connect(isolation_level=None)
connection.execute("BEGIN")
rows = connection.execute("SELECT * FROM note")
rows.fetchone()
print("reading", flush=True)
sys.stdin.readline()
print(1 + len(rows.fetchall()), flush=True)
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that wait for others for a moment only."""
    connect = partial(sqlcipher3.dbapi2.connect, timeout=0.2)
    monkeypatch.setattr(sqlcipher3.dbapi2, "connect", connect)


def filled(key: DatabaseKey, mode: str, count: int = 600) -> None:
    """A database of some 350 KB in this journal mode."""
    connection = key.connect()
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE note (text)")
    connection.executemany("INSERT INTO note VALUES (?)", [("x" * 500,)] * count)
    connection.commit()
    connection.close()


def assert_whole(key: DatabaseKey, count: int = 600) -> None:
    """Every row is there by the key in the store."""
    connection = key.connect()
    assert (count,) == connection.execute("SELECT count(*) FROM note").fetchone()
    assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()


@contextmanager
def reading(directory: Path) -> Iterator[Callable[[], int]]:
    """Another process in the middle of a SELECT; the function lets it read on to the end."""
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    ) as child:
        asked, answers = child.stdin, child.stdout
        assert asked is not None
        assert answers is not None

        def rest() -> int:
            asked.write(b"\n")
            asked.flush()
            return int(answers.readline())

        try:
            assert b"reading\n" == answers.readline()
            yield rest
        finally:
            child.kill()


def test_a_reader_in_another_process_keeps_a_rekey_out_for_a_bounded_time(tmp_path: Path) -> None:
    """Without a log of its own a database is not written while it is read: nothing changes."""
    filled(key_in(str(tmp_path)), "DELETE")
    storage = key_in(str(tmp_path))._storage
    before = storage.read(KEY)
    with reading(tmp_path) as rest:
        began = time.monotonic()
        with pytest.raises(StoreTimeout) as caught:
            key_in(str(tmp_path)).rekey()
        assert LONGEST_SECONDS > time.monotonic() - began
        assert "other connections" in str(caught.value.hint)
        assert (before, [KEY]) == (storage.read(KEY), storage.names())
        assert 600 == rest()
    assert_whole(key_in(str(tmp_path)))
    key_in(str(tmp_path)).rekey()
    assert before != storage.read(KEY)
    assert_whole(key_in(str(tmp_path)))


def test_a_reader_in_another_process_goes_on_beside_a_rekey_in_wal_mode(tmp_path: Path) -> None:
    """It ends on its snapshot under the old key; the log with pages of both is no obstacle."""
    filled(key_in(str(tmp_path)), "WAL")
    storage = key_in(str(tmp_path))._storage
    old = storage.read(KEY)
    with reading(tmp_path) as rest:
        key_in(str(tmp_path)).rekey()
        assert [KEY] == storage.names()
        assert_whole(key_in(str(tmp_path)))
        key_in(str(tmp_path)).rekey()
        assert_whole(key_in(str(tmp_path)))
        assert 600 == rest()
    assert old != storage.read(KEY)
    assert_whole(key_in(str(tmp_path)))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("mode", "begin"), [("DELETE", "BEGIN; SELECT * FROM note"), ("WAL", "BEGIN IMMEDIATE")]
)
def test_a_transaction_of_our_own_process_keeps_a_rekey_out(
    place: Place, mode: str, begin: str
) -> None:
    """It goes on and commits, and then the key can be replaced."""
    filled(place.key(), mode)
    mine = place.key().connect(isolation_level=None)
    for statement in begin.split("; "):
        mine.execute(statement).fetchone()
    with pytest.raises(StoreTimeout):
        place.key().rekey()
    assert [KEY] == place.storage().names()
    mine.execute("INSERT INTO note VALUES ('y')")
    mine.execute("COMMIT")
    mine.close()
    assert_whole(place.key(), 601)
    place.key().rekey()
    assert_whole(place.key(), 601)


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("kilobytes", [4, 40, 100, 200, 300, 330])
@pytest.mark.parametrize("mode", MODES)
def test_a_system_that_refuses_to_write_leaves_the_key(
    place: Place, mode: str, kilobytes: int
) -> None:
    """Refused anywhere in the file or its log: a typed error, and the database opens as before."""
    import resource

    filled(place.key(), mode)
    before = place.storage().read(KEY)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, old[1]))
    try:
        with pytest.raises((StoreFull, StoreUnavailable)) as caught:
            place.key().rekey()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert caught.value.hint
    assert before == place.storage().read(KEY)
    assert_whole(place.key())
    place.key().rekey()
    assert_whole(place.key())
    assert [KEY] == place.storage().names()


@pytest.mark.requires("full disk")
@pytest.mark.parametrize("room", [0, 16, 64, 256, 340])
@pytest.mark.parametrize("is_connected", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_leaves_the_key(place: Place, mode: str, is_connected: bool, room: int) -> None:
    """Full at any point of the re-encryption, with others connected or not: nothing is lost."""
    with small_disk(place.directory / "disk", 1200) as disk:
        place.path = disk / "notes.db"
        filled(place.key(), mode)
        before = place.storage().read(KEY)
        others = [place.key().connect()] if is_connected else []
        for other in others:
            other.execute("SELECT count(*) FROM note").fetchone()
        ballast = fill(disk)
        os.truncate(ballast, ballast.stat().st_size - room * 1024)
        # Where there is no room even for the log's index, SQLCipher says that input failed.
        expected = StoreFull if room > 32 else (StoreFull, StoreUnavailable)
        with pytest.raises(expected) as caught:
            place.key().rekey()
        assert "room" in str(caught.value.hint)
        assert before == place.storage().read(KEY)
        ballast.unlink()
        assert_whole(place.key())
        place.key().rekey()
        assert_whole(place.key())
        assert [KEY] == place.storage().names()
        for other in others:
            other.close()


@pytest.mark.requires("full disk")
@pytest.mark.parametrize("mode", MODES)
def test_a_read_only_disk_leaves_the_key(place: Place, mode: str) -> None:
    """Nothing can be written, which SQLCipher need not say."""
    with small_disk(place.directory / "disk", 1200) as disk:
        place.path = disk / "notes.db"
        filled(place.key(), mode)
        set_read_only(disk, True)
        with pytest.raises((AccessDenied, StoreUnavailable)) as caught:
            place.key().rekey()
        assert caught.value.hint
        set_read_only(disk, False)
        assert_whole(place.key())
        place.key().rekey()
        assert_whole(place.key())
        assert [KEY] == place.storage().names()


class Deaf(sqlcipher3.dbapi2.Connection):  # type: ignore[misc]
    """As SQLCipher before 4.18 where no page could be written: it says yes."""

    def reset_key(self, key: object) -> None:
        return None


def deaf(path: str, **settings: Any) -> Any:
    """A connection that does."""
    return sqlcipher3.connect(path, factory=Deaf, **settings)


def test_what_sqlcipher_says_of_a_rekey_is_not_believed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said yes and re-encrypted nothing: an error, and the key stays."""
    filled(place.key(), "DELETE")
    before = place.storage().read(KEY)
    with monkeypatch.context() as until_then:
        until_then.setattr(sqlcipher3.dbapi2, "connect", deaf)
        with pytest.raises(StoreUnavailable, match="not re-encrypted"):
            place.key().rekey()
    assert (before, [KEY]) == (place.storage().read(KEY), place.storage().names())
    assert_whole(place.key())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_committed", [False, True])
def test_where_it_cannot_be_told_both_keys_stay(
    place: Place, is_committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody locks the database before we look: a timeout, and later calls settle it."""
    filled(place.key(), "DELETE")
    lock = sqlcipher3.connect(str(place.path), isolation_level=None)

    def step(name: str) -> None:
        if name == "settle":
            until_then.undo()
            bind(lock, place.key(), NEXT if is_committed else KEY)
            lock.execute("BEGIN EXCLUSIVE")

    with monkeypatch.context() as until_then:
        if not is_committed:
            until_then.setattr(sqlcipher3.dbapi2, "connect", deaf)
        with pytest.raises(StoreTimeout):
            place.key(step).rekey()
    assert [KEY, NEXT] == place.storage().names()
    lock.close()
    assert_whole(place.key())
    place.key().rekey()
    assert_whole(place.key())
    assert [KEY] == place.storage().names()


def test_a_re_encryption_left_in_the_log_never_counts_without_its_key(tmp_path: Path) -> None:
    """SQLite's log may hold one that nobody connected sees: it would count once all are gone.

    Its key is dropped only when something was written in its place.
    """
    filled(key_in(str(tmp_path)), "WAL")
    key = key_in(str(tmp_path))
    with reading(tmp_path):  # which keeps the log there
        connection = key.connect()
        connection.execute("INSERT INTO note VALUES ('y')")
        connection.commit()
        connection.close()
        cut_off, salt = Secret(b"\7" * 32), key._salt()
        key._keep(NEXT, cut_off, salt)
        elsewhere = copied(tmp_path, "elsewhere")
        connection = sqlcipher3.connect(str(elsewhere))
        bind(connection, key, KEY)
        assert key._re_encrypt(connection, cut_off, salt) is None
        written = Path(f"{elsewhere}-wal").read_bytes()
        connection.close()
        log = tmp_path / "notes.db-wal"
        assert log.read_bytes() == written[: log.stat().st_size]
        log.write_bytes(written)
        assert 601 == counted(copied(tmp_path, "crashed before"), key, NEXT)

        def step(name: str) -> None:
            if name == "store next":
                raise Crash

        with pytest.raises(Crash):
            key_in(str(tmp_path), step).rekey()
        assert [KEY] == key._storage.names()
        assert 601 == counted(copied(tmp_path, "crashed after"), key, KEY)
    assert_whole(key_in(str(tmp_path)), 601)


@pytest.mark.requires("/proc")
def test_a_key_becomes_the_only_one_after_the_commit_is_durable(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's log and its directory are synced before the old key is replaced."""
    filled(place.key(), "WAL")
    other = place.key().connect()
    other.execute("SELECT count(*) FROM note").fetchone()
    synced: list[str] = []
    at_step: dict[str, list[str]] = {}
    fsync = os.fsync

    def recorded(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", recorded)
    place.key(lambda name: at_step.update({name: list(synced)})).rekey()
    other.close()
    assert [] == at_step["settle"]
    assert [f"{place.path}-wal", str(place.directory)] == at_step["store key"]


def copied(directory: Path, name: str) -> Path:
    """The database with its log, as they would be found if all processes ended now."""
    for ending in ("", "-wal"):
        shutil.copy(directory / f"notes.db{ending}", directory / f"{name}.db{ending}")
    return directory / f"{name}.db"


def bind(connection: Any, key: DatabaseKey, name: str) -> None:
    """Gives a connection one of the two keys in the store."""
    found = key._stored(name)
    assert found is not None
    held = key._locked(*found[:2])
    with held.view() as text:
        connection.set_key(text)
    held.wipe()


def counted(path: Path, key: DatabaseKey, name: str) -> int:
    """How many rows are in a database under one of the two keys in the store."""
    connection = sqlcipher3.connect(str(path))
    bind(connection, key, name)
    (count,) = connection.execute("SELECT count(*) FROM note").fetchone()
    connection.close()
    return int(count)
