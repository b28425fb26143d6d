"""The session log: an account's append-only record of which session lives, and who ended it.

The log decides what lives: a stored session record counts only if its session id is the one begun
after the last `end`. It holds nothing secret, needs neither an unlocked store nor the fence, and
lies in the user's state directory, so that a logout always has somewhere to write.

Lines are `begin ID TIME` and `end REASON TIME`, appended by one `write` and made durable before the
call returns. A line without its newline was torn by a crash and never counts. Beside the log lies a
counter, sixteen random bytes that change after every line: looking at them through a shared mapping
costs a fraction of a microsecond.
"""

from __future__ import annotations

import errno
import os

from tokenkeep.crypto import checksum
from tokenkeep.errors import AccessDenied, InvalidName, StoreError, StoreFull, StoreUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap

    from tokenkeep.clock import Clock

#: The last complete line decides, and the longest line is far shorter than this.
_TAIL_BYTES = 4096
_COUNTER = "counter"
_COUNTER_BYTES = 16
#: How long a sign-out may go unnoticed if its writer was killed between the line and the counter.
_STAT_EVERY_SECONDS = 1.0
_ID_DIGITS = 32


class LogState:
    """What the log says: which session lives, or why the last one ended.

    `exists` is whether it says anything: a log without one whole line is as good as none. `at` is
    the wall time of the last word.
    """

    __slots__ = ("at", "end_reason", "exists", "session_id")

    def __init__(
        self, exists: bool, session_id: str | None, end_reason: str | None, at: float = 0.0
    ) -> None:
        self.exists = exists
        self.session_id = session_id
        self.end_reason = end_reason
        self.at = at


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
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | _CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return LogState(False, None, None)
        except OSError as exc:
            raise _translated(exc, "read") from None
        try:
            size = os.fstat(fd).st_size
            state = _last_word(_read_from(fd, max(0, size - _TAIL_BYTES)))
            if not state.exists and size > _TAIL_BYTES:  # damaged at its end
                state = _last_word(_read_from(fd, 0))
            return state
        except OSError as exc:
            raise _translated(exc, "read") from None
        finally:
            os.close(fd)

    def begin(self, session_id: str, now: float) -> None:
        """Ends whatever lived and begins `session_id`, in one append; durable on return.

        Raises:
            StoreFull, AccessDenied, StoreUnavailable: the line could not be kept; no session
                begins.
        """
        if len(session_id) != _ID_DIGITS:
            raise ValueError("a session id has 32 hexadecimal digits")
        self._append(f"end login {int(now)}\nbegin {session_id} {int(now)}\n")

    def adopt(self, session_id: str, now: float) -> None:
        """Begins `session_id` in a log that is missing: the "keep" answer to a fresh install."""
        self._append(f"begin {session_id} {int(now)}\n")

    def end(self, reason: str, now: float) -> None:
        """Ends whatever lives; durable on return. `reason` is one word.

        Raises:
            StoreFull, AccessDenied, StoreUnavailable: the line could not be kept.
        """
        self._append(f"end {reason} {int(now)}\n")

    def watch(self, clock: Clock) -> Watch:
        """A cheap look at whether the log has changed since the last look."""
        return Watch(self, clock)

    def _append(self, line: str) -> None:
        try:
            made = _make_directories(self.directory)
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _CLOEXEC, 0o600)
            try:
                data = line.encode("ascii")
                size = os.fstat(fd).st_size
                if size and _byte_at(fd, size - 1) != b"\n":
                    # Closes a line that a crash tore so that it can never be taken for a whole one.
                    data = b" torn\n" + data
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
        _change_counter(self.directory)


class Watch:
    """Notices new lines in a log: a shared-memory counter, and a `stat` once a second.

    The `stat` is for a writer that was killed between its line and the counter, and for systems
    without shared mappings, where every look is one. Usage: take a `mark`, read the log, act on
    it, then `accept` the mark; until it is accepted, every other thread sees the change too.
    """

    __slots__ = ("_clock", "_log", "_next_stat", "_seen", "_stamp", "_view")

    def __init__(self, log: SessionLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._view: mmap.mmap | None = None
        self._seen = b"never"
        self._stamp: tuple[int, int, int] | None = (0, 0, 0)
        self._next_stat = 0.0

    def mark(self) -> tuple[bytes, tuple[int, int, int] | None]:
        """What the counter and the file look like now; take it before reading the log."""
        # Mapped anew: the file may have been replaced under the old mapping, which would then
        # stay silent. Whoever still looks through the old one keeps it alive.
        self._view = _map_counter(self._log.directory)
        seen = b"" if self._view is None else self._view[:_COUNTER_BYTES]
        return seen, self._stat()

    def accept(self, mark: tuple[bytes, tuple[int, int, int] | None]) -> None:
        """Takes what was marked as known."""
        self._seen, self._stamp = mark
        self._next_stat = self._clock.monotonic() + _STAT_EVERY_SECONDS

    def changed(self, now: float) -> bool:
        """Whether a line may have come since the accepted mark; `now` is a monotonic reading."""
        view = self._view
        if view is not None:
            if view[:_COUNTER_BYTES] != self._seen:
                return True
            if now < self._next_stat:
                return False
        if self._stat() != self._stamp:
            return True
        self._next_stat = now + _STAT_EVERY_SECONDS
        return False

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._log.path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def end_all(state_directory: str, service: str, *, reason: str, now: float) -> int:
    """Ends every session of a service; the number of logs that got the line.

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
            log.end(reason, now)
            ended += 1
        except StoreError as exc:
            problem = exc
    if problem is not None:
        raise problem
    return ended


_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")


def _sessions(state_directory: str, service: str) -> str:
    # A plain reverse-domain id is its own folder name; anything else goes by its digest, so that
    # neither separators, case-insensitive file systems nor reserved names can confuse two services.
    plain = len(service) <= 100 and not set(service) - _PLAIN and service[0] not in ".-"
    return os.path.join(state_directory, service if plain else "~" + _digest(service), "sessions")


def _digest(text: str) -> str:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidName("a service or account must not contain lone surrogates") from None
    # Not hmac's, which would load a second OpenSSL: a fifth of a cold `tokenkeep token`.
    return checksum(b"tokenkeep session directory\0" + data).hex()[:32]


def _last_word(tail: bytes) -> LogState:
    end = tail.rfind(b"\n")
    for raw in reversed(tail[: end + 1].split(b"\n")):
        words = raw.split(b" ")
        if len(words) != 3 or not words[2].isdigit():
            continue  # torn, or not ours
        kind, value = words[0], words[1].decode("ascii", "replace")
        at = float(words[2][:15])
        if kind == b"begin" and len(value) == _ID_DIGITS and value.isalnum():
            return LogState(True, value, None, at)
        if kind == b"end":
            return LogState(True, None, value, at)
    return LogState(False, None, None)


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


def _byte_at(fd: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, 1)


def _sync_directory(path: str) -> None:
    if os.name == "nt":  # Windows has no handle to a directory that could be flushed
        return
    fd = os.open(path, os.O_RDONLY | _CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _map_counter(directory: str) -> mmap.mmap | None:
    """The counter as a shared mapping; None where there is no log yet or no mapping can be had."""
    import mmap

    path = os.path.join(directory, _COUNTER)
    for _ in range(2):
        try:
            fd = os.open(path, os.O_RDONLY | _CLOEXEC)
        except OSError:
            fd = -1
        if fd >= 0:
            try:
                # Never a hole: touching one through a mapping on a full disk kills the process.
                if os.fstat(fd).st_size >= _COUNTER_BYTES:
                    return mmap.mmap(fd, _COUNTER_BYTES, access=mmap.ACCESS_READ)
            except (OSError, ValueError):
                return None
            finally:
                os.close(fd)
        if not os.path.isdir(directory):
            return None
        _change_counter(directory)
    return None


def _change_counter(directory: str) -> None:
    path = os.path.join(directory, _COUNTER)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _CLOEXEC, 0o600)
    except OSError:
        return
    try:
        # Random rather than incremented: two writers at once cannot cancel each other out. By
        # `write`, which fails where a store through a mapping would be a SIGBUS.
        os.write(fd, os.urandom(_COUNTER_BYTES))
    except OSError:
        pass  # a full disk, perhaps: the other processes' `stat` notices the line
    finally:
        os.close(fd)


def _translated(exc: OSError, doing: str) -> StoreError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull("no room left for the session log")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(
            f"cannot {doing} the session log: {os.strerror(exc.errno)}",
            hint="make the state directory yours and writable",
        )
    return StoreUnavailable(f"cannot {doing} the session log: {exc.strerror or type(exc).__name__}")
