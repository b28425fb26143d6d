"""Single flight: however many ask at once, one thread works it off and all share the answer.

The work belongs to no caller: a caller that is cancelled or times out loses nothing but its wait,
and a rotated token is written whoever still listens. Waiting is on a `concurrent.futures.Future`,
which any thread and any event loop can do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Flight(Generic[T]):
    """At most one piece of work at a time. A forked child makes a new one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._future: Future[T] | None = None

    def join(self, ready: Callable[[], T | None], work: Callable[[], T]) -> Future[T]:
        """The flight in progress, or a new one.

        Args:
            ready: asked first, under the lock that ends a flight, so that nobody starts a second
                one for what the first has just brought.
            work: what to do, on a thread of its own that an interpreter's exit waits for.
        """
        with self._lock:
            found = ready()
            if found is not None:
                done: Future[T] = Future()
                done.set_result(found)
                return done
            if self._future is not None:
                return self._future
            future: Future[T] = Future()
            future.set_running_or_notify_cancel()  # from here on no waiter can cancel it
            self._future = future
        try:
            threading.Thread(target=self._run, args=(future, work), name="tokenkeep-flight").start()
        except RuntimeError as exc:  # no thread can be had, or the interpreter is going down
            self._land()
            future.set_exception(exc)
        return future

    def is_in_progress(self) -> bool:
        """Whether work is under way."""
        return self._future is not None

    def _run(self, future: Future[T], work: Callable[[], T]) -> None:
        try:
            result = work()
        except BaseException as exc:
            self._land()
            future.set_exception(exc.with_traceback(None))
        else:
            self._land()
            future.set_result(result)

    def _land(self) -> None:
        with self._lock:
            self._future = None


def raised_again(error: BaseException) -> BaseException:
    """A copy of a flight's error: one exception raised in many threads would share a traceback."""
    copy = error.__class__.__new__(error.__class__, *error.args)
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    return copy
