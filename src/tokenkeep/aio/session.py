"""`Session` for event loops."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager

import anyio

from tokenkeep.aio.storage import AsyncTokenStorage
from tokenkeep.aio.threads import (
    done,
    in_own_thread,
    in_this_loop,
    in_thread,
    threaded,
    waker,
)
from tokenkeep.errors import LoginRequired, RefreshUnavailable
from tokenkeep.oauth import idtoken, transport
from tokenkeep.oauth import login as _login  # noqa: F401 - for `login`, which loads nothing
from tokenkeep.oauth.messages import DeviceCode
from tokenkeep.oauth.provider import Provider
from tokenkeep.oauth.transport import Transport
from tokenkeep.secret import Secret
from tokenkeep.session.flight import raised_again
from tokenkeep.session.logout import LogoutReport
from tokenkeep.session.session import FLIGHT_SECONDS, Session
from tokenkeep.session.state import AccessToken, Change, State
from tokenkeep.tokens.storage import TokenStorage

transport.preload()
idtoken.preload()


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
        self.provider = provider
        self.tokens = tokens
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

    restore = threaded(Session.restore)
    begin = threaded(Session.begin)
    logout_url = threaded(Session.logout_url)
    accounts = threaded(Session.accounts)
    token_after_401 = threaded(Session.token_after_401)
    redeem_uncertain = threaded(Session.redeem_uncertain)
    is_current = threaded(Session.is_current)
    close = threaded(Session.close)

    async def login(
        self,
        scope: str | list[str] | tuple[str, ...] = ("openid", "offline_access"),
        *,
        device: bool = False,
        on_code: Callable[[DeviceCode], None] | None = None,
        open_browser: Callable[[str], object] | None = None,
        on_url: Callable[[str], None] | None = None,
        timeout: float = 300.0,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> State:
        """Signs in; see `Session.login`. A caller who is cancelled has cancelled the login."""
        has_gone = threading.Event()
        login = functools.partial(
            self.sync.login,
            scope,
            device=device,
            on_code=on_code,
            open_browser=open_browser,
            on_url=on_url,
            timeout=timeout,
            is_cancelled=lambda: has_gone.is_set() or (is_cancelled is not None and is_cancelled()),
        )
        try:
            return await in_thread(login)
        finally:
            has_gone.set()

    async def logout(self) -> LogoutReport:
        """Signs out; see `Session.logout`.

        Cancelling the caller does not stop it half-way, and neither does the program's end.
        """
        return await in_own_thread(self.sync.logout)

    async def access_token(
        self, min_ttl: float = 0.0, *, timeout: float | None = None
    ) -> AccessToken:
        """An access token that is good for `min_ttl` more seconds; see `Session.access_token`."""
        token = self.fresh_token(min_ttl)
        if token is not None:
            return token
        return await finished(self.refresh_in_flight(min_ttl), timeout)

    def fresh_token(self, min_ttl: float = 0.0) -> AccessToken | None:
        """The token in memory if it serves at once, as `access_token`; never blocks."""
        return self.sync.fresh_token(min_ttl)

    def refresh_in_flight(self, min_ttl: float = 0.0) -> Future[AccessToken]:
        """The refresh in flight, or a new one, for other event loops; never blocks."""
        return self.sync.refresh_in_flight(min_ttl)

    def live_tokens(self) -> list[Secret]:
        """The tokens in memory that are good now; see `Session.live_tokens`."""
        return self.sync.live_tokens()

    @asynccontextmanager
    async def until_logout(self) -> AsyncIterator[None]:
        """Authorised work that a sign-out in this process cancels.

        Raises:
            LoginRequired: the session ended while the block was at work.
        """
        with anyio.CancelScope() as scope:
            stop = self.sync.track(in_this_loop(scope.cancel))
            try:
                yield
            finally:
                stop()
        if scope.cancelled_caught:
            raise LoginRequired(reason="ended elsewhere")

    def on_change(self, listener: Callable[[Change], object]) -> Callable[[], None]:
        """Calls `listener` in this loop at every change of state; returns what stops it."""
        wake = waker()

        def in_loop(change: Change) -> None:
            wake(lambda: listener(change))

        return self.sync.on_change(in_loop)

    def track(self, cancel: Callable[[], object]) -> Callable[[], None]:
        """Registers authorised work that a sign-out cancels; see also `until_logout`."""
        return self.sync.track(in_this_loop(cancel))

    def register_cache(self, clear: Callable[[], object]) -> Callable[[], None]:
        """Registers a cache that a sign-out clears, on the thread that signs out."""
        return self.sync.register_cache(clear)

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        with anyio.CancelScope(shield=True):  # in a scope that was cancelled nothing would close
            await self.close()

    def __repr__(self) -> str:
        return f"<Async{repr(self.sync)[1:]}"


async def finished(future: Future[AccessToken], timeout: float | None = None) -> AccessToken:
    """A flight's result; a caller that is cancelled or times out leaves the flight alone.

    Raises:
        RefreshUnavailable: it takes longer than `timeout` seconds and goes on in the background.
    """
    if not await done(future, timeout):
        raise RefreshUnavailable("still refreshing; it goes on in the background")
    error = future.exception()
    if error is not None:
        raise raised_again(error)
    return future.result()
