"""Between an event loop and threads: blocking calls leave it, wake-ups come back to it."""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

S = TypeVar("S")
R = TypeVar("R")
P = ParamSpec("P")
SyncT = TypeVar("SyncT", covariant=True)

#: More than a program has stores and accounts; refreshes do not count, they wait without a thread.
WORKER_THREADS = 32

_limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("tokenkeep_limiter")


class Face(Protocol[SyncT]):
    """What an asynchronous class is: a face of the synchronous object behind it."""

    @property
    def sync(self) -> SyncT:
        """The same, for threads of the same program."""
        ...


async def in_thread(call: Callable[[], R]) -> R:
    """Runs a blocking call on a worker thread; if the caller is cancelled, it still runs out.

    Under trio it does so while the program lives, whose end does not wait for trio's threads.
    """
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(WORKER_THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(call, limiter=limiter, abandon_on_cancel=True)


async def in_own_thread(call: Callable[[], R]) -> R:
    """Runs a blocking call to its end: also if the caller is cancelled and the program ends."""
    future: Future[R] = Future()
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=run, name="tokenkeep-call").start()
    await done(future)
    return future.result()


async def done(future: Future[Any], timeout: float | None = None) -> bool:
    """Whether a future is done within `timeout` seconds; waiting for it changes nothing of it."""
    event = anyio.Event()
    set_event = in_this_loop(event.set)
    future.add_done_callback(lambda _future: set_event())
    with anyio.move_on_after(timeout):
        await event.wait()
    return future.done()


def threaded(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[Face[S], P], Coroutine[Any, Any, R]]:
    """The method of the synchronous face, as a coroutine of the same name and arguments."""

    @functools.wraps(method)
    async def call(self: Face[S], /, *args: P.args, **kwargs: P.kwargs) -> R:
        # Bound at once: no frame that waits keeps the arguments, one of which may be a secret.
        bound = Bound(method, self.sync, args, kwargs)
        del args, kwargs
        return await in_thread(bound)

    return call


class Bound(Generic[R]):
    """A call with its arguments, which shows neither: a `functools.partial` prints them all."""

    __slots__ = ("_args", "_kwargs", "_method", "_sync")

    def __init__(
        self, method: Callable[..., R], sync: object, args: Any, kwargs: dict[str, Any]
    ) -> None:
        self._method = method
        self._sync = sync
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> R:
        """Makes the call."""
        return self._method(self._sync, *self._args, **self._kwargs)


def in_this_loop(call: Callable[[], object]) -> Callable[[], None]:
    """The call, for any thread to make in the event loop that runs now."""
    wake = waker()
    return lambda: wake(call)


def waker() -> Callable[[Callable[[], object]], None]:
    """What makes a call in the event loop that runs now; nothing once that loop has ended."""
    schedule: Callable[[Callable[[], object]], object]
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        closed: type[Exception] = trio.RunFinishedError
        schedule = trio.lowlevel.current_trio_token().run_sync_soon
    else:
        import asyncio

        closed = RuntimeError
        schedule = asyncio.get_running_loop().call_soon_threadsafe

    def wake(call: Callable[[], object]) -> None:
        try:
            schedule(call)
        except closed:
            return  # the loop has ended, and with it everybody who could be waiting in it

    return wake
