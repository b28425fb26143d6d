"""The redemption: read, decide, note the intent, send, write, all under the account's fence.

The order is the promise. The intent is durable before the refresh token is on the wire; the answer
and the cleared intent are one write; the log is looked at before the wire, before the write and
after it. A kill between any two steps leaves a record that says what is known.
"""

from __future__ import annotations

from tokenkeep.errors import LoginRequired, RefreshUnavailable, StoreError, WriteConflict
from tokenkeep.fence import Hold
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.session import grant
from tokenkeep.session.redemption import Ended, Got, Sending, Wanted, uncertain
from tokenkeep.session.sending import Sender
from tokenkeep.session.shared import has_fresh_token
from tokenkeep.session.unsaved import Unsaved
from tokenkeep.tokens.kept import KeptRecord
from tokenkeep.tokens.record import Moment, Record

#: What is left of a flight's time for the request and the write once the fence is had.
_REQUEST_SHARE = 0.5
#: How long a waiter bears with a holder that keeps an unsaved session: it may take for ever.
_UNSAVED_PATIENCE = 1.0

UNSAVED = "unsaved session"


class Redeemer:
    """Redeems one session's refresh token, for the flight of one process at a time."""

    def __init__(self, tokens: KeptRecord, client: Client) -> None:
        self.client = client
        self._tokens = tokens
        self._sender = Sender(tokens, client)

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
            return self._without_refresh_token(record, wanted, now)
        wait = 0.0 if record.pause is None else record.pause.left(now)
        if wait > 0 and not wanted.confirmed:
            raise RefreshUnavailable("the provider asked for a pause", retry_after=round(wait, 3))
        intent = grant.pending_intent(record)
        if intent is not None and self._sender.is_known_unsent(intent):
            intent = None
        is_safe = intent is None or grant.may_replay(intent, now, self.replay_window)
        if not is_safe and not wanted.confirmed:
            raise uncertain("an earlier redemption was interrupted after it may have been sent")
        metadata = self._metadata(record, deadline)
        noted = record
        if intent is None:
            noted = record.changed(intent=grant.intent_for(record, self._now()))
            if unsaved is None:
                self._replace_live(record, noted)
            else:
                unsaved.put(noted)
        shares = shares or record.shares
        return self._sender.send(
            Sending(hold, record, noted, metadata, shares, deadline, intent is not None, unsaved)
        )

    def _without_refresh_token(self, record: Record, wanted: Wanted, now: Moment) -> Got:
        """The access token of the login for as long as it lasts; then the session is over."""
        if record.access_token is not None and record.remaining(now) > 0:
            if not wanted.must_be_newer:
                return Got(record, record.access_token)
            raise RefreshUnavailable("the provider gave no refresh token")
        self._tokens.log.end("expired", now.wall)
        self._sender.erase_dead()
        raise LoginRequired(reason="expired", hint="tokenkeep login")

    def _replace_live(self, record: Record, noted: Record) -> None:
        try:
            self._tokens.replace(record, noted)
        except WriteConflict:
            if self._sender.is_gone(record):
                raise Ended from None
            raise

    def _live(self, session_id: str) -> Record:
        state = self._tokens.log.read()
        if state.session_id != session_id:
            raise Ended(self._sender.bury())
        record = self._tokens.load(state)
        if record is None:
            raise Ended
        return record

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


def is_uncertain(tokens: KeptRecord, record: Record, replay_window: float) -> bool:
    """Whether a stored record's refresh token may have been spent by a redemption that is over.

    Raises:
        StoreError: the store cannot tell.
    """
    intent = grant.pending_intent(record)
    if intent is None or grant.may_replay(intent, tokens.now(), replay_window):
        return False
    # Somebody may just be redeeming it: the note is theirs as long as they are inside.
    if tokens.fence.holder() is not None:
        return False
    again = tokens.load()  # they may have come out between our two looks, and others gone in
    if again is None or again.generation != record.generation:
        return False
    note = grant.pending_intent(again)
    return note is not None and note.at == intent.at
