"""What this process knows of a session: its state, its record, the access token in memory.

Knowledge is replaced as a whole under one lock and read without it. An epoch counts how often what
was known became void (a sign-out, a login, an end that was noticed) or was kept from the store, so
that whatever was on its way when that happened is not taken.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from tokenkeep.errors import LoginRequired, StoreLocked, UnsupportedOption
from tokenkeep.oauth.dpop import DpopKey
from tokenkeep.oauth.provider import Provider
from tokenkeep.secret import Secret
from tokenkeep.session import grant
from tokenkeep.session.logwatch import Watch
from tokenkeep.session.state import AccessToken, Change, State
from tokenkeep.session.unsaved import Unsaved
from tokenkeep.session.work import Work
from tokenkeep.sessionlog import LogState
from tokenkeep.tokens.kept import KeptRecord
from tokenkeep.tokens.record import Record

#: The log's last words that say the provider or the key ended a session, not a person.
FINAL_REASONS = ("expired", "revoked", "reused", "invalidated")


class Known:
    """One process's knowledge of one account's session."""

    def __init__(self, tokens: KeptRecord, provider: Provider) -> None:
        self.lock = threading.RLock()
        self.watch = Watch(tokens.log, tokens.storage.clock)
        self.work = Work()
        self.state = State.SIGNED_OUT
        self.record: Record | None = None
        self.held: AccessToken | None = None
        self.unsaved: Unsaved | None = None
        self.epoch = 0
        self._tokens = tokens
        self._provider = provider
        self._end_reason = "absent"
        self._listeners: list[Callable[[Change], object]] = []
        #: Called whenever the session is locked and somebody listens; see `UnlockRetry`.
        self.when_locked: Callable[[], None] = lambda: None
        # One draw for each process: it spreads the renewals of processes that started together.
        self._jitter = random.random()  # noqa: S311 - not a secret

    @property
    def session_id(self) -> str:
        """The session's id; "" if signed out, or not restored yet."""
        record = self.record
        return "" if record is None else record.session_id

    @property
    def has_listeners(self) -> bool:
        """Whether anybody is told of changes."""
        return bool(self._listeners)

    def listen(self, listener: Callable[[Change], object]) -> Callable[[], None]:
        """Calls `listener` at every change; returns what stops it."""
        self._listeners.append(listener)
        if self.state is State.LOCKED:
            self.when_locked()

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def inherit(self, other: Known) -> None:
        """Takes over what a forked child shares with its parent: listeners and caches."""
        self._listeners = other._listeners
        self.work = other.work.in_child()

    def checked(self, record: Record) -> None:
        """Holds a stored record against the provider.

        Raises:
            UnsupportedOption: the record belongs to another issuer or client, or its tokens are not
                bound as the provider is to bind them.
        """
        if not record.is_of(self._provider.issuer, self._provider.client_id):
            raise UnsupportedOption(
                "the stored session belongs to another issuer or client",
                hint="use another account, or sign out with that issuer and client first",
            )
        has_tokens = record.refresh_token is not None or record.access_token is not None
        if self._provider.dpop and has_tokens and record.dpop_key is None:
            raise UnsupportedOption(
                "the stored session's tokens are not bound by DPoP", hint="sign in again"
            )

    def settle(
        self, record: Record | None, log: LogState, epoch: int, *, is_uncertain: bool
    ) -> bool:
        """Takes what the log and the store say; False if it is void since `epoch`."""
        if record is None:
            final = log.end_reason in FINAL_REASONS
            reason = log.end_reason if final else None
            state = State.LOGIN_REQUIRED if final else State.SIGNED_OUT
            clause = f"the session is over: {reason}" if final else "no session is stored"
            return self.drop(state, clause, end_reason=reason, epoch=epoch)
        with self.lock:
            if epoch != self.epoch:
                return False
            if self.session_id not in ("", record.session_id):
                self._void()
            if self.record is None or self.record.generation < record.generation:
                self.record = record
            state = State.UNCERTAIN if is_uncertain else State.ACTIVE
            previous, self.state = self.state, state
        self._tell_if_changed(
            previous, state, "a redemption was interrupted" if is_uncertain else "restored"
        )
        return True

    def take(
        self,
        record: Record,
        access_token: Secret,
        epoch: int,
        reason: str,
        *,
        asked: float = 0.0,
        unsaved: Unsaved | None = None,
    ) -> AccessToken | None:
        """Takes a fresh access token; None if what it belongs to became void meanwhile.

        Args:
            asked: the `min_ttl` it was refreshed for, if the provider grants less.
            unsaved: what waits to be saved with it, from now on.
        """
        now = self._tokens.now()
        lifetime = record.lifetime or 0.0
        margins = grant.margins(lifetime, self._jitter)
        expires = now.monotonic + record.remaining(now)
        token = AccessToken(
            access_token,
            session_id=record.session_id,
            generation=record.generation,
            expires=expires,
            # Without a refresh token there is nothing to renew it with.
            renew=float("inf") if record.refresh_token is None else expires - margins.advisory,
            unusable=expires - margins.mandatory,
            asked=asked,
            halfway=expires - lifetime / 2,
            dpop_key=None if record.dpop_key is None else DpopKey(record.dpop_key),
        )
        with self.lock:
            if self.epoch != epoch:
                return None
            self.record, self.held = record, token
            if unsaved is not None:
                self.unsaved = unsaved
                self.epoch += 1  # a look that has been to the store already has not seen it there
            state = State.ACTIVE if self.unsaved is None else State.MEMORY_ONLY
            previous, self.state = self.state, state
        self._tell_if_changed(previous, state, reason)
        return token

    def drop_unless(self, session_id: str | None, epoch: int) -> int:
        """Forgets everything unless the session is the one that lives by the log's word.

        Returns the epoch to go on with.
        """
        with self.lock:
            if epoch != self.epoch or self.session_id in ("", session_id):
                return epoch
            self._end_reason = "ended elsewhere"
            self._void()
            epoch = self.epoch
        self._clear_work()
        return epoch

    def drop(
        self, state: State, reason: str, *, end_reason: str | None = None, epoch: int | None = None
    ) -> bool:
        """There is no session any more; False if something else happened since `epoch`.

        Args:
            end_reason: for `LoginRequired`; None keeps the one that is known.
        """
        with self.lock:
            if epoch is not None and epoch != self.epoch:
                return False
            had_session = self.record is not None or self.held is not None
            if had_session:
                self._void()
            if end_reason is not None:
                self._end_reason = end_reason
            previous, self.state = self.state, state
        if had_session:
            self._clear_work()
        self._tell_if_changed(previous, state, reason)
        return True

    def begin_anew(self) -> tuple[int, Record | None, Unsaved | None]:
        """Voids everything for a sign-out or a login: the epoch, and what there was."""
        with self.lock:
            record, unsaved = self.record, self.unsaved
            self._void()
            self.unsaved = None
            self._end_reason = "absent"
            return self.epoch, record, unsaved

    def change(self, state: State, reason: str, epoch: int | None = None) -> None:
        """Sets the state, unless what it was found from is void; listeners are told of a change."""
        with self.lock:
            if epoch is not None and epoch != self.epoch:
                return
            previous, self.state = self.state, state
        self._tell_if_changed(previous, state, reason)
        if state is State.LOCKED:
            self.when_locked()

    def tell(self, reason: str) -> None:
        """Tells the listeners something that is no change of state."""
        self._tell(Change(self.state, self.state, reason))

    def over(self, unsaved: Unsaved) -> bool:
        """Forgets an unsaved session that is over; False if another one is known by now."""
        with self.lock:
            if self.unsaved is not unsaved:
                return False
            self.unsaved = None
            return True

    def refusal(self) -> LoginRequired | StoreLocked:
        """The error for a caller while there is no session to get a token from."""
        if self.state is State.LOCKED:
            return StoreLocked("the store is locked: unlock it, then retry")
        return LoginRequired(reason=self._end_reason, hint="tokenkeep login")

    def _void(self) -> None:
        self.epoch += 1
        self.record = None
        self.held = None

    def _clear_work(self) -> None:
        self.work.cancel_all()
        self.work.clear_caches()

    def _tell_if_changed(self, previous: State, state: State, reason: str) -> None:
        if previous is not state:
            self._tell(Change(state, previous, reason))

    def _tell(self, change: Change) -> None:
        for listener in list(self._listeners):
            try:
                listener(change)
            except Exception:  # noqa: S112 - the application's own code must not end a session
                continue
