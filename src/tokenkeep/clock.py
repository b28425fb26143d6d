"""The only source of "now".

Wall time is for what outlives the process; monotonic time, which counts suspend where the system
can tell, is for what does not. The boot id tells whether two monotonic readings compare.
"""

from __future__ import annotations

import sys
import time
from _functools import partial  # type: ignore[import-not-found]  # `functools` costs the cold start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Clock(Protocol):
        """What the library asks of a clock; `tokenkeep.testing.FakeClock` is another one."""

        def wall(self) -> float:
            """Seconds since 1970-01-01T00:00:00Z; may jump."""
            ...

        def monotonic(self) -> float:
            """Seconds since an arbitrary point of this boot, suspend included; never jumps back."""
            ...

        def boot_id(self) -> str:
            """A word that changes at every boot; "" where the system does not tell."""
            ...

        def sleep(self, seconds: float) -> None:
            """Waits."""
            ...


#: Seconds that a wait on Windows takes at once, which Ctrl-C does not end; and the shortest wait
#: that needs no finer timer than the one that makes 64 ticks a second.
_LONGEST_NAP, _SHORTEST_NAP = 0.05, 0.04


def _sleep_on_windows(seconds: float) -> None:
    """Waits without the timer that `time.sleep` makes, which under Wine is its server's."""
    if seconds < _SHORTEST_NAP:
        time.sleep(seconds)
        return
    import ctypes

    library: Any = ctypes
    nap = library.windll.kernel32.Sleep
    until = time.perf_counter() + seconds
    while (left := until - time.perf_counter()) > 0:
        nap(int(min(left, _LONGEST_NAP) * 1000) + 1)


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    wall = staticmethod(time.time)
    sleep = staticmethod(_sleep_on_windows if sys.platform == "win32" else time.sleep)

    if hasattr(time, "CLOCK_BOOTTIME"):
        # Goes on while the machine is suspended (clock_gettime(2)).
        monotonic = staticmethod(partial(time.clock_gettime, time.CLOCK_BOOTTIME))
    elif sys.platform == "darwin":
        # Counts sleep there, which `time.monotonic` does not.
        monotonic = staticmethod(partial(time.clock_gettime, time.CLOCK_MONOTONIC))
    else:
        # Windows' counter goes on during sleep (Microsoft, "Acquiring high-resolution time
        # stamps"), and is what `time.monotonic` is since Python 3.13. Before, that was a count of
        # 64 a second, and under Wine one that stops with the server.
        monotonic = staticmethod(time.perf_counter)

    def boot_id(self) -> str:
        """Linux's random boot id; "" elsewhere."""
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
                return file.read().strip()
        except OSError:
            return ""
