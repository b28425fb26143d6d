"""The lock of a vault: one process at a time, on a file that stays open between two transactions.

Invariant: what is locked is the file that has the name. Imported by writers only.
"""

from __future__ import annotations

import os
import stat

from tokenkeep.clock import SystemClock
from tokenkeep.fence import try_lock, unlock
from tokenkeep.vault import files

#: How often the lock file may turn out to have been replaced before whoever does it comes first.
_TRIES = 3
#: Whether a directory's time says when its names last changed: on Windows it says when it was made.
_CHANGES_SHOW = os.name == "posix"
#: Two changes as close together as that may have the same time; no file system's ticks are longer.
_TICK_SECONDS = 2.0


class LockFile:
    """The lock file in a vault's directory; used by one thread at a time, and in one process.

    Attributes:
        seen: the state of the directory when it was locked. It is the same object for as long as no
            name in it was made, removed or given to another file; None if nobody can tell.
    """

    __slots__ = ("_directory", "_fd", "_identity", "_path", "seen")

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, files.LOCK)
        self._fd: int | None = None
        self._identity: tuple[int, int] | None = None
        self.seen: tuple[int, int, int] | None = None

    def try_lock(self) -> bool:
        """Locks it; False if somebody else has it.

        Raises:
            AccessDenied, NotAVault, StoreFull, StoreUnavailable: the lock file cannot be had.
        """
        try:
            for _try in range(_TRIES):
                if self._fd is None:
                    self._fd = files.open_lock(self._path)
                    found = os.fstat(self._fd)
                    self._identity = (found.st_dev, found.st_ino)
                if not try_lock(self._fd):
                    return False
                # Opening costs a write more than looking. Whoever comes next opens the name, and
                # would be beside us if the file was removed or replaced since we opened it.
                try:
                    found = os.stat(self._directory)
                    seen = found.st_ino, found.st_dev, found.st_ctime_ns
                    if seen == self.seen or self._has_its_name(seen, found.st_ctime):
                        return True
                except FileNotFoundError:
                    pass
                self.close()
            return False  # somebody is replacing it all the time
        except OSError as exc:
            self.close()
            raise files.translated(exc, "the vault's lock") from None
        except BaseException:
            self.close()
            raise

    def _has_its_name(self, seen: tuple[int, int, int], changed: float) -> bool:
        found = os.lstat(self._path)
        if (found.st_dev, found.st_ino) != self._identity:
            return False
        is_old = _CHANGES_SHOW and SystemClock.wall() - changed > _TICK_SECONDS
        self.seen = seen if is_old else None
        return True

    def is_no_file(self) -> bool:
        """Whether something else has its name, so that nobody can have it."""
        try:
            return not stat.S_ISREG(os.lstat(self._path).st_mode)
        except OSError:
            return False

    def unlock(self) -> None:
        """Lets the next one in, also if a forked child still has the descriptor."""
        fd = self._fd
        if fd is None:
            return
        try:
            unlock(fd)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the descriptor, which in a forked child leaves the parent's lock alone."""
        fd, self._fd, self.seen = self._fd, None, None
        if fd is not None:
            os.close(fd)
