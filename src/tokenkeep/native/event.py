"""What one thread tells another, once.

On Windows they meet at an address (`WaitOnAddress`, synchapi.h) and not at a lock of Python's. Such
a lock is an object of the system's, and under Wine one of the server's: a deadline that is to
outlast a server must not wait for it.
"""

from __future__ import annotations

import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The longest wait a lock takes (threading.TIMEOUT_MAX is less on some systems): four days.
_LONGEST_WAIT = min(threading.TIMEOUT_MAX, 345_600.0)

if sys.platform == "win32":
    import ctypes

    from tokenkeep.native.windll import load

    _WITHOUT_END = 0xFFFFFFFF
    _synch: Any = load(
        "api-ms-win-core-synch-l1-2-0",
        {
            "WaitOnAddress": (
                ctypes.c_int,
                ctypes.c_void_p,
                ctypes.c_void_p,
                ctypes.c_size_t,
                ctypes.c_uint32,
            ),
            "WakeByAddressAll": (None, ctypes.c_void_p),
        },
    )

    class Event:
        """Not set until `set`, which is called once."""

        __slots__ = ("_state", "_unset")

        def __init__(self) -> None:
            self._state = ctypes.c_int32(0)
            self._unset = ctypes.c_int32(0)

        def set(self) -> None:
            """Lets whoever waits go on."""
            self._state.value = 1
            _synch.WakeByAddressAll(ctypes.byref(self._state))

        def wait(self, seconds: float | None = None) -> bool:
            """Whether it is set, now or within so many seconds; None waits without end."""
            until = 0.0 if seconds is None else time.perf_counter() + min(seconds, _LONGEST_WAIT)
            while not self._state.value:
                milliseconds = _WITHOUT_END
                if seconds is not None:
                    left = until - time.perf_counter()
                    if left <= 0:
                        return False
                    milliseconds = int(left * 1000) + 1
                state, unset = ctypes.byref(self._state), ctypes.byref(self._unset)
                _synch.WaitOnAddress(state, unset, ctypes.sizeof(self._state), milliseconds)
            return True

else:

    class Event:
        """Not set until `set`, which is called once."""

        __slots__ = ("_lock",)

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self._lock.acquire()

        def set(self) -> None:
            """Lets whoever waits go on."""
            self._lock.release()

        def wait(self, seconds: float | None = None) -> bool:
            """Whether it is set, now or within so many seconds; None waits without end.

            One thread waits, and asks no more after it was told.
            """
            return self._lock.acquire(
                timeout=-1 if seconds is None else min(seconds, _LONGEST_WAIT)
            )
