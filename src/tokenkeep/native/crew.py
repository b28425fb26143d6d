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

    While one hangs in what nobody waits for any more, none is started: that is a call into the
    system, too, which might never come back. Then work waits for a thread that does.

    Args:
        most_idle: about how many are kept, from the first work on. With none, every work gets a
            thread of its own.
    """

    __slots__ = ("_busy", "_idle", "_is_begun", "_most_idle", "_waiting")

    def __init__(self, most_idle: int) -> None:
        self._busy: set[Work] = set()
        self._idle: list[_Way] = []
        self._is_begun = False
        self._most_idle = most_idle
        self._waiting: list[Work] = []

    def give(self, work: Work) -> None:
        """Has it done on another thread.

        Raises:
            RuntimeError: the system has no thread left.
        """
        if not self._is_begun:
            self._is_begun = True
            with suppress(RuntimeError):  # fewer will do
                for _number in range(self._most_idle):
                    self._idle.append(self._started())
        try:
            way = self._idle.pop()
        except IndexError:
            if self._most_idle and any(each.is_dropped for each in [*self._busy]):
                self._waiting.append(work)
                self._hand_out()
                return
            way = self._started()
        self._begin(work, way)

    def withdraw(self, work: Work) -> None:
        """Has it not begun any more, if it waits for a thread."""
        with suppress(ValueError):
            self._waiting.remove(work)

    def _begin(self, work: Work, way: _Way) -> None:
        self._busy.add(work)
        way.work = work
        way.is_given.set()

    def _hand_out(self) -> None:
        """Begins what waits, as far as there are threads that have nothing to do."""
        while self._waiting:
            try:
                way = self._idle.pop()
            except IndexError:
                return
            try:
                work = self._waiting.pop(0)
            except IndexError:  # it was withdrawn, or handed out by another thread
                self._idle.append(way)
            else:
                self._begin(work, way)

    def _started(self) -> _Way:
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
            self._hand_out()


class _Way:
    """How a thread is given its work."""

    __slots__ = ("is_given", "work")

    def __init__(self) -> None:
        self.is_given = Event()
        self.work: Work | None = None
