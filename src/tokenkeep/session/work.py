"""Authorised work and account-scoped caches: what a sign-out cancels and clears."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count


class Work:
    """Callbacks to run at sign-out. Safe from any thread; a failing one does not stop the rest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        self._cancels: dict[int, Callable[[], object]] = {}
        self._clears: dict[int, Callable[[], object]] = {}

    def track(self, cancel: Callable[[], object]) -> Callable[[], None]:
        """Registers work in flight; call what is returned when the work is done."""
        return self._add(self._cancels, cancel)

    def register_cache(self, clear: Callable[[], object]) -> Callable[[], None]:
        """Registers a cache of account data, until what is returned is called."""
        return self._add(self._clears, clear)

    def cancel_all(self) -> tuple[int, int]:
        """Cancels what is tracked: how many, and how many of them failed to be cancelled."""
        with self._lock:
            callbacks = list(self._cancels.values())
            self._cancels.clear()
        return _run(callbacks)

    def clear_caches(self) -> tuple[int, int]:
        """Clears every registered cache: how many, and how many of them failed."""
        with self._lock:
            callbacks = list(self._clears.values())
        return _run(callbacks)

    def in_child(self) -> Work:
        """What a forked child inherits: the caches. The work in flight is its parent's."""
        child = Work()
        child._numbers, child._clears = self._numbers, self._clears
        return child

    def _add(
        self, where: dict[int, Callable[[], object]], callback: Callable[[], object]
    ) -> Callable[[], None]:
        with self._lock:
            number = next(self._numbers)
            where[number] = callback

        def remove() -> None:
            where.pop(number, None)  # atomic; a lock might be the parent's in a forked child

        return remove


def _run(callbacks: list[Callable[[], object]]) -> tuple[int, int]:
    failed = 0
    for callback in callbacks:
        try:
            callback()
        except Exception:  # the application's own code: a sign-out goes on whatever it does
            failed += 1
    return len(callbacks), failed
