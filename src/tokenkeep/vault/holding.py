"""Locks between threads, had within a call's deadline, that a Ctrl-C does not leave behind.

CPython looks for a Ctrl-C behind each call that its code makes, but not between what a built-in
iterator gives and the name that takes it: so a lock is had by unpacking `map`, and not by calling
`acquire`.
"""

from __future__ import annotations

import os

from tokenkeep.errors import StoreTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from tokenkeep.errors import StoreError
    from tokenkeep.item import Call

    T = TypeVar("T")

#: Asks for a lock without waiting: `(is_ours,) = map(lock.acquire, AT_ONCE)`.
AT_ONCE = (False,)
#: The first and the longest pause between two tries to get what other processes have.
FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.01


def holding(lock: LockType, call: Call, body: Callable[..., T], *arguments: object) -> T:
    """What `body` gives while a lock between threads is ours, had within the call's deadline.

    Raises:
        StoreTimeout: another thread had it all the time; or as `body`.
    """
    is_ours = False
    try:
        (is_ours,) = attempt(lock, call)
        require(is_ours)
        return body(*arguments)
    finally:
        if is_ours:
            lock.release()


def attempt(lock: LockType, call: Call) -> Iterator[bool]:
    """What takes the lock within the call's deadline once it is asked for whether it could."""
    remaining = call.remaining()
    # The longest wait that the platform's timeouts can express is far beyond any deadline.
    return map(lock.acquire, (True,), (-1 if remaining is None else min(remaining, 1e6),))


def require(is_ours: bool) -> None:
    """Ends a call that did not get its lock."""
    if not is_ours:
        raise StoreTimeout("another thread was using the vault all the time")


def wait(call: Call, pause: float, problem: StoreError) -> float:
    """Waits a little, or raises what the waiting was about; the next pause."""
    remaining = call.remaining()
    if remaining is not None and remaining <= 0:
        raise problem
    # Waiters spread out: the low bits of a process id are as good as dice.
    call.clock.sleep(pause * (0.75 + (os.getpid() % 64) / 128))
    return min(pause * 1.5, _LONGEST_PAUSE)
