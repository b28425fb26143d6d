"""Obtaining an access token: from memory, from the record, or by a redemption in flight."""

from __future__ import annotations

from concurrent.futures import Future

from tokenkeep.errors import (
    LoginRequired,
    RefreshUnavailable,
    SecretInvalidated,
    SessionError,
    SessionUncertain,
    StoreError,
    StoreLocked,
    WriteConflict,
)
from tokenkeep.fence import Hold
from tokenkeep.session import grant
from tokenkeep.session.flight import Flight
from tokenkeep.session.known import Known
from tokenkeep.session.refresh import UNSAVED, Ended, Got, Redeemer, Wanted
from tokenkeep.session.revocation import revoke_late
from tokenkeep.session.state import AccessToken, State
from tokenkeep.session.unsaved import Unsaved
from tokenkeep.tokens.record import Record
from tokenkeep.tokens.storage import TokenStorage

#: Pauses between attempts while the provider cannot be reached, so that a busy program does not
#: hammer a dead network, and a person who plugs the cable in does not wait.
_OFFLINE_PAUSE, _OFFLINE_LONGEST = 0.25, 5.0
#: How often a flight starts over because the log or the record changed under it.
_ROUNDS = 4


class Obtainer:
    """Works off the refreshes of one session in this process, one at a time."""

    def __init__(
        self,
        tokens: TokenStorage,
        known: Known,
        redeemer: Redeemer,
        *,
        shares: bool,
        timeout: float,
    ) -> None:
        self.shares = shares
        self._tokens = tokens
        self._known = known
        self._redeemer = redeemer
        self._timeout = timeout
        self._flight: Flight[AccessToken] = Flight()
        self._monotonic = tokens.storage.clock.monotonic
        self._pause_until = 0.0
        self._pause_error: RefreshUnavailable | None = None
        self._failures = 0

    def join(self, wanted: Wanted) -> Future[AccessToken]:
        """The flight that brings what is wanted; callers with other wishes share it."""

        def ready() -> AccessToken | None:
            held, now = self._known.held, self._monotonic()
            if held is None or self._known.watch.changed(now):
                return None
            is_newer = held.session_id == wanted.session_id and held.generation > wanted.newer_than
            serves = held.serves(now, wanted.min_ttl) and not wanted.must_be_newer
            return held if serves or (is_newer and held.serves(now, 0.0)) else None

        return self._flight.join(ready, lambda: self._obtain(wanted))

    def renew_ahead(self, held: AccessToken) -> None:
        """Starts a refresh in the advisory window, if none is under way and none just failed."""
        if self._flight.is_in_progress() or self._monotonic() < self._pause_until:
            return
        self.join(Wanted(held.session_id, held.generation, 0.0, must_be_newer=True))

    def look(self) -> State:
        """Takes what the log and the store say now, without a network.

        Raises:
            UnsupportedOption: the stored session belongs to another issuer or client.
            StoreError: the store cannot tell, except `StoreLocked` and `SecretInvalidated`, which
                are states.
        """
        known, tokens = self._known, self._tokens
        mark = known.watch.mark()
        try:
            log = tokens.log.read()
            # Before the store is asked, which may be locked: an ended session serves nobody.
            known.drop_unless(log.session_id)
            if known.unsaved is not None and log.session_id == known.session_id:
                known.watch.accept(mark)
                return known.state
            record = tokens.stored()
            if tokens.needs_settling(record, log):
                try:
                    record = tokens.settle()
                    log = tokens.log.read()
                except RefreshUnavailable:
                    pass  # whoever is inside the fence settles it
        except StoreLocked as exc:
            known.change(State.LOCKED, str(exc))
            return known.state
        except SecretInvalidated:
            known.ended("invalidated")
            return known.state
        if record is not None and record.session_id != log.session_id:
            record = None
        known.settle(record, log, is_uncertain=record is not None and self._is_uncertain(record))
        known.watch.accept(mark)
        return known.state

    def unsaved(self, got: Got) -> None:
        """Keeps a session that could not be saved, in memory, and says so."""
        assert got.unsaved is not None
        got.unsaved.describe(UNSAVED)
        known = self._known
        known.unsaved = Unsaved(
            self._tokens, got.record, got.unsaved, self._was_saved, self._was_ended
        )
        known.change(State.MEMORY_ONLY, f"signed in until restart, not saved: {got.problem}")

    def reset_pause(self) -> None:
        """Forgets earlier failures: a new session begins."""
        self._failures, self._pause_until, self._pause_error = 0, 0.0, None

    def _obtain(self, wanted: Wanted) -> AccessToken:
        for _ in range(_ROUNDS):
            epoch = self._known.epoch
            self.look()
            if not self._known.session_id:
                raise self._known.refusal()
            if wanted.session_id != self._known.session_id:
                # First use, or somebody signed in anew: whatever that session has will do.
                wanted = Wanted(self._known.session_id, 0, wanted.min_ttl, wanted.confirmed)
            try:
                got = self._redeemed(wanted)
            except Ended:
                continue
            except WriteConflict:
                continue
            except (SessionError, StoreError) as exc:
                served = self._survived(exc, wanted)
                if served is not None:
                    return served
                raise
            lifetime = got.record.lifetime
            asked = wanted.min_ttl if lifetime is not None and wanted.min_ttl > lifetime else 0.0
            token = self._known.take(got.record, got.access_token, epoch, asked)
            if token is None:
                self._release(got)
                continue
            self.reset_pause()
            if got.unsaved is not None and self._known.unsaved is None:
                self.unsaved(got)
            elif self._known.unsaved is None:
                self._known.change(State.ACTIVE, "refreshed")
            return token
        raise RefreshUnavailable("the session kept changing while it was refreshed")

    def _redeemed(self, wanted: Wanted) -> Got:
        unsaved = self._known.unsaved
        if unsaved is None:
            got = self._redeemer.shared(wanted)
            if got is not None:
                return got
            self._check_pause(wanted)
            return self._redeemer.redeem(wanted, self.shares, self._timeout)
        self._check_pause(wanted)
        found: list[Got] = []

        def redeem(record: Record, hold: Hold) -> Record:
            found.append(self._redeemer.redeem_unsaved(record, hold, self.shares, self._timeout))
            return found[0].record

        if not unsaved.redeem(redeem):
            raise Ended  # it was saved or ended meanwhile: look again
        return found[0]

    def _survived(self, exc: SessionError | StoreError, wanted: Wanted) -> AccessToken | None:
        """Takes a failure to heart; the token that still serves the caller, if there is one."""
        known = self._known
        if isinstance(exc, LoginRequired):
            known.ended(exc.reason)
            return None
        if isinstance(exc, SessionUncertain):
            known.change(State.UNCERTAIN, str(exc))
        elif isinstance(exc, RefreshUnavailable):
            self._failures += 1
            pause = min(_OFFLINE_PAUSE * 2 ** min(self._failures, 8), _OFFLINE_LONGEST)
            pause = max(pause, exc.retry_after or 0.0) if exc.holder is None else 0.0
            self._pause_until = self._monotonic() + pause
            self._pause_error = exc
        elif isinstance(exc, StoreLocked):
            known.change(State.LOCKED, str(exc))
        held = known.held
        if held is None or (wanted.must_be_newer and held.generation <= wanted.newer_than):
            return None
        return held if held.serves(self._monotonic(), wanted.min_ttl) else None

    def _check_pause(self, wanted: Wanted) -> None:
        left = self._pause_until - self._monotonic()
        if self._pause_error is not None and left > 0 and not wanted.confirmed:
            raise RefreshUnavailable(str(self._pause_error), retry_after=round(left, 3))

    def _is_uncertain(self, record: Record) -> bool:
        intent = grant.pending_intent(record)
        if intent is None:
            return False
        window = self._redeemer.replay_window
        if grant.may_replay(intent, self._tokens.now(), window):
            return False
        # Somebody may just be redeeming it: the intent is theirs as long as they are inside.
        return self._tokens.fence.holder() is None

    def _was_saved(self, record: Record) -> None:
        self._known.unsaved = None
        self._known.change(State.ACTIVE, "saved at last")

    def _was_ended(self, record: Record) -> None:
        self._known.unsaved = None
        self._known.ended("ended elsewhere", State.SIGNED_OUT)
        revoke_late(self._tokens, self._redeemer.client, record)

    def _release(self, got: Got) -> None:
        """A sign-out here overtook this answer: what came late is revoked and dropped."""
        hold = got.unsaved
        if hold is None:
            return  # saved under the fence after a look at the log: the sign-out erases it
        try:
            revoke_late(self._tokens, self._redeemer.client, got.record)
        finally:
            hold.release()
