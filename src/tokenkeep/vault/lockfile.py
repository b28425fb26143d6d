"""The lock of a vault: one process at a time, on a file that stays open between two transactions.

Invariant: what is locked is the file that has the name. Imported by writers only.
"""

from __future__ import annotations

import os
import stat

from tokenkeep.fence import try_lock, unlock
from tokenkeep.vault import files

#: How often the lock file may turn out to have been replaced before whoever does it comes first.
_TRIES = 3


class LockFile:
    """The lock file in a vault's directory; used by one thread at a time, and in one process."""

    __slots__ = ("_fd", "_identity", "_path")

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, files.LOCK)
        self._fd: int | None = None
        self._identity: tuple[int, int] | None = None

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
                    found = os.lstat(self._path)
                    if (found.st_dev, found.st_ino) == self._identity:
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
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
