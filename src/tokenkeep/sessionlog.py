"""The session log: an account's append-only record of which session lives, and who ended it.

The log decides what lives: a stored session record counts only if its session id is the one begun
after the last `end`. It holds nothing secret, needs neither an unlocked store nor the fence, and
lies in the user's state directory, so that a logout always has somewhere to write.

Lines are `begin ID TIME CHECK` and `end REASON TIME CHECK`, appended by one `write` and made
durable before the call returns; CHECK is four hexadecimal digits over the words before it. `adopt`
is written like `begin` and counts only as the first whole line: it is for a record whose log is
missing, and a sign-out that came before it, however closely, stays the last word. A line
without its newline was torn by a crash and never counts; the next writer closes it with ` torn`.
Anything else that is not a whole line is damage: it may have been an `end`, so nothing before it
counts, and what it was about is neither live nor dead until a new line says so.

A full disk keeps nobody from signing out: a `begin` is put where the `end` after it still fits into
the same block, if need be behind a torn line that fills the block before.

Beside the log lies a counter, sixteen random bytes that change after every line: looking at them
through a shared mapping (`session/logwatch.py`) costs a fraction of a microsecond.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from tokenkeep.crypto import checksum
from tokenkeep.errors import (
    AccessDenied,
    InvalidName,
    SecretDamaged,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from tokenkeep.paths import is_plain

#: The last whole line decides, and the longest line is far shorter than this.
_TAIL_BYTES = 4096
_TORN = b" torn"
#: No file system has smaller blocks; larger ones are multiples. A written block takes more lines
#: without new room (but where each write goes to a new place: btrfs, ZFS).
_BLOCK_BYTES = 512
#: What is kept free of the block behind a `begin`: a few ends, one of them behind a torn line.
_ROOM_BYTES = 192
#: Looks at an unfinished line, and the pause between them: another writer is done long before.
_LOOKS, _LOOK_PAUSE = 5, 0.001
#: The counter beside a log, and its size.
COUNTER, COUNTER_BYTES = "counter", 16
_ID_DIGITS = 32


class LogState:
    """What the log says: which session lives, or why the last one ended.

    `exists` is whether it says anything: a log that holds nothing, or only what a crash tore, is as
    good as none. `at` is the wall time of the last word.
    """

    __slots__ = ("at", "end_reason", "exists", "session_id")

    def __init__(
        self, exists: bool, session_id: str | None, end_reason: str | None, at: float = 0.0
    ) -> None:
        self.exists = exists
        self.session_id = session_id
        self.end_reason = end_reason
        self.at = at

    @property
    def is_over(self) -> bool:
        """Whether it says that nobody is signed in, which needs no store to be true."""
        return self.exists and self.session_id is None


class SessionLog:
    """One account's log. Reading creates nothing; the first line makes the directory."""

    __slots__ = ("directory", "path")

    def __init__(self, state_directory: str, service: str, account: str) -> None:
        self.directory = os.path.join(_sessions(state_directory, service), _digest(account))
        self.path = os.path.join(self.directory, "log")

    @property
    def fence_path(self) -> str:
        """The file that the account's fence locks."""
        return os.path.join(self.directory, "lock")

    def read(self) -> LogState:
        """The log's last word.

        Raises:
            AccessDenied, StoreUnavailable: the log is there and cannot be read.
            SecretDamaged: its last line is damaged; `end` and `begin` mend it.
        """
        try:
            fd = _open(self.path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return LogState(False, None, None)
        except OSError as exc:
            raise _translated(exc, "read") from None
        try:
            start = max(0, os.fstat(fd).st_size - _TAIL_BYTES)
            tail = _read_from(fd, start)
            if start:  # the first line may lack its beginning
                tail = tail.partition(b"\n")[2]
            state = _last_word(tail, is_all=not start)
            if start and not state.exists:
                state = _last_word(_read_from(fd, 0), is_all=True)
            return state
        except OSError as exc:
            raise _translated(exc, "read") from None
        finally:
            os.close(fd)

    def begin(self, session_id: str, now: float) -> None:
        """Ends whatever lived and begins `session_id`, in one append; durable on return.

        Raises:
            StoreFull, AccessDenied, StoreUnavailable: the line could not be kept; no session
                begins, and the one before may have ended.
        """
        if len(session_id) != _ID_DIGITS:
            raise ValueError("a session id has 32 hexadecimal digits")
        # The end first: were the block filled before it, a disk that is full from there on would
        # have taken its room from the session that goes on.
        self._append(_line("end", "login", now), _line("begin", session_id, now))

    def adopt(self, session_id: str, now: float) -> None:
        """Begins `session_id` in a log that says nothing: the "keep" answer to a fresh install.

        Without effect if somebody else's word was first; read the log to know.

        Raises:
            StoreFull, AccessDenied, StoreUnavailable: the line could not be kept.
        """
        self._append(b"", _line("adopt", session_id, now))

    def end(self, reason: str, now: float) -> None:
        """Ends whatever lives; durable on return. `reason` is one word.

        Raises:
            StoreFull, AccessDenied, StoreUnavailable: the line could not be kept.
        """
        self._append(_line("end", reason, now))

    def _append(self, data: bytes, begin: bytes = b"") -> None:
        try:
            made = _make_directories(self.directory)
            fd = _open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            try:
                size = os.fstat(fd).st_size
                if size and _ends_torn(fd, size):
                    # Closes a line that a crash tore so that it can never be taken for a whole one.
                    data = _TORN + b"\n" + data
                if begin:
                    data += _filling(size + len(data), len(begin)) + begin
                if os.write(fd, data) != len(data):
                    raise OSError(errno.ENOSPC, "short write")
                os.fsync(fd)
            finally:
                os.close(fd)
            if size == 0:
                for directory in (self.directory, *made):
                    _sync_directory(directory)
        except OSError as exc:
            raise _translated(exc, "write") from None
        change_counter(self.directory)


def end_all(state_directory: str, service: str, *, reason: str, now: float) -> int:
    """Ends every session of a service; how many there were, by what their logs said.

    Raises:
        StoreFull, AccessDenied, StoreUnavailable: a log could not be written; the others were.
    """
    sessions = _sessions(state_directory, service)
    try:
        found = sorted(os.listdir(sessions))
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as exc:
        raise _translated(exc, "list") from None
    ended, problem = 0, None
    for entry in found:
        log = SessionLog.__new__(SessionLog)
        log.directory = os.path.join(sessions, entry)
        log.path = os.path.join(log.directory, "log")
        if not os.path.exists(log.path):
            continue
        try:
            was_over = log.read().is_over
        except StoreError:
            was_over = False  # for all we know somebody was signed in
        try:
            log.end(reason, now)
            ended += not was_over
        except StoreError as exc:
            problem = exc
    if problem is not None:
        raise problem
    return ended


def change_counter(directory: str) -> None:
    """Lets everybody who looks at the counter of a log's directory look at the log again."""
    path = os.path.join(directory, COUNTER)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _CLOEXEC, 0o600)
    except OSError:
        return
    try:
        # Random rather than incremented: two writers at once cannot cancel each other out. By
        # `write`, which fails where a store through a mapping would be a SIGBUS.
        os.write(fd, os.urandom(COUNTER_BYTES))
    except OSError:
        pass  # a full disk, perhaps: the other processes' `stat` notices the line
    finally:
        os.close(fd)


_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
#: What lines are made of.
_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789-_ "


def service_directory(state_directory: str, service: str) -> str:
    """Where everything of a service lies that is neither secret nor in its store."""
    # Anything that is not plain goes by its digest, so that nothing can confuse two services.
    folder = service if is_plain(service) else "~" + _digest(service)
    return os.path.join(state_directory, folder)


def _sessions(state_directory: str, service: str) -> str:
    return os.path.join(service_directory(state_directory, service), "sessions")


def _digest(text: str) -> str:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidName("a service or account must not contain lone surrogates") from None
    # Not hmac's, which would load a second OpenSSL: a fifth of a cold `tokenkeep token`.
    return checksum(b"tokenkeep session directory\0" + data).hex()[:32]


def _line(kind: str, value: str, now: float) -> bytes:
    words = f"{kind} {value} {int(now)}".encode("ascii")
    return words + b" " + _check(words) + b"\n"


def _filling(offset: int, length: int) -> bytes:
    """What goes in front of a `begin` of this length, so that the `end` after it has room."""
    left = -offset % _BLOCK_BYTES
    if not left or left >= length + _ROOM_BYTES:
        return b""
    torn = left - len(_TORN) - 1
    return b"begin ".ljust(torn, b"-")[: max(torn, 0)] + _TORN + b"\n"


def _check(words: bytes) -> bytes:
    return checksum(words).hex()[:4].encode("ascii")


def _last_word(tail: bytes, *, is_all: bool) -> LogState:
    """What a log says by its tail; nothing if that is for the lines before the tail to say."""
    lines = tail.split(b"\n")
    is_damaged = not _may_be_torn(lines.pop())  # what has no newline; most often nothing
    nothing = adopted = LogState(False, None, None)
    while lines and not is_damaged:
        line = lines.pop()
        state = _said_by(line)
        if state is None:
            is_damaged = not (line.endswith(_TORN) and _may_be_torn(line[: -len(_TORN)]))
        elif line.startswith(b"adopt "):
            adopted = state  # unless a line before it has said something already
        else:
            return state
    if is_damaged:
        raise SecretDamaged("the session log is damaged", hint="tokenkeep logout, then login")
    return adopted if is_all else nothing


def _said_by(line: bytes) -> LogState | None:
    """What a whole line says; None if it is none."""
    words = line.split(b" ")
    if len(words) != 4 or words[3] != _check(line[:-5]) or not words[2].isdigit():
        return None
    value = words[1].decode("ascii", "replace")
    is_begin = words[0] in (b"begin", b"adopt")
    return LogState(True, value if is_begin else None, None if is_begin else value, float(words[2]))


def _may_be_torn(line: bytes) -> bool:
    """Whether a crash can have left this of a line: its beginning, and nothing strange in it."""
    is_beginning = any(
        kind.startswith(line[: len(kind)]) for kind in (b"begin ", b"adopt ", b"end ")
    )
    return is_beginning and not line.translate(None, _LETTERS)


def _read_from(fd: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    parts = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _make_directories(path: str) -> list[str]:
    """Makes the directory; its parents that got a new entry, which have to be made durable."""
    changed = []
    missing = path
    while not os.path.isdir(missing) and os.path.dirname(missing) != missing:
        missing = os.path.dirname(missing)
        changed.append(missing)
    os.makedirs(path, mode=0o700, exist_ok=True)
    return changed


def _ends_torn(fd: int, size: int) -> bool:
    """Whether the last line lacks its end for good.

    A write across two pages can be seen half done; what a crash tore stays as it is.
    """
    for _ in range(_LOOKS):
        if _byte_at(fd, size - 1) == b"\n":
            return False
        time.sleep(_LOOK_PAUSE)
        size = os.fstat(fd).st_size
    return True


def _byte_at(fd: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, 1)


def _open(path: str, how: int) -> int:
    # Neither a link to elsewhere nor a pipe, on which opening or reading would wait without end.
    fd = os.open(path, how | _CLOEXEC | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0), 0o600)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EACCES, "it is not a regular file")
    return fd


def _sync_directory(path: str) -> None:
    if os.name == "nt":  # Windows has no handle to a directory that could be flushed
        return
    fd = os.open(path, os.O_RDONLY | _CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _translated(exc: OSError, doing: str) -> StoreError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull("no room left for the session log", hint="make room on the disk")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP):
        return AccessDenied(
            f"cannot {doing} the session log: {exc.strerror}",
            hint="make the state directory yours and writable",
        )
    return StoreUnavailable(
        f"cannot {doing} the session log: {exc.strerror or type(exc).__name__}",
        hint=f"check the path {exc.filename}" if exc.filename else "check the state directory",
    )
