"""SQLite for the vault: one connection's life, and the one translation of its errors.

Imports the extension module itself: the package around it costs a cold read six milliseconds for
adapters and converters that the vault does not use.
"""

from __future__ import annotations

import os
import stat
from _functools import partial  # type: ignore[import-not-found]  # `functools` costs the cold start
from _operator import le
from itertools import repeat

from tokenkeep.errors import (
    AccessDenied,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    ValueTooLarge,
    VaultDamaged,
)
from tokenkeep.vault.format import RESTORE_HINT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from sqlite3 import Connection

    from tokenkeep.item import Call
else:
    try:
        import _sqlite3 as sqlite3
    except ImportError:  # an interpreter that has another module behind the name
        import sqlite3

    Connection = sqlite3.Connection

Error = sqlite3.Error

_DAMAGED: tuple[type[StoreError], str, str | None] = (
    VaultDamaged,
    "the vault's database is damaged",
    "tokenkeep vault check",
)
_LOOK = "look at the disk that it lies on"
_UNREACHABLE = StoreUnavailable, "the vault's database cannot be reached", _LOOK
_UNWRITABLE = StoreUnavailable, "the vault's database could not be written", _LOOK
_READ_ONLY = (
    AccessDenied, "the vault cannot be written", "make its directory yours and writable",
)  # fmt: skip

#: https://www.sqlite.org/rescode.html; extended codes first, then the primary code (the low byte).
#: Reading and writing errors of the device (10) say nothing about the content: not damage.
ERRORS: dict[int, tuple[type[StoreError], str, str | None]] = {
    522: _DAMAGED,  # SQLITE_IOERR_SHORT_READ: the file ends within a page
    4874: (StoreFull, "no room left for the vault", "make room on the disk"),  # IOERR_SHMSIZE
    778: _UNWRITABLE,  # IOERR_WRITE
    1034: _UNWRITABLE,  # IOERR_FSYNC
    1290: _UNWRITABLE,  # IOERR_DIR_FSYNC
    1546: _UNWRITABLE,  # IOERR_TRUNCATE
    1032: (StoreUnavailable, "the vault was moved or removed meanwhile", None),  # READONLY_DBMOVED
    1: _DAMAGED,  # SQLITE_ERROR: our statements are right, so the schema is not
    3: _READ_ONLY,  # SQLITE_PERM
    5: (StoreTimeout, "the vault was busy all the time", None),
    6: (StoreTimeout, "the vault was busy all the time", None),
    7: (StoreUnavailable, "out of memory", None),
    8: _READ_ONLY,
    9: (StoreTimeout, "the vault did not answer in time", None),  # SQLITE_INTERRUPT: `stop_at`
    10: _UNREACHABLE,
    11: _DAMAGED,  # SQLITE_CORRUPT
    13: (StoreFull, "no room left for the vault", "make room on the disk"),
    14: _UNREACHABLE,  # SQLITE_CANTOPEN
    15: (StoreTimeout, "the vault was busy all the time", None),  # SQLITE_PROTOCOL: lock races
    17: _DAMAGED,  # SQLITE_SCHEMA
    18: (ValueTooLarge, "the value is too large for the vault", None),
    19: _DAMAGED,  # SQLITE_CONSTRAINT: an index disagrees with its table
    20: _DAMAGED,  # SQLITE_MISMATCH
    23: _READ_ONLY,  # SQLITE_AUTH
    24: _DAMAGED,  # SQLITE_FORMAT
    26: _DAMAGED,  # SQLITE_NOTADB
}
_BUSY = (5, 6, 15)
_FULL = 13
_ERROR = 1
_READONLY_CODE, _MOVED = 8, 1032

#: What damaged rows and schemas raise in the binding itself.
BINDING_ERRORS = (UnicodeDecodeError, TypeError, ValueError, OverflowError, SystemError)
#: Those of them that are never a mistake of the code around a statement.
ERRORS_OF_ROWS = (Error, UnicodeDecodeError, OverflowError)

_APPLICATION_ID = 0x746B7631  # "tkv1"
_SCHEMA_VERSION = 1
PAGE_BYTES = 4096

_SETTINGS = (
    "PRAGMA synchronous = FULL",
    f"PRAGMA page_size = {PAGE_BYTES}",
    "PRAGMA journal_mode = WAL",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)

# An item lies at two places, found and listed by either: two trees with no bit in common, so that
# one damaged byte cannot make an item look absent. A place begins with its service's tag.
_SCHEMA = """
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    vault_id BLOB NOT NULL,
    generation INTEGER NOT NULL,
    erase_pending INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE item (
    place_a BLOB PRIMARY KEY,
    place_b BLOB NOT NULL,
    name BLOB NOT NULL,
    envelope BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX item_by_place_b ON item (place_b, place_a);
CREATE TABLE quarantine (
    number INTEGER PRIMARY KEY,
    place_a BLOB NOT NULL,
    service BLOB NOT NULL,
    name BLOB NOT NULL,
    kept BLOB NOT NULL
) STRICT;
CREATE INDEX quarantine_by_place ON quarantine (place_a);
"""


def is_busy(exc: Exception) -> bool:
    """Whether trying again may help."""
    return (getattr(exc, "sqlite_errorcode", 0) & 0xFF) in _BUSY


def is_full(exc: Exception) -> bool:
    """Whether there was no room."""
    return (getattr(exc, "sqlite_errorcode", 0) & 0xFF) == _FULL


def is_error(exc: Exception) -> bool:
    """Whether a statement or a function in it failed, and not the disk or somebody else."""
    return getattr(exc, "sqlite_errorcode", 0) == _ERROR


def is_read_only(exc: Exception) -> bool:
    """Whether the database that has the name cannot be written through this connection."""
    code = getattr(exc, "sqlite_errorcode", 0)
    return (code & 0xFF) == _READONLY_CODE and code != _MOVED


def translated(exc: Exception) -> StoreError:
    """The one translation of SQLite's and the binding's errors."""
    code = getattr(exc, "sqlite_errorcode", None)
    if code is None:  # "could not decode to UTF-8", a value of another type
        kind, message, hint = _DAMAGED
    else:
        kind, message, hint = ERRORS.get(code) or ERRORS.get(code & 0xFF) or _UNREACHABLE
    return kind(message, hint=hint)


def create(path: str, vault_id: bytes, generation: int) -> None:
    """A database with nothing in it, closed again.

    Raises:
        sqlite3.Error: it cannot be made.
    """
    connection = _connect(path, "rwc")
    try:
        for statement in _SETTINGS:
            connection.execute(statement)
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";")[:-1]:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO state (one, vault_id, generation) VALUES (1, ?, ?)",
            (vault_id, generation),
        )
        connection.execute("COMMIT")
    finally:
        connection.close()


def open_reader(path: str, vault_id: bytes) -> Connection:
    """A connection that cannot write, and whose closing never moves the log into the database.

    Raises:
        sqlite3.Error: it cannot be opened.
        VaultDamaged: it is not the database of this vault.
    """
    try:
        return _checked(_connect(path, "ro"), vault_id)
    except Error:
        # Without a log there is nothing that a medium which cannot be written could change.
        if os.access(os.path.dirname(path), os.W_OK) or os.path.lexists(path + "-wal"):
            raise
    return _checked(_connect(path, "ro&immutable=1"), vault_id)


def stop_at(connection: Connection, call: Call, share: float = 1.0, steps: int = 100) -> None:
    """Lets whatever runs on the connection end with the call (`SQLITE_INTERRUPT`).

    It stays so until another progress handler is set. With the machine's clock no code of Python's
    runs while SQLite does: it would take a Ctrl-C that came there for the end of the time.

    Args:
        share: of the time that the call has left.
        steps: of SQLite's machine between two looks at the clock.
    """
    remaining = call.remaining()
    if remaining is None:
        return
    until = call.clock.monotonic() + remaining * share
    is_over = partial(next, map(le, repeat(until), iter(call.clock.monotonic, None)))
    connection.set_progress_handler(is_over, steps)


def vault_id_in(path: str) -> bytes | None:
    """The id of the vault whose database this is; None if it does not tell."""
    try:
        connection = _connect(path, "ro")
        try:
            row = connection.execute("SELECT vault_id FROM state WHERE one = 1").fetchone()
        finally:
            connection.close()
    except (Error, VaultDamaged, *BINDING_ERRORS):
        return None
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def open_writer(path: str, vault_id: bytes) -> Connection:
    """A connection that writes durably and leaves checkpoints to us.

    Raises: as `open_reader`.
    """
    connection = _checked(_connect(path, "rw"), vault_id)
    # FULL syncs the log at every commit (https://www.sqlite.org/pragma.html#pragma_synchronous).
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    # SQLite before 3.51.3 can lose a commit that meets a checkpoint: ours run under our lock.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    # Our statements may call what decrypts; a trigger that somebody added to the file must not.
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _connect(path: str, mode: str) -> Connection:
    if mode != "rwc" and _is_special(path):
        # SQLite would wait for whoever opens the other end of a pipe.
        raise VaultDamaged("the vault's database is not a file", hint=RESTORE_HINT)
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    if os.sep == "\\":
        quoted = "/" + quoted.replace("\\", "/")
    return sqlite3.connect(
        f"file:{quoted}?mode={mode}",
        timeout=0,  # waiting is ours: it knows the call's deadline
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )


def _is_special(path: str) -> bool:
    try:
        kind = os.stat(path).st_mode
    except OSError:
        return False  # SQLite says it better
    return not stat.S_ISREG(kind)


def _checked(connection: Connection, vault_id: bytes) -> Connection:
    try:
        (number,) = connection.execute("PRAGMA application_id").fetchone()
        row = connection.execute("SELECT vault_id FROM state WHERE one = 1").fetchone()
    except BaseException:
        connection.close()
        raise
    if number == _APPLICATION_ID and row is not None and row[0] == vault_id:
        return connection
    connection.close()
    if number != _APPLICATION_ID:
        raise VaultDamaged("the vault's database is not a vault's", hint="tokenkeep vault check")
    raise VaultDamaged(
        "the vault's database belongs to another vault", hint="restore both from one backup"
    )
