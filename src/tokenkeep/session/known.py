"""What this process knows of a session: its state, its record, the access token in memory.

Knowledge is replaced as a whole under one lock and read without it. An epoch counts sign-outs and
logins of this process, so that an answer which was on its way when one happened is not taken.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from tokenkeep.errors import LoginRequired, StoreLocked, UnsupportedOption
from tokenkeep.oauth.provider import Provider
from tokenkeep.secret import Secret
from tokenkeep.session import grant
from tokenkeep.session.state import AccessToken, Change, State
from tokenkeep.session.unsaved import Unsaved
from tokenkeep.session.work import Work
from tokenkeep.sessionlog import LogState
from tokenkeep.tokens.record import Record
from tokenkeep.tokens.storage import TokenStorage

#: The log's last words that say the provider or the key ended a session, not a person.
FINAL_REASONS = ("expired", "revoked", "reused", "invalidated")


class Known:
    """One process's knowledge of one account's session."""

    def __init__(self, tokens: TokenStorage, provider: Provider) -> None:
        self.lock = threading.RLock()
        self.watch = tokens.log.watch(tokens.storage.clock)
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
        # One draw for each process: it spreads the renewals of processes that started together.
        self._jitter = random.random()  # noqa: S311 - not a secret

    @property
    def session_id(self) -> str:
        """The session's id; "" if signed out, or not restored yet."""
        record = self.record
        return "" if record is None else record.session_id

    def listen(self, listener: Callable[[Change], object]) -> Callable[[], None]:
        """Calls `listener` at every change; returns what stops it."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def adopt_listeners(self, other: Known) -> None:
        """Takes over the listeners of what was known before a fork."""
        self._listeners = other._listeners

    def settle(self, record: Record | None, log: LogState, *, is_uncertain: bool) -> None:
        """Takes what the log and the store say.

        Raises:
            UnsupportedOption: the record belongs to another issuer or client.
        """
        if record is not None and record.issuer:
            theirs = (record.issuer, record.client_id)
            if theirs != (self._provider.issuer, self._provider.client_id):
                raise UnsupportedOption(
                    "the stored session belongs to another issuer or client",
                    hint="use another account, or sign out first",
                )
        if record is None:
            final = log.end_reason in FINAL_REASONS
            if final:
                self._end_reason = log.end_reason or ""
            self.forget()
            if final:
                self.change(State.LOGIN_REQUIRED, f"the session is over: {log.end_reason}")
            else:
                self.change(State.SIGNED_OUT, "no session is stored")
            return
        with self.lock:
            if self.session_id not in ("", record.session_id):
                self.forget()
            known = self.record
            if known is None or known.generation < record.generation:
                self.record = record
        if is_uncertain:
            self.change(State.UNCERTAIN, "a redemption was interrupted")
        else:
            self.change(State.ACTIVE, "restored")

    def take(
        self, record: Record, access_token: Secret, epoch: int, asked: float = 0.0
    ) -> AccessToken | None:
        """Takes a fresh access token; None if a sign-out or a login came first."""
        now = self._tokens.now()
        left = record.remaining(now)
        margins = grant.margins(record.lifetime or 0.0, self._jitter)
        expires = now.monotonic + left
        token = AccessToken(
            access_token,
            session_id=record.session_id,
            generation=record.generation,
            expires=expires,
            renew=expires - margins.advisory,
            unusable=expires - margins.mandatory,
            asked=asked,
            halfway=expires - (record.lifetime or 0.0) / 2,
        )
        with self.lock:
            if self.epoch != epoch:
                return None
            self.record = record
            self.held = token
        return token

    def drop_unless(self, session_id: str | None) -> None:
        """Forgets everything unless the session is the one that lives by the log's word."""
        if self.session_id not in ("", session_id):
            self._end_reason = "ended elsewhere"
            self.forget()

    def forget(self) -> None:
        """Drops everything of the session and cancels its authorised work."""
        with self.lock:
            had_session = self.record is not None or self.held is not None
            self.record = None
            self.held = None
        if had_session:
            self.work.cancel_all()
            self.work.clear_caches()

    def change(self, state: State, reason: str) -> None:
        """Sets the state; listeners are told if it changed."""
        previous, self.state = self.state, state
        if previous is not state:
            self.tell(reason, previous)

    def tell(self, reason: str, previous: State | None = None) -> None:
        """Tells the listeners; one that raises does not stop the others or the session."""
        change = Change(self.state, previous or self.state, reason)
        for listener in list(self._listeners):
            try:
                listener(change)
            except Exception:  # noqa: S112 - the application's own code must not end a session
                continue

    def signed_out(self) -> None:
        """This process signed out."""
        self._end_reason = "absent"
        self.change(State.SIGNED_OUT, "signed out")

    def refusal(self) -> LoginRequired | StoreLocked:
        """The error for a caller while there is no session to get a token from."""
        if self.state is State.LOCKED:
            return StoreLocked("the store is locked: unlock it, then retry")
        return LoginRequired(reason=self._end_reason, hint="tokenkeep login")

    def ended(self, reason: str, state: State = State.LOGIN_REQUIRED) -> None:
        """The session is over, for a reason of the vocabulary of `LoginRequired`."""
        self._end_reason = reason
        self.forget()
        self.change(state, f"the session is over: {reason}")
