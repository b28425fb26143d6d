"""Single flight: however many ask at once, one thread works it off and all share the answer.

The work belongs to no caller: a caller that is cancelled or times out loses nothing but its wait,
and a rotated token is written whoever still listens. Waiting is on a `concurrent.futures.Future`,
which any thread and any event loop can do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, Protocol, Self, TypeVar

from tokenkeep.errors import RefreshUnavailable

T = TypeVar("T")


class Wish(Protocol):
    """What a caller wants of a flight."""

    def covers(self, other: Self) -> bool:
        """Whether whoever gets this also gets what `other` asks for."""
        ...

    def merged(self, other: Self) -> Self:
        """What covers both."""
        ...


W = TypeVar("W", bound=Wish)


class _Leg(Generic[W, T]):
    def __init__(self, wish: W) -> None:
        self.wish = wish
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()  # from here on no waiter can cancel it


class Flight(Generic[W, T]):
    """At most one piece of work at a time, and one more that waits for its end.

    Callers whose wish the work under way covers share it; all others share the next one, which is
    only begun if the first has not brought what they want. A forked child makes a new flight.

    Args:
        ready: what is there already for a wish, None if nothing; asked before any work, under the
            lock that ends a flight, so that nobody works for what has just been brought.
        work: brings what is wished, on a thread of its own that an interpreter's exit waits for.
    """

    def __init__(self, ready: Callable[[W], T | None], work: Callable[[W], T]) -> None:
        self._ready = ready
        self._work = work
        self._lock = threading.Lock()
        self._current: _Leg[W, T] | None = None
        self._next: _Leg[W, T] | None = None
        self._thread_id: int | None = None

    def join(self, wish: W) -> Future[T]:
        """The work under way that covers the wish, or work to come."""
        with self._lock:
            current = self._current
            if current is None:
                found = self._ready(wish)
                return self._begun(wish) if found is None else _done(found)
            if self._thread_id == threading.get_ident():
                pass  # a listener, called by the work itself, must not wait for it
            elif current.wish.covers(wish):
                return current.future
            else:
                following = self._next
                if following is None:
                    self._next = following = _Leg[W, T](wish)
                else:
                    following.wish = following.wish.merged(wish)
                return following.future
        return self._inline(wish)

    def is_in_progress(self) -> bool:
        """Whether work is under way."""
        return self._current is not None

    def _begun(self, wish: W) -> Future[T]:
        """Work on a thread of its own; under the lock, so that it begins once this is settled."""
        leg = _Leg[W, T](wish)
        try:
            self._current = leg
            threading.Thread(target=self._run, args=(leg,), name="tokenkeep-flight").start()
        except BaseException as exc:
            # Nobody may wait for work that does not begin, whatever it was: no thread can be had,
            # the interpreter is going down, or somebody pressed Ctrl-C just now.
            self._current = None
            if not isinstance(exc, RuntimeError):
                raise
            leg.future.set_exception(RefreshUnavailable("no thread could be started"))
        return leg.future

    def _run(self, begun: _Leg[W, T]) -> None:
        with self._lock:
            if self._current is not begun:
                return  # given up while its thread was starting
            self._thread_id = threading.get_ident()
        leg: _Leg[W, T] | None = begun
        found: T | None = None
        while leg is not None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = self._work(leg.wish) if found is None else found
            except BaseException as exc:
                error = exc.with_traceback(None)
            with self._lock:
                landed, leg = leg, self._next
                self._current, self._next = leg, None
                if leg is None:
                    self._thread_id = None
                else:
                    found = self._ready(leg.wish)
            if error is not None:
                landed.future.set_exception(error)
            elif result is not None:
                landed.future.set_result(result)

    def _inline(self, wish: W) -> Future[T]:
        try:
            found = self._ready(wish)
            return _done(self._work(wish) if found is None else found)
        except Exception as exc:
            failed: Future[T] = Future()
            failed.set_exception(exc.with_traceback(None))
            return failed


def raised_again(error: BaseException) -> BaseException:
    """A copy of a flight's error: one exception raised in many threads would share a traceback."""
    copy = error.__class__.__new__(error.__class__, *error.args)
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    return copy


def _done(found: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(found)
    return future
