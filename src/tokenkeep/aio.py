"""The same for event loops: asyncio and trio, over the synchronous code, written once.

Stores and sessions block, so their calls run on worker threads with a limiter of our own; a caller
that is cancelled stops waiting, and the call itself goes on to its end. A fresh token in memory is
answered without a thread, and waiting for a refresh occupies none: the flight's future wakes the
loop, and no waiter can cancel it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from tokenkeep.errors import (
    LoginRequired,
    MissingExtra,
    RefreshUnavailable,
    StoreTimeout,
    StoreUnavailable,
)
from tokenkeep.oauth.provider import Provider
from tokenkeep.session.flight import raised_again
from tokenkeep.session.logout import LogoutReport
from tokenkeep.session.session import FLIGHT_SECONDS, Session
from tokenkeep.session.state import AccessToken, Change, State
from tokenkeep.storage import SecureStorage
from tokenkeep.store import StoreFacts
from tokenkeep.tokens.storage import TokenStorage

try:
    import anyio
    import anyio.lowlevel
    import anyio.to_thread
except ImportError:
    _has_anyio = False
else:
    _has_anyio = True

if not _has_anyio:
    raise MissingExtra(extra="async")

try:
    # anyio loads its half for asyncio in the first call that a loop makes, which would hold that
    # loop up for tens of milliseconds.
    import anyio._backends._asyncio
except ImportError:  # a release that moved it: the first call is slower
    pass

if TYPE_CHECKING:
    from tokenkeep.oauth.transport import Transport
    from tokenkeep.tokens.kept import FreshInstall

S = TypeVar("S")
R = TypeVar("R")
P = ParamSpec("P")
SyncT = TypeVar("SyncT", covariant=True)

#: More than a program has stores and accounts; refreshes do not count, they wait without a thread.
WORKER_THREADS = 32

#: A wait for a locked store occupies a thread for so many seconds at a time.
_WAIT_SLICE = 2.0
_RESTART_PAUSE = 0.25

_limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("tokenkeep_limiter")


class _Face(Protocol[SyncT]):
    @property
    def sync(self) -> SyncT: ...


async def in_thread(call: Callable[[], R]) -> R:
    """Runs a blocking call on a worker thread; if the caller is cancelled, it still runs out."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(WORKER_THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(call, limiter=limiter, abandon_on_cancel=True)


def _threaded(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[_Face[S], P], Coroutine[Any, Any, R]]:
    """The method of the synchronous face, as a coroutine of the same name and arguments."""

    @functools.wraps(method)
    async def call(self: _Face[S], /, *args: P.args, **kwargs: P.kwargs) -> R:
        # Bound at once: no frame that waits keeps the arguments, one of which may be a secret.
        bound = _Bound(method, self.sync, args, kwargs)
        del args, kwargs
        return await in_thread(bound)

    return call


class _Bound(Generic[R]):
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
        return self._method(self._sync, *self._args, **self._kwargs)


class AsyncSecureStorage:
    """`SecureStorage` for event loops: the same arguments, names and errors."""

    def __init__(self, service: str, *options: object, **settings: Any) -> None:
        self.sync = SecureStorage(service, *options, **settings)

    @property
    def facts(self) -> StoreFacts:
        """What protects the items; blocks for as long as the first look at the store takes."""
        return self.sync.facts

    read = _threaded(SecureStorage.read)
    write = _threaded(SecureStorage.write)
    delete = _threaded(SecureStorage.delete)
    names = _threaded(SecureStorage.names)
    contains = _threaded(SecureStorage.contains)
    read_all = _threaded(SecureStorage.read_all)
    delete_all = _threaded(SecureStorage.delete_all)
    reset = _threaded(SecureStorage.reset)
    check = _threaded(SecureStorage.check)
    listen = _threaded(SecureStorage.listen)
    close = _threaded(SecureStorage.close)

    async def wait_until_unlocked(self, timeout: float | None) -> bool:
        """Waits until the items can be read; see `SecureStorage.wait_until_unlocked`.

        A caller that is cancelled leaves a worker thread waiting for two seconds at most.
        """
        clock = self.sync.clock
        deadline = None if timeout is None else clock.monotonic() + timeout
        was_locked = False
        while True:
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            is_last = left is not None and left <= _WAIT_SLICE
            turn = left if is_last else _WAIT_SLICE
            try:
                if await in_thread(functools.partial(self.sync.wait_until_unlocked, turn)):
                    return True
                was_locked = True
            except StoreTimeout:
                if is_last and not was_locked:
                    raise
            except StoreUnavailable:
                if is_last or not was_locked:
                    raise
                await anyio.sleep(_RESTART_PAUSE)  # a daemon that went away may come back
            if is_last:
                return False

    async def __aenter__(self) -> AsyncSecureStorage:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Async{self.sync!r}"


class AsyncTokenStorage:
    """`TokenStorage` for event loops, over either face of the storage."""

    def __init__(
        self,
        storage: SecureStorage | AsyncSecureStorage,
        *,
        account: str = "default",
        name: str | None = None,
        previous_name: str | None = None,
        fresh_install: FreshInstall = "clear",
    ) -> None:
        self.sync = TokenStorage(
            storage.sync if isinstance(storage, AsyncSecureStorage) else storage,
            account=account,
            name=name,
            previous_name=previous_name,
            fresh_install=fresh_install,
        )

    @property
    def account(self) -> str:
        """Whose session it is."""
        return self.sync.account

    save_refresh_token = _threaded(TokenStorage.save_refresh_token)
    read_refresh_token = _threaded(TokenStorage.read_refresh_token)
    clear_session = _threaded(TokenStorage.clear_session)


class AsyncSession:
    """`Session` for event loops: any number of loops and threads may share one.

    It takes the same objects; `sync` is the session itself, for threads of the same program.
    """

    def __init__(
        self,
        provider: Provider,
        tokens: TokenStorage | AsyncTokenStorage,
        *,
        share_access_tokens: bool = False,
        keep_id_token: bool = False,
        transport: Transport | None = None,
        timeout: float = FLIGHT_SECONDS,
    ) -> None:
        self.sync = Session(
            provider,
            tokens.sync if isinstance(tokens, AsyncTokenStorage) else tokens,
            share_access_tokens=share_access_tokens,
            keep_id_token=keep_id_token,
            transport=transport,
            timeout=timeout,
        )

    @property
    def state(self) -> State:
        """Where the session stands, as far as this process has seen."""
        return self.sync.state

    @property
    def account(self) -> str:
        """Whose session it is."""
        return self.sync.account

    @property
    def subject(self) -> str:
        """The provider's name for the person; "" if signed out or not told."""
        return self.sync.subject

    @property
    def scope(self) -> list[str]:
        """What was granted; empty if signed out."""
        return self.sync.scope

    @property
    def can_refresh(self) -> bool:
        """Whether the session outlives its access token: the provider gave a refresh token."""
        return self.sync.can_refresh

    restore = _threaded(Session.restore)
    login = _threaded(Session.login)
    logout_url = _threaded(Session.logout_url)
    accounts = _threaded(Session.accounts)
    token_after_401 = _threaded(Session.token_after_401)
    redeem_uncertain = _threaded(Session.redeem_uncertain)
    is_current = _threaded(Session.is_current)
    close = _threaded(Session.close)

    async def begin(
        self,
        token_response: Mapping[str, object],
        *,
        nonce: str | None = None,
        scope: list[str] | tuple[str, ...] = (),
    ) -> State:
        """Begins a session from a confirmed login; see `Session.begin`."""
        settings = {"nonce": nonce, "scope": scope}
        begin = _Bound(Session.begin, self.sync, (token_response,), settings)
        del token_response, nonce, settings
        return await in_thread(begin)

    async def logout(self) -> LogoutReport:
        """Signs out; see `Session.logout`. Cancelling the caller does not stop it half-way."""
        return await in_thread(self.sync.logout)

    async def access_token(
        self, min_ttl: float = 0.0, *, timeout: float | None = None
    ) -> AccessToken:
        """An access token that is good for `min_ttl` more seconds; see `Session.access_token`."""
        token = self.sync.fresh_token(min_ttl)
        if token is not None:
            return token
        return await finished(self.sync.refresh_in_flight(min_ttl), timeout)

    @asynccontextmanager
    async def until_logout(self) -> AsyncIterator[None]:
        """Authorised work that a sign-out in this process cancels.

        Raises:
            LoginRequired: the session ended while the block was at work.
        """
        with anyio.CancelScope() as scope:
            stop = self.sync.track(_in_this_loop(scope.cancel))
            try:
                yield
            finally:
                stop()
        if scope.cancelled_caught:
            raise LoginRequired(reason="ended elsewhere")

    def on_change(self, listener: Callable[[Change], object]) -> Callable[[], None]:
        """Calls `listener` in this loop at every change of state; returns what stops it."""
        wake = _waker()

        def in_loop(change: Change) -> None:
            wake(lambda: listener(change))

        return self.sync.on_change(in_loop)

    def track(self, cancel: Callable[[], object]) -> Callable[[], None]:
        """Registers authorised work that a sign-out cancels; see also `until_logout`."""
        return self.sync.track(_in_this_loop(cancel))

    def register_cache(self, clear: Callable[[], object]) -> Callable[[], None]:
        """Registers a cache that a sign-out clears, on the thread that signs out."""
        return self.sync.register_cache(clear)

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Async{repr(self.sync)[1:]}"


async def finished(future: Future[AccessToken], timeout: float | None = None) -> AccessToken:
    """A flight's result; a caller that is cancelled or times out leaves the flight alone.

    Raises:
        RefreshUnavailable: it takes longer than `timeout` seconds and goes on in the background.
    """
    event = anyio.Event()
    set_event = _in_this_loop(event.set)
    future.add_done_callback(lambda _future: set_event())
    with anyio.move_on_after(timeout):
        await event.wait()
    if not future.done():
        raise RefreshUnavailable("still refreshing; it goes on in the background")
    error = future.exception()
    if error is not None:
        raise raised_again(error)
    return future.result()


def _in_this_loop(call: Callable[[], object]) -> Callable[[], None]:
    """The call, for any thread to make in the event loop that runs now."""
    wake = _waker()
    return lambda: wake(call)


def _waker() -> Callable[[Callable[[], object]], None]:
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
