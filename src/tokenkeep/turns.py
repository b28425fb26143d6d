"""Long loops that let other threads have the interpreter."""

from __future__ import annotations

import sys
import time
from _thread import _count as others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeVar

    T = TypeVar("T")

#: Seconds within which a thread that waits for the interpreter gets it.
_PAUSE = 0.00005


def in_turns(items: Iterable[T], every: int = 64) -> Iterator[T]:
    """The items, with a pause after every few of them where the program has other threads.

    A thread that only computes keeps the interpreter for 5 ms (`sys.getswitchinterval`) while
    another one wants it, and an event loop there is late by as much. On Windows it stays so: a
    pause needs a timer of the system's, which may not answer (see `clock`).
    """
    for number, item in enumerate(items, 1):
        yield item
        if not number % every and sys.platform != "win32" and others():
            time.sleep(_PAUSE)
