"""Threads that are kept when they have done their work, and do the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Work = Callable[[], None]


class Crew:
    """As many threads as there is work at once; those that have none wait for it. All are daemons.

    Args:
        most_idle: about how many wait at most; one that would be more ends.
    """

    __slots__ = ("_idle", "_most_idle")

    def __init__(self, most_idle: int) -> None:
        self._idle: list[SimpleQueue[Work]] = []
        self._most_idle = most_idle

    def give(self, work: Work) -> None:
        """Has it done at once, on another thread; it must not raise.

        Raises:
            RuntimeError: the system has no thread left.
        """
        try:
            way = self._idle.pop()
        except IndexError:
            way = SimpleQueue()
            threading.Thread(
                target=self._serve, args=(way,), name="tokenkeep native call", daemon=True
            ).start()
        way.put(work)

    def _serve(self, way: SimpleQueue[Work]) -> None:
        while True:
            # In no variable: what was done must not stay alive until there is more to do.
            way.get()()
            if len(self._idle) >= self._most_idle:
                return
            self._idle.append(way)
