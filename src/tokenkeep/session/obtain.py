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
from tokenkeep.session.redemption import Ended, Got, Wanted
from tokenkeep.session.refresh import UNSAVED, Redeemer, is_uncertain
from tokenkeep.session.revocation import revoke_late
from tokenkeep.session.state import AccessToken, State
from tokenkeep.session.unsaved import Unsaved
from tokenkeep.sessionlog import LogState
from tokenkeep.tokens.kept import KeptRecord
from tokenkeep.tokens.record import Record

#: Pauses between attempts while the provider cannot be reached, so that a busy program does not
#: hammer a dead network, and a person who plugs the cable in does not wait.
_OFFLINE_PAUSE, _OFFLINE_LONGEST = 0.25, 5.0
#: How soon a renewal ahead of time that failed, for whatever reason, is tried again.
_AHEAD_PAUSE = 5.0
#: How often a flight starts over because the log or the record changed under it.
_ROUNDS = 4
#: How long a look waits for whoever is inside the fence before it leaves the tidying to them.
_SETTLE_SECONDS = 3.0


class Obtainer:
    """Works off the refreshes of one session in this process, one at a time."""

    def __init__(
        self,
        tokens: KeptRecord,
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
        self._flight = Flight[Wanted, AccessToken](self._ready, self._obtain)
        self._monotonic = tokens.storage.clock.monotonic
        self._failures = 0
        self._pause_until = 0.0
        self._pause_error: RefreshUnavailable | None = None
        self._paused: RefreshUnavailable | None = None
        self._ahead_from = 0.0

    def join(self, wanted: Wanted) -> Future[AccessToken]:
        """The flight that brings what is wanted; callers with other wishes share it."""
        return self._flight.join(wanted)

    def renew_ahead(self, held: AccessToken) -> None:
        """Starts a refresh in the advisory window, if none is under way and none just failed."""
        if self._flight.is_in_progress() or self._monotonic() < self._ahead_from:
            return
        self.join(Wanted(held.session_id, held.generation, 0.0, must_be_newer=True))

    def look(self) -> State:
        """Takes what the log and the store say now, without a network.

        Raises:
            UnsupportedOption: the stored session belongs to another issuer or client.
            StoreError: the store cannot tell, except `StoreLocked` and `SecretInvalidated`, which
                are states.
        """
        for _ in range(_ROUNDS):
            if self._look_once():
                break
        return self._known.state

    def keep_unsaved(self, record: Record, hold: Hold) -> Unsaved:
        """Keeps a session that could not be saved, with the fence; `start` it once it is known."""
        hold.describe(UNSAVED)
        return Unsaved(self._tokens, record, hold, self._was_saved, self._was_ended)

    def take(self, got: Got, epoch: int, reason: str, *, asked: float = 0.0) -> AccessToken | None:
        """Takes what a redemption or a login brought; None if it is void by now.

        What is void is the newest token of a session that is over here: it is revoked.
        """
        unsaved = None
        if got.unsaved is not None and self._known.unsaved is None:
            unsaved = self.keep_unsaved(got.record, got.unsaved)
            reason = f"signed in until restart, not saved: {got.problem}"
        token = self._known.take(
            got.record, got.access_token, epoch, reason, asked=asked, unsaved=unsaved
        )
        if unsaved is None:
            return token
        if token is not None:
            unsaved.start()
            return token
        hold = unsaved.let_go(self._timeout)
        try:
            report = revoke_late(self._tokens, self._redeemer.client, got.record)
        finally:
            if hold is not None:
                hold.release()
        self._known.tell(report)
        return None

    def reset_pause(self) -> None:
        """Forgets earlier failures: a new session begins."""
        self._failures, self._pause_until, self._pause_error = 0, 0.0, None
        self._ahead_from = 0.0

    def _ready(self, wanted: Wanted) -> AccessToken | None:
        held, now = self._known.held, self._monotonic()
        if held is None or self._known.watch.changed(now):
            return None
        is_newer = held.session_id != wanted.session_id or held.generation > wanted.newer_than
        if wanted.must_be_newer and not is_newer:
            return None
        if held.serves(now, wanted.min_ttl):
            return held
        return held if is_newer and held.is_best(now, wanted.min_ttl) else None

    def _obtain(self, wanted: Wanted) -> AccessToken:
        known = self._known
        deadline = self._monotonic() + self._timeout
        for _ in range(_ROUNDS):
            try:
                self.look()
            except StoreError as exc:
                return self._served_in_spite_of(exc, wanted)
            with known.lock:
                epoch, session_id = known.epoch, known.session_id
            if not session_id:
                raise known.refusal()
            held = self._ready(wanted)
            if held is not None:
                return held  # the log had to be looked at, and ended nothing
            if wanted.session_id != session_id:
                # First use, or somebody signed in anew: whatever that session has will do.
                wanted = Wanted(session_id, 0, wanted.min_ttl, wanted.confirmed)
            try:
                got = self._redeemed(wanted, deadline)
            except Ended as ended:
                if ended.report:
                    known.tell(ended.report)
                continue
            except WriteConflict:
                continue
            except (SessionError, StoreError) as exc:
                return self._served_in_spite_of(exc, wanted, epoch)
            lifetime = got.record.lifetime
            asked = wanted.min_ttl if lifetime is not None and wanted.min_ttl > lifetime else 0.0
            token = self.take(got, epoch, "refreshed", asked=asked)
            if token is not None:
                self.reset_pause()
                return token
        raise RefreshUnavailable("the session kept changing while it was refreshed")

    def _redeemed(self, wanted: Wanted, deadline: float) -> Got:
        unsaved = self._known.unsaved
        if unsaved is None:
            got = self._redeemer.shared(wanted)
            if got is not None:
                return got
            self._check_pause(wanted)
            return self._redeemer.redeem(wanted, self.shares, deadline)
        self._check_pause(wanted)
        got = unsaved.inside(
            lambda hold: self._redeemer.redeem_unsaved(unsaved, hold, wanted, self.shares, deadline)
        )
        if got is None:
            self._known.over(unsaved)
            raise Ended  # it was saved or ended meanwhile: look again
        return got

    def _served_in_spite_of(
        self, exc: SessionError | StoreError, wanted: Wanted, epoch: int | None = None
    ) -> AccessToken:
        """Takes a failure to heart; the token that still serves the caller, or the failure.

        Raises:
            SessionError, StoreError: the failure.
        """
        known = self._known
        self._ahead_from = self._monotonic() + _AHEAD_PAUSE
        if isinstance(exc, LoginRequired):
            self._end_unsaved()
            known.drop(
                State.LOGIN_REQUIRED,
                f"the session is over: {exc.reason}",
                end_reason=exc.reason,
                epoch=epoch,
            )
            raise exc
        if isinstance(exc, SessionUncertain):
            known.change(State.UNCERTAIN, str(exc), epoch)
        elif isinstance(exc, RefreshUnavailable) and exc is not self._paused:
            self._failures += 1
            pause = min(_OFFLINE_PAUSE * 2 ** min(self._failures, 8), _OFFLINE_LONGEST)
            pause = max(pause, exc.retry_after or 0.0) if exc.holder is None else 0.0
            self._pause_until = self._monotonic() + pause
            self._pause_error = exc
        elif isinstance(exc, StoreLocked):
            known.change(State.LOCKED, str(exc), epoch)
        held, now = known.held, self._monotonic()
        is_newer = held is not None and held.generation > wanted.newer_than
        if held is None or (wanted.must_be_newer and not is_newer):
            raise exc
        if known.watch.changed(now) and self._tokens.log.read().session_id != held.session_id:
            raise exc
        if held.serves(now, wanted.min_ttl):
            return held
        raise exc

    def _check_pause(self, wanted: Wanted) -> None:
        left = self._pause_until - self._monotonic()
        if self._pause_error is not None and left > 0 and not wanted.confirmed:
            # No new failure: it must not make the pause longer.
            self._paused = RefreshUnavailable(str(self._pause_error), retry_after=round(left, 3))
            raise self._paused

    def _look_once(self) -> bool:
        known, tokens = self._known, self._tokens
        with known.lock:
            epoch = known.epoch
        mark = known.watch.mark()
        try:
            log = tokens.log.read()
            # Before the store is asked, which may be locked: an ended session serves nobody.
            epoch = known.drop_unless(log.session_id, epoch)
            if known.unsaved is not None and log.session_id == known.session_id:
                known.watch.accept(mark)
                return True
            record, log = self._settled(log)
        except StoreLocked as exc:
            known.change(State.LOCKED, str(exc), epoch)
            return True
        except SecretInvalidated:
            reason = "the session is over: invalidated"
            known.drop(State.LOGIN_REQUIRED, reason, end_reason="invalidated", epoch=epoch)
            return True
        if record is not None and record.session_id != log.session_id:
            record = None
        if record is not None:
            known.checked(record)
        window = self._redeemer.replay_window
        unsure = record is not None and is_uncertain(tokens, record, window)
        if not known.settle(record, log, epoch, is_uncertain=unsure):
            return False
        known.watch.accept(mark)
        return True

    def _settled(self, log: LogState) -> tuple[Record | None, LogState]:
        """The record as it lies there, brought in order if it can be now; and the log by then."""
        tokens = self._tokens
        record = None
        try:
            record = tokens.stored()
            if tokens.needs_settling(record, log):
                record = tokens.settle(_SETTLE_SECONDS)
                log = tokens.log.read()
        except RefreshUnavailable:
            pass  # whoever is inside the fence settles it
        except StoreError:
            if not log.is_over:
                raise
            # Nobody is signed in, whatever lies there; a later look erases it.
        return record, log

    def _was_saved(self, unsaved: Unsaved) -> None:
        if not self._known.over(unsaved):
            return
        if grant.pending_intent(unsaved.record) is None:
            self._known.change(State.ACTIVE, "saved at last")
        else:
            self._known.change(State.UNCERTAIN, "saved at last; a redemption was interrupted")

    def _was_ended(self, unsaved: Unsaved) -> None:
        known = self._known
        if known.over(unsaved):
            reason = "the session is over: ended elsewhere"
            known.drop(State.SIGNED_OUT, reason, end_reason="ended elsewhere")
        known.tell(revoke_late(self._tokens, self._redeemer.client, unsaved.record))

    def _end_unsaved(self) -> None:
        """The provider refused an unsaved session: there is nothing to save any more."""
        unsaved = self._known.unsaved
        if unsaved is None or not self._known.over(unsaved):
            return
        hold = unsaved.let_go(self._timeout)
        if hold is not None:
            hold.release()
