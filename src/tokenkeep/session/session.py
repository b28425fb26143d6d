"""Session: the life of one account's login, from the application's side.

It keeps access tokens in memory, knows where the session stands, and hands every decision about
the stored grant to `refresh`, `login` and `logout`. A fresh token in memory costs a look at the
session log's counter: no lock, store or thread.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING

from tokenkeep.errors import LoginRequired, ProtocolViolation, RefreshUnavailable, StoreError
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.login import checked_scope, never
from tokenkeep.oauth.messages import read_token_response
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.provider import Provider
from tokenkeep.secret import Secret, as_secret
from tokenkeep.session.flight import raised_again
from tokenkeep.session.known import Known
from tokenkeep.session.locked import UnlockRetry
from tokenkeep.session.login import Confirmed, by_person, give_back, save
from tokenkeep.session.logout import LogoutReport, end_quietly, sign_out
from tokenkeep.session.obtain import Obtainer
from tokenkeep.session.redemption import Got, Wanted
from tokenkeep.session.refresh import Redeemer
from tokenkeep.session.revocation import revoke_late
from tokenkeep.session.state import AccessToken, Change, State
from tokenkeep.tokens.accounts import stored_accounts
from tokenkeep.tokens.storage import TokenStorage

if TYPE_CHECKING:
    from tokenkeep.fence import Hold
    from tokenkeep.oauth.dpop import DpopKey
    from tokenkeep.oauth.messages import DeviceCode
    from tokenkeep.oauth.transport import Transport
    from tokenkeep.tokens.record import Record

#: All of one flight: the fence, one request, two writes.
FLIGHT_SECONDS = 30.0
#: A token that is rejected so soon after the refresh that a 401 caused is rejected for another
#: reason than its age.
_REJECTED_AT_ONCE = 30.0


class Session:
    """One account's session at one provider. Safe from any thread; a forked child starts anew.

    Args:
        provider: no network until it is needed.
        tokens: where the session is kept, and whose it is.
        share_access_tokens: keep the current access token, encrypted, in the record, so that any
            number of processes cause one redemption; otherwise each process redeems for itself.
        keep_id_token: keep the ID token, for a provider whose logout page wants it.
        transport: how requests are sent; `httpx2` if None.
        timeout: seconds for one refresh, all in all.
    """

    def __init__(
        self,
        provider: Provider,
        tokens: TokenStorage,
        *,
        share_access_tokens: bool = False,
        keep_id_token: bool = False,
        transport: Transport | None = None,
        timeout: float = FLIGHT_SECONDS,
    ) -> None:
        self.provider = provider
        self.tokens = tokens
        self._kept = tokens.kept
        self._transport = transport
        self._client = Client(provider, transport, tokens.storage.clock)
        self._shares = share_access_tokens
        self._keeps_id_token = keep_id_token
        self._timeout = timeout
        self._monotonic = tokens.storage.clock.monotonic
        self._start_anew(None)
        _sessions.add(self)

    @property
    def state(self) -> State:
        """Where the session stands, as far as this process has seen; `restore` looks anew."""
        return self._known.state

    @property
    def account(self) -> str:
        """Whose session it is."""
        return self.tokens.account

    @property
    def subject(self) -> str:
        """The provider's name for the person; "" if signed out or not told."""
        record = self._known.record
        return "" if record is None else record.subject

    @property
    def scope(self) -> list[str]:
        """What was granted; empty if signed out."""
        record = self._known.record
        return [] if record is None else record.scope.split()

    @property
    def can_refresh(self) -> bool:
        """Whether the session outlives its access token: the provider gave a refresh token."""
        record = self._known.record
        return record is not None and record.refresh_token is not None

    def accounts(self) -> list[str]:
        """The accounts of this application that have a record, dead ones included.

        Raises:
            StoreError: the store cannot tell.
        """
        return sorted({tokens.account for tokens in stored_accounts(self.tokens.storage)})

    def on_change(self, listener: Callable[[Change], object]) -> Callable[[], None]:
        """Calls `listener` at every change of state, from whichever thread made it.

        Returns what stops it.
        """
        return self._known.listen(listener)

    def restore(self) -> State:
        """Loads the session at start; needs no network. Returns the state.

        A locked store is not signed out: the state is `LOCKED` until a later call finds it open.
        While somebody listens (`on_change`), nobody has to call: the session looks again by itself
        once the store is unlocked.

        Raises:
            UnsupportedOption: the stored session belongs to another issuer or client.
            StoreError: the store cannot tell, except `StoreLocked` and `SecretInvalidated`, which
                are states. The state stays what it was: nobody knows of another one.
        """
        return self._obtainer.look()

    def login(
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
        """Signs in with a browser on this machine, or with `device=True` by a code shown elsewhere.

        Nothing is written before the provider's answer has been checked against issuer, client
        and nonce. A session that lived before is ended.

        Args:
            scope: what to ask for, words or one text; `scope` says afterwards what was granted,
                which may be less or more (RFC 6749, section 3.3).
            on_code: shows the code and the address to the person; needed for `device`.
            open_browser: opens the address; the system's browser unless given.
            on_url: is told the address, for a person whose browser does not open.
            timeout: seconds until the wait for the person ends.
            is_cancelled: asked several times a second; True ends the login, of which nothing
                remains. Not asked any more once the session is being saved.

        Raises:
            LoginCancelled: refused, not finished in time, or cancelled.
            LoginFailed, ProviderRefused, ProtocolViolation: nothing was saved.
            RefreshUnavailable: the network, or another process inside the fence.
            StoreError: it cannot begin. Tokens that have come are revoked; a note tells.
        """
        result = by_person(
            self._client,
            checked_scope(scope),
            device=device,
            on_code=on_code,
            open_browser=open_browser,
            on_url=on_url,
            timeout=timeout,
            is_cancelled=is_cancelled or never,
        )
        confirmed = Confirmed.by_flow(self.provider, result, self._kept.now())
        if is_cancelled is not None and is_cancelled():
            give_back(self._kept, self._client, confirmed)
        return self._begin(confirmed, gives_back=True)

    def begin(
        self,
        token_response: Mapping[str, object],
        *,
        nonce: str | None = None,
        scope: str | list[str] | tuple[str, ...] = (),
        dpop_key: DpopKey | None = None,
    ) -> State:
        """Begins a session from a confirmed login that the application made itself.

        Args:
            token_response: the token endpoint's answer; an ID token in it is checked, which needs
                the provider's keys and so the network.
            nonce: what was sent with the authorization request.
            scope: what was asked for, where the answer does not repeat it; words, or one text.
            dpop_key: the key that the application's login was made with; a provider with `dpop`
                has to have one.

        Raises:
            ProtocolViolation: the answer is none, or the ID token is not for us; nothing was saved.
            RefreshUnavailable: the keys cannot be fetched, or another process is inside the fence.
            UnsupportedOption: the scope cannot be.
        """
        now = self._kept.now()
        response = read_token_response(token_response)
        given = None if nonce is None else as_secret(nonce)
        del token_response, nonce  # no frame of an error below may keep them
        if isinstance(response, str):
            raise ProtocolViolation(response, hint="give the token endpoint's answer as it came")
        scope = checked_scope(scope)
        return self._begin(Confirmed.checked(self._client, response, given, scope, now, dpop_key))

    def access_token(self, min_ttl: float = 0.0, *, timeout: float | None = None) -> AccessToken:
        """An access token that is good for `min_ttl` more seconds, refreshed at most once.

        A `min_ttl` beyond what the provider grants refreshes once and returns what came.

        Args:
            timeout: seconds to wait for a refresh; it goes on without the caller.

        Raises:
            LoginRequired: there is no session; see its reason.
            RefreshUnavailable: not for now; the session is kept.
            SessionUncertain: an interrupted redemption; see `redeem_uncertain`.
            ProviderRefused: the provider rejects this client.
            StoreError: the store cannot be read or written; nothing was sent.
        """
        held = self.fresh_token(min_ttl)
        return held if held is not None else _wait(self.refresh_in_flight(min_ttl), timeout)

    def fresh_token(self, min_ttl: float = 0.0) -> AccessToken | None:
        """The token in memory if it serves at once, as `access_token`; never blocks."""
        known = self._known
        held = known.held
        if held is None:
            return None
        now = self._monotonic()
        if known.watch.changed(now) or not held.serves(now, min_ttl):
            return None
        if now >= held.renew:
            self._obtainer.renew_ahead(held)
        return held

    def refresh_in_flight(self, min_ttl: float = 0.0) -> Future[AccessToken]:
        """The refresh in flight, or a new one; the future cannot be cancelled. For event loops."""
        held = self._known.held
        seen = 0 if held is None else held.generation
        return self._obtainer.join(Wanted(self._known.session_id, seen, min_ttl))

    def token_after_401(self, rejected: AccessToken) -> AccessToken | None:
        """What to send instead of a token that a resource server answered with 401.

        The current generation is refreshed once; None means that a token fresh from such a refresh
        was rejected too, so the token's age is not the reason. A token of an older generation that
        had not expired shows that the provider ends access tokens at rotation: from then on the
        session shares them between processes, and its listeners are told.

        Raises:
            See `access_token`.
        """
        known = self._known
        held = known.held
        if held is None or rejected.session_id != held.session_id:
            return self.access_token()
        if held.generation > rejected.generation:
            return self.access_token()
        if known.record is not None and known.record.refresh_token is None:
            return None  # nothing to get a better one with
        is_killed = self._share_if_killed(rejected)
        if not is_killed and self._is_fresh_from_401(rejected):
            return None
        token = _wait(
            self._obtainer.join(
                Wanted(rejected.session_id, rejected.generation, 0.0, must_be_newer=True)
            ),
            None,
        )
        self._renewed_by_401 = (token.generation, self._monotonic())
        return token

    def redeem_uncertain(self) -> AccessToken:
        """Sends an uncertain refresh token once more; call it only when a person agreed.

        If the provider saw the first attempt, it may take this one for theft and end the session.

        Raises:
            See `access_token`.
        """
        self._obtainer.look()
        record = self._known.record
        if record is None or self.state is not State.UNCERTAIN:
            return self.access_token()
        wanted = Wanted(record.session_id, record.generation, 0.0, True, must_be_newer=True)
        return _wait(self._obtainer.join(wanted), None)

    def logout(self) -> LogoutReport:
        """Signs out: over here when this returns, whatever the network and the store do.

        Appends the log's last word, cancels tracked work, erases the record and registered caches,
        then tells the provider, each bounded in time.
        """
        epoch, remembered, unsaved = self._known.begin_anew()
        hold = None
        if unsaved is not None:
            # The last word comes first even here: a redemption on the wire must find it.
            end_quietly(self._kept)
            hold = unsaved.let_go(timeout=self.provider.timeout)
            remembered = unsaved.record
        client = self._client
        report = sign_out(self._kept, lambda _: client, self._known.work, remembered, hold)
        # Unless somebody has signed in anew by now.
        self._known.drop(State.SIGNED_OUT, "signed out", epoch=epoch)
        return report

    def logout_url(self, post_logout_redirect_uri: str | None = None, state: str = "") -> str:
        """The provider's own logout page for this session's person; call it before `logout`.

        A stored session of another issuer or client is no hint for this provider's page.

        Raises:
            LoginRequired: there is no session.
            ProviderRefused: the provider has no such page.
        """
        record = self._known.record or self._kept.load()
        if record is None:
            raise LoginRequired(reason="absent")
        cached = Metadata.from_json(record.metadata) if record.metadata else None
        metadata = self._client.metadata(cached)
        is_ours = record.is_of(self.provider.issuer, self.provider.client_id)
        return self._client.logout_url(
            metadata,
            record.id_token if is_ours else None,
            post_logout_redirect_uri,
            state or None,
        )

    def track(self, cancel: Callable[[], object]) -> Callable[[], None]:
        """Registers authorised work that a sign-out cancels; call what is returned when done."""
        return self._known.work.track(cancel)

    def register_cache(self, clear: Callable[[], object]) -> Callable[[], None]:
        """Registers a cache of the account's data that a sign-out clears."""
        return self._known.work.register_cache(clear)

    def live_tokens(self) -> list[Secret]:
        """The tokens in memory that are good now; for `RedactingFilter.follow`, not for sending."""
        record = self._known.record
        kept = () if record is None else (record.refresh_token, record.id_token)
        return [token for token in (self._known.held, *kept) if token is not None]

    def is_current(self, token: AccessToken) -> bool:
        """Whether the token's session still lives: an answer it brought may be used."""
        if token.session_id != self._known.session_id:
            return False
        if not self._known.watch.changed(self._monotonic()):
            return True
        return self._kept.log.read().session_id == token.session_id

    def close(self) -> None:
        """Tries once more to save an unsaved session; lets go of the network and of waiting."""
        self._unlock_retry.stop()
        unsaved = self._known.unsaved
        if unsaved is not None:
            unsaved.save()
        self._client.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Session {self.provider.issuer!r} {self.state.value}>"

    def _begin(self, confirmed: Confirmed, *, gives_back: bool = False) -> State:
        known = self._known
        record = confirmed.record(
            self.account, shares=self._shares, keeps_id_token=self._keeps_id_token
        )
        try:
            got = self._saved(confirmed, record)
        except (StoreError, RefreshUnavailable) as exc:
            if gives_back:  # nobody else has them
                exc.add_note(revoke_late(self._kept, self._client, record))
            raise
        epoch, before, _ = known.begin_anew()
        if before is not None:
            known.work.cancel_all()
            known.work.clear_caches()
        self._renewed_by_401 = (0, 0.0)
        self._obtainer.reset_pause()
        mark = known.watch.mark()
        self._obtainer.take(got, epoch, "signed in")
        try:
            lives = self._kept.log.read().session_id == record.session_id
        except StoreError:
            return self.state  # the mark is not accepted: the next call looks
        if lives:
            known.watch.accept(mark)
        else:
            self._obtainer.look()  # somebody signed out or in meanwhile
        return self.state

    def _saved(self, confirmed: Confirmed, record: Record) -> Got:
        """Saves a login under the fence, which an unsaved session may have already."""

        def begin(hold: Hold) -> Got:
            return save(self._kept, self._client, confirmed, record, hold)

        unsaved = self._known.unsaved
        got = None if unsaved is None else unsaved.replaced(begin, self._timeout)
        if got is not None:
            return got
        hold = self._kept.hold("login")
        try:
            return begin(hold)
        except BaseException:
            hold.release()
            raise

    def _is_fresh_from_401(self, rejected: AccessToken) -> bool:
        generation, at = self._renewed_by_401
        return generation == rejected.generation and self._monotonic() - at < _REJECTED_AT_ONCE

    def _share_if_killed(self, rejected: AccessToken) -> bool:
        """Whether a peer's rotation, not its age, has ended this token; starts sharing then."""
        if self._monotonic() >= rejected.expires:
            return False
        record = self._kept.load()
        if record is None or record.generation <= rejected.generation:
            return False
        if not self._obtainer.shares:
            self._obtainer.shares = self._shares = True
            self._known.tell(
                "the provider ends access tokens at rotation: they are shared between processes now"
            )
        return True

    def _start_anew(self, before: Known | None) -> None:
        self._known = Known(self._kept, self.provider)
        if before is not None:
            self._known.inherit(before)
        redeemer = Redeemer(self._kept, self._client)
        self._obtainer = Obtainer(
            self._kept, self._known, redeemer, shares=self._shares, timeout=self._timeout
        )
        self._unlock_retry = UnlockRetry(
            self._known, self.tokens.storage, self._obtainer.look, _is_alive(self)
        )
        self._renewed_by_401 = (0, 0.0)

    def _after_fork_in_child(self) -> None:
        self._client = Client(self.provider, self._transport, self.tokens.storage.clock)
        self._start_anew(self._known)


def _is_alive(session: Session) -> Callable[[], bool]:
    """Whether a session is still somebody's, without keeping it."""
    seen = weakref.ref(session)
    return lambda: seen() is not None


# Sessions that a forked child has to start anew: memory-only tokens and work in flight are the
# parent's. Holds nothing alive and is consulted by nothing else.
_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _start_anew_in_child() -> None:
    for session in list(_sessions):
        session._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)


def _wait(future: Future[AccessToken], timeout: float | None) -> AccessToken:
    # Whatever a flight raises is raised here as a copy: its callers share the one exception.
    try:
        error = future.exception(None if timeout is None else min(timeout, TIMEOUT_MAX))
    except FutureTimeout:
        error = RefreshUnavailable("still refreshing; it goes on in the background")
    if error is None:
        return future.result()
    raise raised_again(error)
