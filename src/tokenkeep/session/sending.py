"""Sending a refresh token: the request, what its outcome means, and the write that follows.

Everything here runs inside the fence, after the intent was noted. The log is looked at before the
wire, before the write and after it. Before the wire a log that cannot be read stops everything;
after it, it must not cost the rotated token.
"""

from __future__ import annotations

from dataclasses import replace

from tokenkeep.errors import (
    LoginRequired,
    ProtocolViolation,
    ProviderRefused,
    RefreshUnavailable,
    SessionError,
    StoreError,
    WriteConflict,
)
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.dpop import DpopKey
from tokenkeep.oauth.outcome import (
    Answered,
    Misconfigured,
    Outcome,
    Refused,
    TryLater,
    Unanswered,
)
from tokenkeep.oauth.remedies import for_refusal
from tokenkeep.session import grant
from tokenkeep.session.redemption import Ended, Got, Sending, uncertain
from tokenkeep.session.revocation import revoke_late
from tokenkeep.tokens.kept import KeptRecord
from tokenkeep.tokens.record import Intent, Moment, Pause, Record

#: Inside a replay window the same token may be sent again at once, this often in one flight.
_REPLAYS = 2
#: Rate limits without a Retry-After.
_COOL_DOWN_SECONDS = 5.0


class Sender:
    """Sends refresh tokens of one session and keeps what comes back."""

    def __init__(self, tokens: KeptRecord, client: Client) -> None:
        self._tokens = tokens
        self._client = client
        # Notes that are known to be void though they could not be taken back. A later note of the
        # same token is another one: that token may have been sent.
        self._known_unsent: set[tuple[str, str, str]] = set()

    def is_known_unsent(self, intent: Intent) -> bool:
        """Whether a note that could not be taken back is known to be void."""
        return _key(intent) in self._known_unsent

    def send(self, sending: Sending) -> Got:
        """Redeems and saves.

        Raises:
            See `Redeemer.redeem`.
        """
        record = sending.record
        assert record.refresh_token is not None
        is_replay = sending.is_replay
        for attempt in range(_REPLAYS + 1):
            if is_replay:
                # Perhaps nobody saw it where it was sent: it goes where the endpoint is now.
                left = sending.deadline - self._now().monotonic
                metadata = self._client.metadata(sending.metadata, left, anew=True)
                sending = replace(sending, metadata=metadata)
            try:
                self._check_lives(record)
            except StoreError:
                if attempt:
                    break  # the one before was sent: what is known of that one counts
                self._stand_back(sending, 0.0, is_replay=is_replay)
                raise
            before = self._now()
            outcome = self._client.refresh(
                sending.metadata,
                record.refresh_token,
                # No scope: that asks for what was granted (RFC 6749, section 6), and some providers
                # refuse a refresh that names any, even the one they granted.
                None,
                max(0.1, min(self._client.provider.timeout, sending.deadline - before.monotonic)),
                None if record.dpop_key is None else DpopKey(record.dpop_key),
            )
            if not isinstance(outcome, Unanswered) or not self._may_send_again(sending, attempt):
                break
            is_replay = True
        if isinstance(outcome, Answered):
            return self._keep(sending, outcome, before)
        if self._tokens.has_ended(record.session_id):
            raise Ended(self.bury())  # whoever signed out meanwhile may have left the erasing to us
        raise self._failure(sending, outcome, is_replay=is_replay)

    def _may_send_again(self, sending: Sending, attempt: int) -> bool:
        intent, now = sending.noted.intent, self._now()
        window = self._client.provider.replay_window
        return (
            attempt < _REPLAYS
            and intent is not None
            and grant.may_replay(intent, now, window)
            and now.monotonic + 1.0 < sending.deadline
        )

    def _keep(self, sending: Sending, answer: Answered, before: Moment) -> Got:
        record, token = sending.record, answer.response.access_token
        fresh = self._renewed(sending, answer, before)
        self._check_not_late(fresh)
        if sending.unsaved is not None:
            sending.unsaved.put(fresh)
            return Got(fresh, token)  # the unsaved session keeps the fence, or has let it go
        got = Got(fresh, token)
        try:
            self._tokens.replace(sending.noted, fresh)
        except WriteConflict:
            # Nobody else may write while we hold the fence, except who erased everything.
            self._check_not_late(fresh)
            if not self.is_gone(record):
                raise
            raise Ended(self._dispose(fresh)) from None
        except StoreError as exc:
            got = Got(fresh, token, sending.hold, f"{exc.code}: {exc}")
        self._check_not_late(fresh)
        return got

    def _renewed(self, sending: Sending, answer: Answered, before: Moment) -> Record:
        problem = self._wrong_identity(sending.record, answer)
        if not problem:
            try:
                fresh = grant.renewed(
                    sending.record,
                    answer.response,
                    before,
                    shares=sending.shares,
                )
            except ProtocolViolation as exc:
                problem = str(exc)
            else:
                fresh.metadata = sending.metadata.to_json()
                return fresh
        raise uncertain(problem)

    def _check_not_late(self, fresh: Record) -> None:
        if self._tokens.has_ended(fresh.session_id):
            raise Ended(self._dispose(fresh))

    def _failure(
        self, sending: Sending, outcome: Outcome, *, is_replay: bool
    ) -> SessionError | Ended:
        reason = "" if isinstance(outcome, Answered) else outcome.reason
        if isinstance(outcome, Unanswered):
            return uncertain(reason)
        if isinstance(outcome, Refused):
            return self._refused(sending, is_replay=is_replay)
        pause = 0.0
        if isinstance(outcome, TryLater):
            pause = _COOL_DOWN_SECONDS if outcome.retry_after is None else outcome.retry_after
        self._stand_back(sending, pause, is_replay=is_replay)
        if isinstance(outcome, Misconfigured):
            return ProviderRefused(
                f"the provider refuses this client: {outcome.error}",
                error=outcome.error,
                hint=for_refusal(outcome.error),
            )
        return RefreshUnavailable(reason, retry_after=pause or None)

    def _refused(self, sending: Sending, *, is_replay: bool) -> SessionError | Ended:
        record = sending.record
        if sending.unsaved is None:
            found = self._tokens.load()
            if found is None or found.generation > record.generation:
                return Ended()  # somebody on another host redeemed first: theirs will do
        reason = grant.refusal_reason(record, self._now(), was_replay=is_replay)
        self._tokens.log.end(reason, self._now().wall)
        self.erase_dead()
        return LoginRequired(reason=reason, hint="tokenkeep login")

    def _stand_back(self, sending: Sending, pause: float, *, is_replay: bool) -> None:
        """Takes back the note: this attempt spent nothing. A pause is kept for every process."""
        # An attempt that was not judged proves nothing about the one before it: a replay's note
        # stays. (A refusal of the client or a rate limit answers before the token is looked at.)
        if is_replay and not pause:
            return
        now = self._now()
        back = sending.record.changed(
            intent=sending.noted.intent if is_replay else None,
            pause=Pause(pause, now) if pause else sending.record.pause,
        )
        if sending.unsaved is not None:
            sending.unsaved.put(back)
            return
        try:
            self._tokens.replace(sending.noted, back)
        except StoreError:
            # The note stays; this process at least knows that it is void.
            if sending.noted.intent is not None and not is_replay:
                self._known_unsent.add(_key(sending.noted.intent))

    def _wrong_identity(self, record: Record, answer: Answered) -> str:
        """What is wrong with a refreshed ID token, if there is one (Core, section 12.2)."""
        token = answer.response.id_token
        if token is None:
            return ""
        try:
            self._client.check_refreshed_id_token(token, subject=record.subject or None)
        except ProtocolViolation as exc:
            return str(exc)
        return ""

    def _dispose(self, late: Record) -> str:
        self.erase_dead()
        return revoke_late(self._tokens, self._client, late)

    def bury(self) -> str:
        """Erases a dead record; who does so revokes it, as whoever ended it may come too late."""
        try:
            found, live = self._tokens.stored(), self._tokens.log.read().session_id
        except StoreError:
            return ""
        if found is None or found.session_id == live:
            return ""
        self.erase_dead()
        return revoke_late(self._tokens, self._client, found)

    def erase_dead(self) -> None:
        """Erases an ended record if the store lets it be."""
        try:
            self._tokens.erase_dead()
        except StoreError:
            # Dead by the log's word already; the next login, restore or sign-out erases it.
            return

    def is_gone(self, record: Record) -> bool:
        """Whether the session's record is not there any more."""
        found = self._tokens.stored()
        return found is None or found.session_id != record.session_id

    def _check_lives(self, record: Record) -> None:
        if self._tokens.log.read().session_id != record.session_id:
            raise Ended(self.bury())

    def _now(self) -> Moment:
        return self._tokens.now()


def _key(intent: Intent) -> tuple[str, str, str]:
    """Tells notes apart, in memory and as they come back from the store with milliseconds."""
    return intent.digest, intent.at.boot, f"{intent.at.wall:.3f}"
