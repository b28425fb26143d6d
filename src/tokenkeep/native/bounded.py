"""Calls into a platform that may never come back, each ended by its deadline.

The call is made on another thread; a platform that hangs keeps that thread, never the caller.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, TypeVar

from tokenkeep.errors import StoreTimeout
from tokenkeep.item import Call
from tokenkeep.native.crew import Crew
from tokenkeep.native.event import Event

T = TypeVar("T")

#: Threads are kept on Windows alone, where starting one costs as much as a call and nothing forks:
#: elsewhere an application that forks has none of ours but those that the platform hangs on to.
_CREW = Crew(most_idle=4 if sys.platform == "win32" else 0)


def bounded(
    call: Call,
    function: Callable[[], T],
    doing: str = "the platform's store",
    crew: Crew = _CREW,
) -> T:
    """What the function returns, or raises, if it comes back within the call's deadline.

    The thread is a daemon: one that the platform never lets go of does not keep the process from
    ending. What the function does after the deadline still happens; its answer is dropped. A call
    without a deadline is made right here.

    Args:
        doing: what did not finish, for the message.
        crew: whose threads make the call. A question to a person keeps its own, long after the
            deadline.

    Raises:
        StoreTimeout: the deadline has passed, before or during the call.
    """
    call.check(doing)
    remaining = call.remaining()
    if remaining is None:
        return function()
    answer = _Answer(function)
    has_arrived = False
    try:
        crew.give(answer)
        has_arrived = answer.arrived.wait(remaining)
    finally:
        if not has_arrived:
            answer.drop()
            crew.withdraw(answer)
    if not has_arrived:
        raise StoreTimeout(f"{doing} did not finish in time")
    return answer.take()


class _Answer(Generic[T]):
    """What one call gave; dropped if nobody waits for it any more."""

    __slots__ = ("_function", "_problem", "_value", "arrived", "is_dropped")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function: Callable[[], T] | None = function
        self._value: list[T] = []
        self._problem: BaseException | None = None
        self.arrived = Event()
        self.is_dropped = False

    def __call__(self) -> None:
        function, self._function = self._function, None
        if function is None or self.is_dropped:
            return
        try:
            value = function()
            if not self.is_dropped:
                self._value.append(value)
        except BaseException as exc:
            # The frames of this thread are nobody's business, and may hold what was to be kept.
            self._problem = exc.with_traceback(None)
        self.arrived.set()

    def drop(self) -> None:
        self.is_dropped = True
        self._function = None  # not begun later, either
        self._value.clear()

    def take(self) -> T:
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
        return self._value.pop()
