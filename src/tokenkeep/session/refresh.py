"""The redemption: read, decide, note the intent, redeem, write, all under the account's fence.

The order is the promise. The intent is durable before the refresh token is on the wire; the answer
and the cleared intent are one write; the log is looked at before the wire, before the write and
after it. A kill between any two steps leaves a record that says what is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenkeep.errors import (
    LoginRequired,
    ProtocolViolation,
    ProviderRefused,
    RefreshUnavailable,
    SessionError,
    SessionUncertain,
    StoreError,
    WriteConflict,
)
from tokenkeep.fence import Hold
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.outcome import (
    Answered,
    Misconfigured,
    Outcome,
    Refused,
    TryLater,
    Unanswered,
)
from tokenkeep.secret import Secret
from tokenkeep.session import grant
from tokenkeep.session.revocation import revoke, revoke_late
from tokenkeep.session.shared import has_fresh_token
from tokenkeep.session.unsaved import Unsaved
from tokenkeep.tokens.record import Moment, Pause, Record
from tokenkeep.tokens.storage import TokenStorage

#: What is left of a flight's time for the request and the write once the fence is had.
_REQUEST_SHARE = 0.5
#: Inside a replay window the same token may be sent again at once, this often in one flight.
_REPLAYS = 2
#: How long a waiter bears with a holder that keeps an unsaved session: it may take for ever.
_UNSAVED_PATIENCE = 1.0
#: Rate limits without a Retry-After.
_COOL_DOWN_SECONDS = 5.0

UNSAVED = "unsaved session"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller needs.

    Attributes:
        session_id: the session it belongs to.
        newer_than: the generation whose token it cannot use any more.
        min_ttl: seconds the token must still be good for.
        confirmed: whether a person confirmed that an uncertain token may be sent once more.
        must_be_newer: whether a token of generation `newer_than` will not do however fresh it is:
            it was rejected, or is to be renewed ahead of time.
    """

    session_id: str
    newer_than: int
    min_ttl: float
    confirmed: bool = False
    must_be_newer: bool = False

    def covers(self, other: Wanted) -> bool:
        """See `Wish.covers`."""
        return (
            self.session_id == other.session_id
            and self.newer_than >= other.newer_than
            and self.min_ttl >= other.min_ttl
            and self.confirmed >= other.confirmed
            and self.must_be_newer >= other.must_be_newer
        )

    def merged(self, other: Wanted) -> Wanted:
        """See `Wish.merged`; of two sessions the one asked for last counts."""
        is_same = self.session_id == other.session_id
        return Wanted(
            other.session_id,
            max(self.newer_than, other.newer_than) if is_same else other.newer_than,
            max(self.min_ttl, other.min_ttl),
            self.confirmed or other.confirmed,
            self.must_be_newer or other.must_be_newer,
        )


@dataclass(frozen=True, slots=True)
class Got:
    """What came of it: the record, its access token, and the fence if it could not be saved."""

    record: Record
    access_token: Secret
    unsaved: Hold | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Sending:
    """One redemption on its way: what is held, what was read, what was noted.

    Attributes:
        noted: the record as it lies in the store now, or in memory if it is unsaved.
        is_replay: whether the token may have been sent before.
        unsaved: the session in memory only that it is for; None if the store has it.
    """

    hold: Hold
    record: Record
    noted: Record
    metadata: Metadata
    shares: bool
    deadline: float
    is_replay: bool
    unsaved: Unsaved | None


class Ended(Exception):
    """The log ended the session meanwhile: a turn of events that never leaves this package.

    `report` says what became of a token that came late.
    """

    def __init__(self, report: str = "") -> None:
        super().__init__("the session was ended")
        self.report = report


class Redeemer:
    """Redeems one session's refresh token, for the flight of one process at a time."""

    def __init__(self, tokens: TokenStorage, client: Client) -> None:
        self.client = client
        self._tokens = tokens
        # Digests of tokens whose intent is known to be void though it could not be cleared.
        self._known_unsent: set[str] = set()

    @property
    def replay_window(self) -> float:
        """Seconds during which the provider takes the same refresh token again."""
        return self.client.provider.replay_window

    def shared(self, wanted: Wanted) -> Got | None:
        """The token that another process shared, if it serves the caller. Needs no fence.

        Raises:
            StoreError: the store cannot tell.
        """
        record = self._tokens.load()
        return None if record is None else self._shared_in(record, wanted)

    def redeem(self, wanted: Wanted, shares: bool, deadline: float) -> Got:
        """A fresh access token, by the one redemption that is allowed at a time.

        Args:
            deadline: a monotonic reading; half of the time to it may go into waiting.

        Raises:
            Ended: the log ended the session, or another one lives now.
            LoginRequired: no refresh token, or a confirmed refusal; the record is erased.
            RefreshUnavailable: for now; nothing was spent.
            SessionUncertain: sent without a usable answer, now or earlier; the intent stays.
            ProviderRefused: the client or the request is at fault; nothing was spent.
            StoreError: the store failed before anything was sent.
        """
        patience = (deadline - self._now().monotonic) * (1 - _REQUEST_SHARE)
        hold = self._enter(wanted, max(0.0, patience))
        if isinstance(hold, Got):
            return hold
        got: Got | None = None
        try:
            record = self._live(wanted.session_id)
            got = self._shared_in(record, wanted)
            if got is None:
                got = self._decide(hold, record, wanted, shares, deadline, None)
            return got
        finally:
            if got is None or got.unsaved is None:
                hold.release()

    def redeem_unsaved(
        self, unsaved: Unsaved, hold: Hold, wanted: Wanted, shares: bool, deadline: float
    ) -> Got:
        """Redeems for a session that is in memory only and keeps the fence already.

        The intent is noted in memory: the one on disk, or the missing record there, already says
        that what the disk has must not be sent again.

        Raises:
            See `redeem`.
        """
        return self._decide(hold, unsaved.record, wanted, shares, deadline, unsaved)

    def _enter(self, wanted: Wanted, patience: float) -> Hold | Got:
        found: list[Got] = []
        started = self._now().monotonic

        def is_settled_by_a_peer() -> bool:
            # Looked at between two tries for the fence: the winner's success ends the wait.
            try:
                if self._tokens.log.read().session_id != wanted.session_id:
                    raise Ended
                got = self.shared(wanted)
            except StoreError:
                return False
            if got is not None:
                found.append(got)
                return True
            waited = self._now().monotonic - started
            return waited > _UNSAVED_PATIENCE and UNSAVED in (self._tokens.fence.holder() or "")

        hold = self._tokens.fence.acquire("refresh", patience, is_settled_by_a_peer)
        if hold is not None:
            return hold
        got = found[0] if found else self.shared(wanted)
        if got is not None:
            return got
        holder = self._tokens.fence.holder()
        raise RefreshUnavailable(
            f"another process has the session: {holder or 'it let go just now'}",
            holder=holder,
            retry_after=1.0,
        )

    def _decide(
        self,
        hold: Hold,
        record: Record,
        wanted: Wanted,
        shares: bool,
        deadline: float,
        unsaved: Unsaved | None,
    ) -> Got:
        now = self._now()
        if record.refresh_token is None:
            return self._without_refresh_token(record, wanted, now, hold if unsaved else None)
        wait = 0.0 if record.pause is None else record.pause.left(now)
        if wait > 0 and not wanted.confirmed:
            raise RefreshUnavailable("the provider asked for a pause", retry_after=round(wait, 3))
        intent = grant.pending_intent(record)
        if intent is not None and intent.digest in self._known_unsent:
            intent = None
        is_safe = intent is None or grant.may_replay(intent, now, self.replay_window)
        if not is_safe and not wanted.confirmed:
            raise _uncertain("an earlier redemption was interrupted after it may have been sent")
        metadata = self._metadata(record, deadline)
        noted = record
        if intent is None:
            noted = record.changed(intent=grant.intent_for(record, self._now()))
            if unsaved is None:
                self._replace_live(record, noted)
            else:
                unsaved.put(noted)
        shares = shares or record.shares
        return self._send(
            Sending(hold, record, noted, metadata, shares, deadline, intent is not None, unsaved)
        )

    def _without_refresh_token(
        self, record: Record, wanted: Wanted, now: Moment, hold: Hold | None
    ) -> Got:
        """The access token of the login for as long as it lasts; then the session is over."""
        if record.access_token is not None and record.remaining(now) > 0:
            if not wanted.must_be_newer:
                return Got(record, record.access_token, hold)
            raise RefreshUnavailable("the provider gave no refresh token")
        self._tokens.log.end("expired", now.wall)
        self._erase_dead()
        raise LoginRequired(reason="expired", hint="tokenkeep login")

    def _send(self, sending: Sending) -> Got:
        record = sending.record
        assert record.refresh_token is not None
        is_replay = sending.is_replay
        for attempt in range(_REPLAYS + 1):
            self._check_lives(record)
            before = self._now()
            outcome = self.client.refresh(
                sending.metadata,
                record.refresh_token,
                record.scope or None,
                max(0.1, min(self.client.provider.timeout, sending.deadline - before.monotonic)),
            )
            if not isinstance(outcome, Unanswered) or not self._may_send_again(sending, attempt):
                break
            is_replay = True
        if isinstance(outcome, Answered):
            return self._keep(sending, outcome, before)
        self._check_lives(record)  # a sign-out meanwhile may have left the erasing to us
        raise self._failure(sending, outcome, is_replay=is_replay)

    def _may_send_again(self, sending: Sending, attempt: int) -> bool:
        intent, now = sending.noted.intent, self._now()
        window = self.replay_window
        return (
            attempt < _REPLAYS
            and intent is not None
            and grant.may_replay(intent, now, window)
            and now.monotonic + 1.0 < sending.deadline
        )

    def _keep(self, sending: Sending, answer: Answered, before: Moment) -> Got:
        record, token = sending.record, answer.response.access_token
        fresh = self._renewed(sending, answer, before)
        self._check_not_late(sending, fresh)
        if sending.unsaved is not None:
            sending.unsaved.put(fresh)
            return Got(fresh, token, sending.hold)
        got = Got(fresh, token)
        try:
            self._tokens.replace(sending.noted, fresh)
        except WriteConflict:
            # Nobody else may write while we hold the fence, except who erased everything.
            self._check_not_late(sending, fresh)
            if not self._is_gone(record):
                raise
            raise Ended(self._dispose(sending.metadata, fresh)) from None
        except StoreError as exc:
            got = Got(fresh, token, sending.hold, f"{exc.code}: {exc}")
        self._check_not_late(sending, fresh)
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
                    server_time=answer.server_time,
                )
            except ProtocolViolation as exc:
                problem = str(exc)
            else:
                fresh.metadata = fresh.metadata or sending.metadata.to_json()
                return fresh
        raise _uncertain(problem)

    def _check_not_late(self, sending: Sending, fresh: Record) -> None:
        if self._tokens.log.read().session_id != fresh.session_id:
            raise Ended(self._dispose(sending.metadata, fresh))

    def _failure(
        self, sending: Sending, outcome: Outcome, *, is_replay: bool
    ) -> SessionError | Ended:
        reason = "" if isinstance(outcome, Answered) else outcome.reason
        if isinstance(outcome, Unanswered):
            return _uncertain(reason)
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
                hint="check the client id, its authentication and the scope",
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
        self._erase_dead()
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
                self._known_unsent.add(sending.noted.intent.digest)

    def _wrong_identity(self, record: Record, answer: Answered) -> str:
        """What is wrong with a refreshed ID token, if there is one (Core, section 12.2)."""
        token = answer.response.id_token
        if token is None:
            return ""
        try:
            self.client.check_refreshed_id_token(token, subject=record.subject or None)
        except ProtocolViolation as exc:
            return str(exc)
        return ""

    def _dispose(self, metadata: Metadata, late: Record) -> str:
        self._erase_dead()
        done, detail = revoke(self._tokens, self.client, metadata, late)
        return f"a late token {'was revoked' if done else 'was dropped'}: {detail}"

    def _bury(self) -> str:
        """Erases a dead record; who does so revokes it, as whoever ended it may come too late."""
        try:
            found, live = self._tokens.stored(), self._tokens.log.read().session_id
        except StoreError:
            return ""
        if found is None or found.session_id == live:
            return ""
        self._erase_dead()
        return revoke_late(self._tokens, self.client, found)

    def _erase_dead(self) -> None:
        try:
            self._tokens.erase_dead()
        except StoreError:
            # Dead by the log's word already; the next login, restore or sign-out erases it.
            return

    def _replace_live(self, record: Record, noted: Record) -> None:
        try:
            self._tokens.replace(record, noted)
        except WriteConflict:
            if self._is_gone(record):
                raise Ended from None
            raise

    def _is_gone(self, record: Record) -> bool:
        found = self._tokens.stored()
        return found is None or found.session_id != record.session_id

    def _live(self, session_id: str) -> Record:
        state = self._tokens.log.read()
        if state.session_id != session_id:
            raise Ended(self._bury())
        record = self._tokens.load(state)
        if record is None:
            raise Ended
        return record

    def _check_lives(self, record: Record) -> None:
        if self._tokens.log.read().session_id != record.session_id:
            raise Ended(self._bury())

    def _shared_in(self, record: Record, wanted: Wanted) -> Got | None:
        if record.session_id != wanted.session_id or record.access_token is None:
            return None
        if record.generation <= wanted.newer_than:
            return None
        if not has_fresh_token(record, self._now(), 0.0):
            return None
        left = record.remaining(self._now())
        # Where the provider grants less than is wanted, half of what it grants must do: another
        # redemption could not bring much more.
        lifetime = record.lifetime or 0.0
        is_enough = left >= wanted.min_ttl or (wanted.min_ttl > lifetime and left > lifetime / 2)
        return Got(record, record.access_token) if is_enough else None

    def _metadata(self, record: Record, deadline: float) -> Metadata:
        cached = Metadata.from_json(record.metadata) if record.metadata else None
        left = max(0.1, deadline - self._now().monotonic)
        return self.client.metadata(cached, min(left, self.client.provider.timeout))

    def _now(self) -> Moment:
        return self._tokens.now()


def _uncertain(reason: str) -> SessionUncertain:
    return SessionUncertain(
        f"the refresh token may be spent: {reason}",
        hint="tokenkeep token --retry-uncertain, or tokenkeep login",
    )
