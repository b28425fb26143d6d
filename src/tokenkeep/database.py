"""Keys of local databases: made from the operating system's entropy, held, lost, replaced.

The key lies in the application's storage and goes to SQLCipher through `sqlite3_key`, from locked
memory and never as SQL text. The key is durable before the database is; it is never made anew
where a database is. A key is kept with the database's salt, which SQLCipher writes at the head of
the file: so a key that is another database's is told from a database that is damaged.

Replacing a key: the next key is stored beside the current one, then the database is re-encrypted
in one transaction, then a new connection tells which of the two opens it, and only that one stays.
Killed at any step, or where it cannot be told now, both stay, and the next `connect` finds out.
"""

from __future__ import annotations

import glob
import os
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from tokenkeep.crypto import checksum, random_bytes
from tokenkeep.database_item import KEY_BYTES, SALT_BYTES, packed, unpacked
from tokenkeep.errors import (
    AccessDenied,
    MissingExtra,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.fence import Fence
from tokenkeep.native.locked_memory import LockedMemory
from tokenkeep.secret import Secret
from tokenkeep.sessionlog import service_directory
from tokenkeep.vault.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlcipher3.dbapi2 import Connection

    from tokenkeep.fence import Hold
    from tokenkeep.storage import SecureStorage

_NEXT = " (next)"
#: What SQLite keeps beside a database; it belongs with it wherever that goes.
_BESIDE = ("-wal", "-shm", "-journal")
_DISK = "see that its disk has room and can be written, then again"
_LOST = "restore the key from a backup, or begin anew with DatabaseKey.reset()"


class DatabaseKey:
    """The key of one SQLCipher database.

    Args:
        storage: where the key is kept.
        path: the database's file; the first `connect` makes both.
        name: the key's name in the storage; each database needs one of its own.
        requires_locked_memory: False accepts a machine that locks no memory; `is_memory_locked`
            says what was had.

    The key stays in locked memory until `close`; threads may share the object, a forked child reads
    the key anew. Each `connect` gives a connection of its own.
    """

    def __init__(
        self,
        storage: SecureStorage,
        path: str | os.PathLike[str],
        *,
        name: str = "database key",
        requires_locked_memory: bool = True,
        step: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self._storage = storage
        self._name = name
        self._requires_locked = requires_locked_memory
        self._step = step  # told before each step; what it raises is a crash there
        self._lock = threading.Lock()
        self._held: LockedMemory | None = None
        self._pid = os.getpid()

    @property
    def is_memory_locked(self) -> bool | None:
        """Whether the key is in locked memory; None while no key is held."""
        held = self._held
        return None if held is None else held.is_locked

    def connect(self, **arguments: Any) -> Connection:
        """A connection with the key bound; the first one makes key and database.

        Args:
            **arguments: go to `sqlcipher3.connect`.

        Raises:
            MissingExtra: sqlcipher3 is not installed.
            SecretInvalidated: the database is there and its key is not, or is another database's.
            SecretDamaged: the key is the database's, which does not open: it is damaged.
            UnsupportedOption: there is no database yet, and the key is that of another one.
            StoreTimeout: the database, or another process that makes the key, was busy.
            AccessDenied, StoreFull, StoreUnavailable, StoreLocked and the other errors of
                `SecureStorage.read`: nothing changed.
        """
        with self._alone():
            connection = self._opened(arguments)
            if connection is None:  # another process replaced the key
                self._forget()
                connection = self._opened(arguments)
            if connection is None:
                with self._fence():
                    self._forget()
                    connection = self._opened(arguments, is_fenced=True)
                    if connection is None:  # or a rekey was cut off
                        self._settle()
                        connection = self._opened(arguments, is_fenced=True)
                    if connection is None:
                        raise self._why()
            return connection

    def rekey(self) -> None:
        """Replaces the key; connections of others have to be opened anew.

        Raises:
            StoreTimeout: another connection, also one of this process, was in a transaction all
                the time; the database keeps its key.
            StoreFull, StoreUnavailable: it could not be re-encrypted, and keeps its key.
            As `connect` beside that; what was begun is finished, or taken back, by the next call.
        """
        with self._alone(), self._fence():
            self._settle()
            connection = self._opened({}, is_fenced=True)
            if connection is None:
                raise self._why()
            try:
                # Whoever reads would keep the commit out: better known before anything is begun.
                problem = _problem_of(lambda: connection.execute("BEGIN EXCLUSIVE"))
                if problem is not None:
                    raise problem
                salt = self._salt()
                following = Secret(random_bytes(KEY_BYTES))
                self._step("store next")
                self._keep(self._name + _NEXT, following, salt)
                self._step("re-encrypt")
                problem = self._re_encrypt(connection, following, salt)
            finally:
                connection.close()
            self._step("settle")
            is_replaced = self._settle()
            if is_replaced is None:
                raise SecretInvalidated("the database's next key was erased meanwhile", hint=_LOST)
            if not is_replaced:
                raise problem or StoreUnavailable("the database was not re-encrypted", hint=_DISK)

    def reset(self) -> str | None:
        """Begins anew: the way out where the key is lost for good. Nothing calls it by itself.

        Erases the key and sets the database aside, with what SQLite keeps beside it; the next
        `connect` makes both anew. Killed at any step, the same call goes on.

        Returns:
            Where the database lies now; None if there was none.

        Raises:
            StoreError: the key could not be erased; the database stays.
        """
        with self._alone(), self._fence():
            self._forget()
            for name in (self._name, self._name + _NEXT):
                self._storage.delete(name)
            if not os.path.lexists(self.path):
                return None
            aside = self._place_aside()
            try:
                for ending in (*_BESIDE, ""):
                    if os.path.lexists(self.path + ending):
                        os.rename(self.path + ending, aside + ending)
            except OSError as exc:
                raise _translated(exc) from None
            return aside

    def close(self) -> None:
        """Wipes the key from memory; connections stay open."""
        with self._alone():
            self._forget()

    def __enter__(self) -> DatabaseKey:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"DatabaseKey({self.path!r}, name={self._name!r})"

    def _alone(self) -> threading.Lock:
        """The lock between threads; a forked child begins with its own, and without a key."""
        if self._pid != os.getpid():
            # Whoever held the parent's may be a thread that does not exist here.
            self._lock = threading.Lock()
            self._forget()
            self._pid = os.getpid()
        return self._lock

    def _opened(self, arguments: dict[str, Any], is_fenced: bool = False) -> Connection | None:
        """A connection with the held or stored key; None if that does not open the database.

        Args:
            is_fenced: nobody else makes, replaces or erases anything now, so that what is missing
                may be made, and only now be called lost.
        """
        if self._held is None:
            self._held = self._load(is_fenced)
        return None if self._held is None else self._bound(self._held, arguments, is_fenced)

    def _load(self, is_fenced: bool) -> LockedMemory | None:
        found = self._stored(self._name)
        if found is None:
            if not is_fenced:
                return None
            if self._database_exists():
                if self._stored(self._name + _NEXT) is None:
                    raise SecretInvalidated("the database is there and its key is not", hint=_LOST)
                raise SecretInvalidated("the database's key is incomplete", hint=_LOST)
            found = self._make()
        elif is_fenced:
            self._require_own(found[2])
        return self._locked(*found[:2])

    def _require_own(self, path: str) -> None:
        """Ends what would begin a second database with a key: replacing it would lose the other."""
        if path != self.path and os.path.exists(path) and not self._database_exists():
            raise UnsupportedOption(
                f"the key {self._name!r} is that of another database: {path}",
                hint="DatabaseKey(..., name=...) with a name for each database",
            )

    def _make(self) -> tuple[Secret, bytes, str]:
        key, salt = Secret(random_bytes(KEY_BYTES)), random_bytes(SALT_BYTES)
        self._step("store key")
        self._keep(self._name, key, salt)
        return key, salt, self.path

    def _settle(self) -> bool | None:
        """Leaves one key where there are two: whether that is the next one; None if there is none.

        Under the fence: whoever replaces a key right now is not disturbed. Only a new connection
        tells what the database is under: `sqlite3_rekey` says yes though its commit failed
        (https://github.com/sqlcipher/sqlcipher/issues/616).

        Raises:
            SecretDamaged, SecretInvalidated: neither opens it; both stay.
            StoreError: which one opens it, or whether for good, cannot be told now; both stay.
        """
        self._forget()
        found = self._stored(self._name + _NEXT)
        if found is None:
            return None
        connection = self._opened({}, is_fenced=True)
        is_next = connection is None
        if connection is None:
            held = self._locked(*found[:2])
            try:
                connection = self._bound(held, {}, is_fenced=True)
            finally:
                held.wipe()
        if connection is None:
            raise self._why()
        try:
            problem = None if is_next else _problem_of(lambda: _overwrite_log(connection))
        finally:
            connection.close()
        if problem is not None:
            raise problem
        if is_next:
            self._sync()
            self._step("store key")
            self._keep(self._name, *found[:2])
        self._step("erase next")
        self._storage.delete(self._name + _NEXT)
        self._forget()
        return is_next

    def _sync(self) -> None:
        """Makes what can be read durable: a commit that was cut off, or its journal's removal."""
        try:
            # SQLite has no locks on its log, so that closing it drops none.
            with suppress(FileNotFoundError), open(self.path + "-wal", "rb+") as log:
                os.fsync(log.fileno())
            sync_directory(os.path.dirname(self.path))
        except OSError as exc:
            raise _translated(exc) from None

    def _re_encrypt(
        self, connection: Connection, following: Secret, salt: bytes
    ) -> StoreError | None:
        """What went wrong, as far as SQLCipher tells; whether anything did, `_settle` finds out."""
        held = self._locked(following, salt)

        def act() -> None:
            with held.view() as key:
                connection.reset_key(key)
            # A commit that failed inside of it is still to be made, and says now what failed.
            connection.commit()

        try:
            return _problem_of(act)
        finally:
            held.wipe()

    def _bound(
        self, held: LockedMemory, arguments: dict[str, Any], is_fenced: bool
    ) -> Connection | None:
        dbapi = _sqlcipher()
        # A held key may have been erased since: a database is only begun with one that is stored.
        if not is_fenced and not self._database_exists():
            return None
        self._make_private_file()
        with ExitStack() as failing:
            try:
                connection: Connection = dbapi.connect(self.path, **arguments)
                failing.callback(connection.close)
                with held.view() as key:
                    connection.set_key(key)
                connection.execute("PRAGMA cipher_log_level = NONE")  # it would write to stderr
                connection.execute("PRAGMA cipher_memory_security = ON")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                if not self._database_exists():
                    if not is_fenced:  # set aside since we looked
                        return None
                    # Now, and not with the first table: from here on the key has a database.
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("CREATE TABLE IF NOT EXISTS tokenkeep (one)")
                    connection.execute("DROP TABLE tokenkeep")
                    connection.commit()
                failing.pop_all()
                return connection
            except dbapi.Error as exc:
                if "not a database" in str(exc):
                    return None
                problem = _database_problem(exc)
        raise problem

    def _why(self) -> StoreError:
        self._forget()
        found = self._stored(self._name)
        if found is not None and found[1] == self._salt_on_disk():
            return SecretDamaged(
                "the database does not open with its own key: it is damaged",
                hint="restore the database from a backup",
            )
        return SecretInvalidated("the stored key is another database's", hint=_LOST)

    def _stored(self, name: str) -> tuple[Secret, bytes, str] | None:
        """Key, salt, and where the database was when the key was made."""
        value = self._storage.read(name)
        if value is None:
            return None
        found = unpacked(value)
        if found is None:
            raise SecretDamaged(f"the item {name!r} is no database's key")
        return found

    def _keep(self, name: str, key: Secret, salt: bytes) -> None:
        item = packed(key, salt, self.path)
        self._storage.write(name, item)
        if self._storage.read(name) != item:
            raise StoreUnavailable("the store did not keep the database's key")

    def _locked(self, key: Secret, salt: bytes) -> LockedMemory:
        """The key as SQLCipher wants it: hexadecimal digits of key and salt, so nothing derived."""
        text = bytearray(b"x'" + (key.reveal_bytes() + salt).hex().encode("ascii") + b"'")
        try:
            return LockedMemory(text, self._requires_locked)
        finally:
            text[:] = bytes(len(text))

    def _forget(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.wipe()

    def _fence(self) -> Hold:
        directory = service_directory(self._storage.state_directory, self._storage.service)
        name = checksum(b"tokenkeep database\0" + self._name.encode("utf-8")).hex()[:16]
        fence = Fence(os.path.join(directory, f"database-{name}.lock"), self._storage.clock)
        return fence.hold("database key", self._storage.call())

    def _database_exists(self) -> bool:
        try:
            return os.stat(self.path).st_size > 0
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise _translated(exc) from None

    def _place_aside(self) -> str:
        """Where a reset goes: where one that was killed had begun, else somewhere new."""
        prefix = f"{self.path}.set-aside-"
        for ending in _BESIDE:
            for found in glob.glob(f"{glob.escape(prefix)}*{ending}"):
                if not os.path.lexists(found.removesuffix(ending)):
                    return found.removesuffix(ending)
        return prefix + random_bytes(4).hex()

    def _make_private_file(self) -> None:
        # Never opened where it is there: closing it would drop SQLite's locks in this process.
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        except OSError as exc:
            raise _translated(exc) from None
        os.close(fd)

    def _salt(self) -> bytes:
        found = self._stored(self._name)
        if found is None:
            raise SecretInvalidated("the database's key was erased meanwhile", hint=_LOST)
        return found[1]

    def _salt_on_disk(self) -> bytes:
        # Whoever has a connection open in this process has it with a key that is no longer right.
        try:
            with open(self.path, "rb") as file:
                return file.read(SALT_BYTES)
        except OSError as exc:
            raise _translated(exc) from None


def _sqlcipher() -> Any:
    try:
        from sqlcipher3 import dbapi2
    except ImportError:
        raise MissingExtra(extra="sqlcipher") from None
    return dbapi2


def _overwrite_log(connection: Connection) -> None:
    """A durable write that changes nothing, with the key that stays.

    At the end of SQLite's log there may be a re-encryption that was cut off: unseen as long as
    anybody is connected, it would count once nobody is. What is written now takes its place.
    """
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()


def _problem_of(act: Callable[[], object]) -> StoreError | None:
    """What kept SQLCipher from doing it, to be raised where its own error is no context."""
    try:
        act()
    except _sqlcipher().Error as exc:
        return _database_problem(exc)
    return None


def _database_problem(exc: Exception) -> StoreError:
    name = getattr(exc, "sqlite_errorname", "") or str(exc)
    if "BUSY" in name or "locked" in name:
        return StoreTimeout(
            "the database was busy all the time",
            hint="end the transactions of its other connections, then again",
        )
    if "FULL" in name or "full" in name:
        return StoreFull("no room left for the database", hint="make room on the disk")
    if "READONLY" in name or "readonly" in name:
        return AccessDenied("the database cannot be written", hint="make it yours and writable")
    return StoreUnavailable(f"the database cannot be used: {name}", hint=_DISK)


def _translated(exc: OSError) -> StoreError:
    reason = exc.strerror or type(exc).__name__
    if isinstance(exc, PermissionError):
        return AccessDenied(f"cannot use the database: {reason}", hint="make it yours and writable")
    return StoreUnavailable(f"cannot use the database: {reason}")
