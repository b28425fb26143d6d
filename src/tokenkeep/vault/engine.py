"""The database of a vault: its two connections, its lock, its checkpoints, and forks.

Invariants: commits and checkpoints happen under the vault's lock file; a connection is used by
one thread at a time; neither connections nor the lock's descriptor live through a fork; the writer
is closed before the reader, so that closing never moves the log into the database behind the lock.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from _weakref import ref

from tokenkeep.errors import StoreError, StoreFull, StoreTimeout, StoreUnavailable
from tokenkeep.item import Call
from tokenkeep.vault import files, sqlite
from tokenkeep.vault.holding import AT_ONCE, FIRST_PAUSE, attempt, holding, require, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable
    from sqlite3 import Connection
    from typing import Any, TypeVar

    from tokenkeep.vault.envelope import Sealer
    from tokenkeep.vault.lockfile import LockFile

    T = TypeVar("T")

#: After about so much was written, the log is moved into the database and begun anew. Reading it
#: costs the first opener of an idle vault about a millisecond; the checkpoint is paid once in some
#: sixty new items or two hundred overwritten ones.
CHECKPOINT_BYTES = 1 << 20
#: What one commit writes at least: a leaf of the table, and leaves of its indexes.
COMMIT_BYTES = 16 * 1024
#: A log file that grew beyond this, because a reader was in the way, is cut off.
_LARGEST_LOG_BYTES = 4 * CHECKPOINT_BYTES

#: So often a reader looks whether what it reads still has the name.
_LOOK_SECONDS = 0.1
#: How long a fork waits for the operations under way in other threads.
_FORK_PATIENCE = 10.0
#: How long closing waits for the calls under way in other threads.
_CLOSE_PATIENCE = 10.0


class Engine:
    """The database in one vault's directory. Safe beside threads, forks and processes.

    Attributes:
        identity: device and inode of the file that is read, and written to inside of `locked`.
        was_replaced: another file has its name by now, which only a new engine opens.
        decrypts_with: whose function the writing connection's statements call.
    """

    __slots__ = (
        "__weakref__",
        "_database",
        "_is_orphaned",
        "_lock",
        "_look_after",
        "_pid",
        "_reader",
        "_readers_opened",
        "_reading",
        "_seen",
        "_writer",
        "_writing",
        "_written",
        "decrypts_with",
        "directory",
        "identity",
        "vault_id",
        "was_replaced",
    )

    def __init__(self, directory: str, vault_id: bytes) -> None:
        self.directory = directory
        self.vault_id = vault_id
        self._database = os.path.join(directory, files.DATABASE)
        self._reader: Connection | None = None
        self._writer: Connection | None = None
        self._lock: LockFile | None = None
        self._reading: LockType = allocate_lock()
        self._writing: LockType = allocate_lock()
        self._readers_opened = 0
        # How full the log is nobody can say without reading it. Processes that write once begin
        # their count at random, so that together they checkpoint as often as one that goes on.
        self._written = int.from_bytes(os.urandom(4), "big") % CHECKPOINT_BYTES
        self.identity: tuple[int, int] | None = None
        self.was_replaced = False
        self._look_after = 0.0
        # The state of the directory in which the writer's file had the name.
        self._seen: tuple[int, int, int] | None = None
        self.decrypts_with: Sealer | None = None
        # Nor may another connection be opened beside those that a fork made useless.
        self._is_orphaned = self._database in _leaked
        self._pid = _NOBODY if self._is_orphaned else os.getpid()
        _engines[id(self)] = ref(self)

    @classmethod
    def made(cls, directory: str, vault_id: bytes, call: Call) -> Engine:
        """A new one; not while another thread forks, which would know nothing of it.

        Raises:
            StoreTimeout: the fork did not end in time.
        """
        return holding(_making, call, cls, directory, vault_id)

    def row(self, call: Call, statement: str, values: tuple[object, ...] = ()) -> Any:
        """The first row of a query, or None."""
        return self._read(call, statement, values, False)

    def rows(self, call: Call, statement: str, values: tuple[object, ...] = ()) -> list[Any]:
        """All rows of a query, of one moment; StoreTimeout if they take longer than the call."""
        found: list[Any] = self._read(call, statement, values, True)
        return found

    def version(self, call: Call) -> tuple[int, int]:
        """Differs after every commit of anybody."""
        (number,) = self.row(call, "PRAGMA data_version")
        return self._readers_opened, number

    def is_replaced(self, call: Call) -> bool:
        """Whether another file has the name of the one that is read; looks now and then.

        Where none has, somebody may be about to move it there: what is open is read on.
        """
        now = call.clock.monotonic()
        if self._reader is not None and now >= self._look_after:
            self._look_after = now + _LOOK_SECONDS
            try:
                found = os.lstat(self._database)
            except OSError:
                return False
            self.was_replaced = (found.st_dev, found.st_ino) != self.identity
        return self.was_replaced

    def locked(self, call: Call, body: Callable[..., T], *arguments: object) -> T:
        """Runs `body` with the writing connection, alone among all processes; no transaction.

        Args:
            body: takes the connection and `arguments`.

        Raises:
            StoreTimeout: another process had the lock all the time.
            StoreUnavailable: the vault was moved or replaced meanwhile.
            StoreError: whatever the database said.
        """
        pause = FIRST_PAUSE
        has_looked_anew = False
        problem: StoreError
        while True:
            writing = self._writing
            is_ours = is_locked = False
            try:
                (is_ours,) = map(writing.acquire, AT_ONCE)  # as in `holding`
                if not is_ours:
                    (is_ours,) = attempt(writing, call)
                    require(is_ours)
                try:
                    if self._pid != os.getpid():
                        self._require_same_process()
                    lock = self._lock or self._new_lock()
                    is_locked = lock.try_lock()
                    if is_locked:
                        return body(self._writing_connection(call), *arguments)
                    problem = StoreTimeout("another process was writing to the vault all the time")
                except sqlite.ERRORS_OF_ROWS as exc:
                    self._forget_writer_after_failure()
                    if sqlite.is_read_only(exc) and not has_looked_anew:
                        # SQLite goes on saying so of files that it once met on a read-only disk.
                        has_looked_anew = True
                        holding(self._reading, call, self._close_connections)
                        continue
                    problem = sqlite.translated(exc)
                    if not sqlite.is_busy(exc):
                        raise problem from exc
                except BaseException:
                    self._forget_writer_after_failure()
                    raise
                finally:
                    if is_locked:
                        lock.unlock()
            except BaseException as exc:
                if is_ours and not isinstance(exc, Exception):
                    # A Ctrl-C may have come before we knew that we had it, or before its unlocking.
                    self._close_lock()
                raise
            finally:
                if is_ours:
                    writing.release()
            pause = wait(call, pause, problem)

    def transaction(
        self,
        call: Call,
        body: Callable[..., T],
        arguments: tuple[object, ...] = (),
        size: int = 0,
        erases: bool = False,
    ) -> T:
        """Runs `body` in one durable transaction; whatever it raises undoes it.

        Args:
            body: takes the connection and `arguments`; on a full disk it may run twice.
            size: about how many bytes it writes; a guess is enough.
            erases: on a full disk it may have the room that the vault keeps.

        Raises: as `locked`.
        """
        commit: Callable[..., T] = self._commit
        try:
            return self.locked(call, commit, call, body, arguments, size)
        except StoreFull:
            if not erases:
                raise
        commit = self._commit_with_room
        return self.locked(call, commit, call, body, arguments, size)

    def wrote(self, connection: Connection, size: int) -> None:
        """Counts what was committed inside of `locked`, about so many bytes of the log."""
        self._written += size
        if self._written >= CHECKPOINT_BYTES:
            self._begin_log_anew(connection)

    def checkpoint(self, connection: Connection, restart: bool = False) -> bool:
        """Moves the log into the database, inside of `locked`; False if somebody was in the way.

        Args:
            restart: keep the log file, to be overwritten: a file that need not grow is written
                twice as fast as one that does.
        """
        try:
            size = os.stat(self._database + "-wal").st_size
            how = "RESTART" if restart and size <= _LARGEST_LOG_BYTES else "TRUNCATE"
            row = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        except (OSError, sqlite.Error):
            # What was committed is durable in the log; the next one tries again.
            return False
        return bool(row) and row[0] == 0

    def close(self) -> None:
        """Closes the connections; the next call opens them again. May be called twice.

        In a child that was forked behind Python's back they are the parent's, and are left alone.

        Raises:
            StoreTimeout: another thread's call did not end.
        """
        if self._pid != os.getpid():
            self._leak()
            return
        patience = Call(_CLOSE_PATIENCE)
        holding(self._writing, patience, holding, self._reading, patience, self._close)

    def __del__(self) -> None:
        if _engines.pop(id(self), None) is None:
            return  # a Ctrl-C came before it was whole
        if self._pid == os.getpid():
            self._close()
        else:
            self._leak()

    def _read(self, call: Call, statement: str, values: tuple[object, ...], whole: bool) -> Any:
        pause = FIRST_PAUSE
        while True:
            reading = self._reading
            is_ours = False
            try:
                (is_ours,) = map(reading.acquire, AT_ONCE)  # as in `holding`
                if not is_ours:
                    (is_ours,) = attempt(reading, call)
                    require(is_ours)
                self._require_same_process()
                reader = self._reader or self._open_reader()
                if not whole:
                    return reader.execute(statement, values).fetchone()
                try:
                    sqlite.stop_at(reader, call)
                    return reader.execute(statement, values).fetchall()
                finally:
                    reader.set_progress_handler(None, 0)
            except (sqlite.Error, *sqlite.BINDING_ERRORS) as exc:  # nothing else runs here
                problem = sqlite.translated(exc)
                if not sqlite.is_busy(exc):
                    raise problem from exc
            finally:
                if is_ours:
                    reading.release()
            pause = wait(call, pause, problem)

    def _open_reader(self) -> Connection:
        if self._reader is None:
            self.identity = files.identity_of(self._database)
            self._reader = sqlite.open_reader(self._database, self.vault_id)
            self._readers_opened += 1
        return self._reader

    def _new_lock(self) -> LockFile:
        from tokenkeep.vault.lockfile import LockFile  # reading needs no lock

        self._lock = lock = LockFile(self.directory)
        return lock

    def _writing_connection(self, call: Call) -> Connection:
        """The writer, on the very file that has the name: a write to a removed vault is lost."""
        # A Ctrl-C may have come before the rollback that was due.
        self._forget_writer_after_failure()
        seen = None if self._lock is None else self._lock.seen
        if seen is not None and seen is self._seen and self._writer is not None:
            return self._writer
        try:
            found = os.lstat(self._database)
        except OSError as exc:
            raise files.translated(exc, "the vault's database") from None
        identity = found.st_dev, found.st_ino
        if self._writer is None:
            from tokenkeep.vault.mounts import require_local  # reading needs none

            require_local(self.directory)  # it may have been moved there
            # The reader first: while it is open, closing the writer leaves the log alone.
            holding(self._reading, call, self._open_reader)
            if identity == self.identity:
                self.decrypts_with = None
                self._writer = sqlite.open_writer(self._database, self.vault_id)
        if self._writer is None or identity != self.identity:
            self.was_replaced = True
            raise StoreUnavailable("the vault was moved or replaced meanwhile", hint="try again")
        self._seen = seen
        return self._writer

    def _forget_writer_after_failure(self) -> None:
        writer = self._writer
        if writer is not None and writer.in_transaction:
            try:
                writer.execute("ROLLBACK")
            except sqlite.Error:
                self._writer = None
                writer.close()

    def _commit(
        self,
        connection: Connection,
        call: Call,
        body: Callable[..., T],
        arguments: tuple[object, ...],
        size: int,
    ) -> T:
        is_first = True
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                result = body(connection, *arguments)
                connection.execute("COMMIT")
                break
            except sqlite.Error as exc:
                if not (is_first and sqlite.is_full(exc)):
                    raise
            # The log may hold the room that is missing, even for a deletion.
            is_first = False
            self._forget_writer_after_failure()
            self.checkpoint(self._writing_connection(call))
            connection = self._writing_connection(call)
        self.wrote(connection, COMMIT_BYTES + 2 * size)  # what it replaces is overwritten too
        return result

    def _commit_with_room(self, connection: Connection, *transaction: Any) -> Any:
        from tokenkeep.vault import room

        room.give_up(self.directory)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        growth = pages * sqlite.PAGE_BYTES - os.stat(self._database).st_size
        # With the log in the database there is room from now on. But where that needs more
        # than there is, it would use up all of it: then the deletion itself comes first.
        if growth < room.ROOM_BYTES:
            self.checkpoint(connection)
        return self._commit(connection, *transaction)

    def _begin_log_anew(self, connection: Connection) -> None:
        done = self.checkpoint(connection, restart=True)
        # With a reader in the way: not again at every commit.
        self._written = 0 if done else CHECKPOINT_BYTES * 3 // 4

    def _close(self) -> None:
        self._close_connections()
        self._close_lock()

    def _close_connections(self) -> None:
        # The writer first, see the module's invariants.
        for connection in (self._writer, self._reader):
            if connection is not None:
                connection.close()
        self._writer = self._reader = None

    def _close_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _leak(self) -> None:
        """Keeps the parent's connections for ever: SQLite must not even close them here."""
        self._close_lock()
        if self._reader is not None or self._writer is not None:
            _leaked.setdefault(self._database, []).append((self._reader, self._writer))
            self._reader = self._writer = None
            self._is_orphaned = True

    def _require_same_process(self) -> None:
        if self._pid == os.getpid():
            return
        if self._reader is not None or self._writer is not None or self._is_orphaned:
            # SQLite believes it has locks that only the parent has: going on could lose writes.
            raise StoreUnavailable(
                "the process was forked while the vault was in use, without Python's fork hooks",
                hint="close() the store before forking",
            )
        self._close_lock()  # a descriptor that the parent opened would share the parent's lock
        self._pid = os.getpid()


# The engines whose connections have to be closed before a fork. As global as SQLite's own list of
# open files, which is what makes connections and forks incompatible.
_engines: dict[int, ref[Engine]] = {}
_making = allocate_lock()
_held: list[LockType] = []
_leaked: dict[str, list[object]] = {}
_NOBODY = -1


def _living() -> list[Engine]:
    return [each for reference in list(_engines.values()) if (each := reference()) is not None]


def _before_fork() -> None:
    _hold(_making)
    for engine in _living():
        for lock in (engine._writing, engine._reading):
            if not _hold(lock):
                engine._is_orphaned = True  # undone in the parent
        if engine._pid != os.getpid():
            engine._leak()
        elif not engine._is_orphaned:
            engine._close()


def _hold(lock: LockType) -> bool:
    (is_ours,) = attempt(lock, Call(_FORK_PATIENCE))  # as in `holding`
    if is_ours:
        _held.append(lock)
    return is_ours


def _let_go() -> None:
    while _held:
        (lock,) = map(_held.pop, (-1,))  # as in `holding`
        lock.release()


def _after_fork_in_parent() -> None:
    _let_go()
    for engine in _living():
        if engine._pid == os.getpid():
            engine._is_orphaned = False


def _after_fork_in_child() -> None:
    _let_go()
    for engine in _living():
        if engine._is_orphaned:
            # A lock that outlived its parent in a child would keep everybody out.
            engine._close_lock()
            # Held by a thread that does not exist here.
            engine._writing, engine._reading = allocate_lock(), allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
    # Again: a Ctrl-C that came during the fork ends the first of what runs behind it.
    os.register_at_fork(after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
