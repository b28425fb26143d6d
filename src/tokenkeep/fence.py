"""The fence: one holder at a time, across threads and processes of this host, for one account.

A lock of the operating system on a file that is never deleted: it vanishes with its holder, is
never judged by its age and never stolen. Waiting is polling, so that it can end. The file's text
names the holder; it is not secret.
"""

from __future__ import annotations

import errno
import os
import sys
from _thread import RLock  # `threading` itself costs the cold start

from tokenkeep.errors import AccessDenied, StoreError, StoreFull, StoreTimeout, StoreUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenkeep.clock import Clock
    from tokenkeep.item import Call

#: The first and the longest pause between two tries. The longest bounds how late a waiter comes
#: after its holder's release; twelve waiters at this pace cost about one percent of a core.
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02
#: On Windows a locked range cannot be read: the lock lies beyond the holder's name.
_WINDOWS_OFFSET = 1 << 30
_HOLDER_BYTES = 200
_NAMELESS = "somebody who could not leave a name"


class Hold:
    """The right to be inside the fence, until `release`. A forked child does not inherit it.

    One that nobody has any more is released, too: an interrupt may come before whoever asked for
    it can let it go.
    """

    __slots__ = ("_fd", "_is_inside", "_pid")

    def __init__(self, fd: int) -> None:
        self._pid = os.getpid()
        self._is_inside = False  # until the lock is had
        self._fd: int | None = fd

    def release(self) -> None:
        """Lets the next one in. May be called twice; in a forked child it only closes."""
        with _opening:
            fd = self._fd
            if fd is None:
                return
            if self._pid != os.getpid():
                self._fd = None
                if _closed_in != os.getpid():  # a child that was forked behind Python's back
                    os.close(fd)
                return
            try:
                _open_fds.discard(fd)
                # Unlocking ends it even if a forked child still has the descriptor.
                if self._is_inside:
                    _leave_name(fd, "")
                    unlock(fd)
            finally:
                # Nothing between the two that an interrupt could follow: a descriptor that is not
                # known any more locks everybody out.
                self._fd = None
                os.close(fd)

    def describe(self, purpose: str) -> None:
        """Says anew what the hold is for, to whoever waits behind it."""
        if self._fd is not None:
            _leave_name(self._fd, _name_for(purpose))

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def __del__(self) -> None:
        # `_opening` is gone where the interpreter is going down.
        if getattr(self, "_fd", None) is not None and _opening is not None:
            self.release()


class Fence:
    """The exclusion around read, decide, redeem and write of one account's session."""

    __slots__ = ("_clock", "_path")

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def acquire(
        self, purpose: str, timeout: float, until: Callable[[], bool] | None = None
    ) -> Hold | None:
        """The hold; None if it could not be had within `timeout` seconds, or `until` came true.

        Args:
            purpose: one word for whoever waits behind us.
            timeout: 0 tries once.
            until: asked between tries, so that a peer's success ends the wait.

        Raises:
            AccessDenied, StoreFull, StoreUnavailable: the lock file cannot be had.
        """
        hold = self._open()
        try:
            deadline = self._clock.monotonic() + timeout
            pause = _FIRST_PAUSE
            assert hold._fd is not None
            while not try_lock(hold._fd):
                if self._clock.monotonic() >= deadline or (until is not None and until()):
                    hold.release()
                    return None
                # Different waiters spread out: the low bits of a process id are as good as dice.
                self._clock.sleep(pause * (0.75 + (os.getpid() % 64) / 128))
                pause = min(pause * 1.6, _LONGEST_PAUSE)
            hold._is_inside = True
            _leave_name(hold._fd, _name_for(purpose))
        except BaseException as exc:
            hold.release()
            if isinstance(exc, OSError):
                raise _translated(exc) from None
            raise
        return hold

    def hold(self, purpose: str, call: Call) -> Hold:
        """The hold, had within the call's deadline.

        Raises:
            StoreTimeout: somebody else had it all the time; names who.
            AccessDenied, StoreFull, StoreUnavailable: as `acquire`.
        """
        remaining = call.remaining()
        found = self.acquire(purpose, float("inf") if remaining is None else remaining)
        if found is None:
            raise StoreTimeout(f"another process is at it: {self.holder() or 'unknown'}")
        return found

    def holder(self) -> str | None:
        """Who has it, such as "pid 4711 on host (refresh)"; None if it is free or unreachable."""
        try:
            fd = os.open(self._path, os.O_RDWR | _CLOEXEC)
        except OSError:
            return None
        try:
            if _is_free(fd):
                return None
            name = os.read(fd, _HOLDER_BYTES).decode("utf-8", "replace").strip()
            # Taken for free, a healthy refresh would look like one that was interrupted.
            return name or _NAMELESS
        except OSError:
            return None
        finally:
            os.close(fd)

    def _open(self) -> Hold:
        flags = os.O_RDWR | os.O_CREAT | _CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            # No fork comes between the two: a child with a descriptor that it does not know of
            # would keep the lock alive after its parent's death.
            with _opening:
                fd = os.open(self._path, flags, 0o600)
                _open_fds.add(fd)
                hold = Hold(fd)
        except OSError as exc:
            raise _translated(exc) from None
        return hold


_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

# The holds' descriptors, which a forked child has to close. As global as the descriptor table that
# it mirrors, and consulted by nothing else.
_open_fds: set[int] = set()
# The child in which they were closed.
_closed_in = 0
# Reentrant, because a signal handler may fork.
_opening = RLock()


def _close_in_child() -> None:
    global _opening, _closed_in
    _opening, _closed_in = RLock(), os.getpid()
    for fd in _open_fds:
        os.close(fd)
    _open_fds.clear()


def _go_on_in_parent() -> None:
    try:
        _opening.release()
    except RuntimeError:
        pass  # loaded by one thread while another one was already forking


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _opening.acquire(),  # named anew in a child: not bound once and for all
        after_in_parent=_go_on_in_parent,
        after_in_child=_close_in_child,
    )


if sys.platform == "win32":
    #: Of these the first is Windows' own; Wine's C library gives no reason at all.
    _TAKEN = (errno.EACCES, errno.EDEADLOCK, 0)

    def try_lock(fd: int) -> bool:
        """Locks an open file against everybody else; False if somebody has it."""
        import msvcrt

        os.lseek(fd, _WINDOWS_OFFSET, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as exc:
            if exc.errno in _TAKEN:
                return False
            raise
        finally:
            os.lseek(fd, 0, os.SEEK_SET)
        return True

    def _is_free(fd: int) -> bool:
        # A shared lock, which the C library does not have: two who look at once must not take each
        # other for a holder.
        import ctypes
        import msvcrt
        from ctypes import wintypes

        class Overlapped(ctypes.Structure):
            _fields_ = (
                ("internal", ctypes.c_size_t),
                ("internal_high", ctypes.c_size_t),
                ("offset", wintypes.DWORD),
                ("offset_high", wintypes.DWORD),
                ("event", wintypes.HANDLE),
            )

        # minwinbase.h: LOCKFILE_FAIL_IMMEDIATELY; winerror.h: ERROR_LOCK_VIOLATION.
        fail_immediately, lock_violation = 1, 33
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(fd))
        place = Overlapped(offset=_WINDOWS_OFFSET)
        if not kernel32.LockFileEx(handle, fail_immediately, 0, 1, 0, ctypes.byref(place)):
            code = ctypes.get_last_error()
            if code == lock_violation:
                return False
            raise ctypes.WinError(code)
        kernel32.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(place))
        return True

    def unlock(fd: int) -> None:
        """Lets the next one in, whoever else has the descriptor."""
        import msvcrt

        os.lseek(fd, _WINDOWS_OFFSET, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(fd: int) -> bool:
        """Locks an open file against everybody else; False if somebody has it."""
        # flock, not fcntl's record locks: those are lost when any descriptor of the file closes.
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno in (errno.EWOULDBLOCK, errno.EINTR):
                return False
            raise
        return True

    def _is_free(fd: int) -> bool:
        # A shared lock: two who look at once must not take each other for a holder.
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno in (errno.EWOULDBLOCK, errno.EINTR):
                return False
            raise
        unlock(fd)
        return True

    def unlock(fd: int) -> None:
        """Lets the next one in, whoever else has the descriptor."""
        fcntl.flock(fd, fcntl.LOCK_UN)


def _name_for(purpose: str) -> str:
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "host")
    return f"pid {os.getpid()} on {host} ({purpose})"


def _leave_name(fd: int, name: str) -> None:
    # Always as long, in place: whoever comes first takes the room, and a disk that is full later
    # does not keep the next ones from saying who they are. (But where each write goes to a new
    # place: btrfs, ZFS.)
    text = name.encode("utf-8", "replace")[: _HOLDER_BYTES - 1].ljust(_HOLDER_BYTES - 1) + b"\n"
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, text)
    except OSError:
        # A full disk must not keep anybody from signing out; only the name is missing then.
        return


def _translated(exc: OSError) -> StoreError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull("no room left for the session's lock file", hint="make room on the disk")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP):
        return AccessDenied(
            f"cannot open the session's lock file: {os.strerror(exc.errno)}",
            hint="make the state directory yours and writable",
        )
    return StoreUnavailable(
        f"cannot open the session's lock file: {exc.strerror or type(exc).__name__}",
        hint=f"check the path {exc.filename}" if exc.filename else "check the state directory",
    )
