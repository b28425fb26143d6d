"""Threads that are kept when they have done their work, and do the next."""

from __future__ import annotations

import threading
from contextlib import suppress

from tokenkeep.native.event import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Work(Protocol):
        """What is done once; it must not raise."""

        @property
        def is_dropped(self) -> bool:
            """Whether nobody waits any more for it to be done."""
            ...

        def __call__(self) -> None:
            """Does it."""
            ...


class Crew:
    """As many threads as there is work at once; those that have none wait for it. All are daemons.

    While one hangs, work waits for a thread that comes back rather than for a new one: starting one
    is a call into the system, too, which the caller might never come back from.

    Args:
        most_idle: about how many are kept, from the first work on. With none, every work gets a
            thread of its own at once.
    """

    __slots__ = ("_busy", "_idle", "_most_idle", "_waiting")

    def __init__(self, most_idle: int) -> None:
        self._busy: set[Work] = set()
        self._idle: list[_Way] = []
        self._most_idle = most_idle
        self._waiting: list[Work] = []

    def give(self, work: Work) -> None:
        """Has it done on another thread.

        Raises:
            RuntimeError: the system has no thread left.
        """
        if not self._idle and self._most_idle and any(each.is_dropped for each in [*self._busy]):
            self._waiting.append(work)
            self._hand_out()
        else:
            self._begin(work)

    def withdraw(self, work: Work) -> None:
        """Has it not begun any more, if it was not."""
        with suppress(ValueError):
            self._waiting.remove(work)

    def _begin(self, work: Work) -> None:
        try:
            way = self._idle.pop()
        except IndexError:
            way = self._start()
        self._busy.add(work)
        way.work = work
        way.is_given.set()

    def _hand_out(self) -> None:
        """Begins what waits, as far as there are threads."""
        while self._idle and self._waiting:
            with suppress(IndexError):  # another thread was quicker
                self._begin(self._waiting.pop(0))

    def _start(self) -> _Way:
        way = _Way()
        threading.Thread(
            target=self._serve, args=(way,), name="tokenkeep native call", daemon=True
        ).start()
        return way

    def _serve(self, way: _Way) -> None:
        while True:
            way.is_given.wait()
            way.is_given = Event()
            work, way.work = way.work, None
            assert work is not None
            work()
            self._busy.discard(work)
            del work  # it must not stay alive until there is more to do
            if len(self._idle) >= self._most_idle:
                return
            self._idle.append(way)
            with suppress(RuntimeError):  # no thread left: these do
                while len(self._idle) < self._most_idle:
                    self._idle.append(self._start())
            self._hand_out()


class _Way:
    """How a thread is given its work."""

    __slots__ = ("is_given", "work")

    def __init__(self) -> None:
        self.is_given = Event()
        self.work: Work | None = None
