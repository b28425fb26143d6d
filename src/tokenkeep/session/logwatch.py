"""Notices that somebody else's process has written to an account's session log.

Nothing here reads or writes the log itself.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from tokenkeep.sessionlog import COUNTER, COUNTER_BYTES, SessionLog, change_counter

if TYPE_CHECKING:
    from tokenkeep.clock import Clock

#: How long a sign-out may go unnoticed if its writer was killed between the line and the counter.
_STAT_EVERY_SECONDS = 1.0
_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


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
        seen = b"" if self._view is None else self._view[:COUNTER_BYTES]
        return seen, self._stat()

    def accept(self, mark: tuple[bytes, tuple[int, int, int] | None]) -> None:
        """Takes what was marked as known."""
        self._seen, self._stamp = mark
        self._next_stat = self._clock.monotonic() + _STAT_EVERY_SECONDS

    def changed(self, now: float) -> bool:
        """Whether a line may have come since the accepted mark; `now` is a monotonic reading."""
        view = self._view
        if view is not None:
            if view[:COUNTER_BYTES] != self._seen:
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


def _map_counter(directory: str) -> mmap.mmap | None:
    """The counter as a shared mapping; None where there is no log yet or no mapping can be had."""
    path = os.path.join(directory, COUNTER)
    for _ in range(2):
        try:
            fd = os.open(path, os.O_RDONLY | _CLOEXEC)
        except OSError:
            fd = -1
        if fd >= 0:
            try:
                # Never a hole: touching one through a mapping on a full disk kills the process.
                if os.fstat(fd).st_size >= COUNTER_BYTES:
                    return mmap.mmap(fd, COUNTER_BYTES, access=mmap.ACCESS_READ)
            except (OSError, ValueError):
                return None
            finally:
                os.close(fd)
        if not os.path.isdir(directory):
            return None
        change_counter(directory)
    return None
