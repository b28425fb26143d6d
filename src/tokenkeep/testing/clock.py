"""FakeClock: a clock that a test moves."""

from __future__ import annotations

import threading


class FakeClock:
    """Stands still until told otherwise; sleeping moves it and returns at once.

    Safe to share between threads.
    """

    def __init__(
        self, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0, boots: int = 1
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._boots = boots
        self._lock = threading.Lock()

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds since an arbitrary point of this boot."""
        return self._monotonic

    def boot_id(self) -> str:
        """A word that changes with `reboot`."""
        return f"boot-{self._boots}"

    def sleep(self, seconds: float) -> None:
        """Moves the clock as `advance` does."""
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Time goes by."""
        if seconds < 0:
            raise ValueError("time does not go back: use jump_wall")
        with self._lock:
            self._wall += seconds
            self._monotonic += seconds

    def jump_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock; minus 86,400 is a day back."""
        with self._lock:
            self._wall += seconds

    def suspend(self, seconds: float, *, counted: bool = True) -> None:
        """The machine sleeps.

        Args:
            seconds: how long.
            counted: False plays a system whose monotonic clock stands still meanwhile.
        """
        with self._lock:
            self._wall += seconds
            if counted:
                self._monotonic += seconds

    def reboot(self, seconds: float = 30.0) -> None:
        """The machine restarts: the monotonic clock begins anew, under another boot id."""
        with self._lock:
            self._wall += seconds
            self._monotonic = 1.0
            self._boots += 1
