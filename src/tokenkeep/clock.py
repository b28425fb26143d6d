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
    from typing import Protocol

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


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)

    if hasattr(time, "CLOCK_BOOTTIME"):
        # Goes on while the machine is suspended (clock_gettime(2)).
        monotonic = staticmethod(partial(time.clock_gettime, time.CLOCK_BOOTTIME))
    elif sys.platform == "darwin":
        # Counts sleep there, which `time.monotonic` does not.
        monotonic = staticmethod(partial(time.clock_gettime, time.CLOCK_MONOTONIC))
    else:
        monotonic = staticmethod(time.monotonic)  # Windows' counter goes on during sleep

    def boot_id(self) -> str:
        """Linux's random boot id; "" elsewhere."""
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
                return file.read().strip()
        except OSError:
            return ""
