"""Sign-out: what was done, step by step, and what remains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenkeep.errors import StoreError, TokenkeepError
from tokenkeep.fence import Hold
from tokenkeep.oauth.client import Client
from tokenkeep.session.revocation import revoke
from tokenkeep.session.work import Work
from tokenkeep.tokens.kept import KeptRecord, Left
from tokenkeep.tokens.record import Record

#: How long a sign-out waits for whoever is inside the fence before it leaves the erasing to them.
FENCE_PATIENCE = 3.0
_EMPTIED = (
    "emptied, as the store deletes an item only when a person agrees; until then it may keep"
    " earlier values in a history of its own"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a sign-out: `outcome` is "done", "pending", "failed" or "not needed"."""

    name: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LogoutReport:
    """What a sign-out did. The session is over here whatever the steps say, except "end".

    The steps, in order: end (the log's last word), cancel (authorised work here), erase (the
    record), caches (that were registered), revoke (at the provider). Where the log cannot have its
    last word, the record is erased whoever is inside the fence.
    """

    steps: tuple[Step, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing remains to be done by anybody."""
        return all(step.outcome in ("done", "not needed") for step in self.steps)

    def step(self, name: str) -> Step:
        """The step of that name.

        Raises:
            KeyError: there is none.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def __str__(self) -> str:
        lines = (
            f"{step.name}: {step.outcome}" + (f" ({step.detail})" if step.detail else "")
            for step in self.steps
        )
        return "\n".join(lines)


def sign_out(
    tokens: KeptRecord,
    client: Callable[[Record], Client],
    work: Work,
    remembered: Record | None,
    hold: Hold | None,
) -> LogoutReport:
    """Ends the session, cancels, erases, clears and revokes, in that order; never raises ours.

    Args:
        client: what revokes a record, asked for once the session is over here; a failure to give
            it is the failure of that step.
        remembered: the record as this process knows it, for when the store cannot be read.
        hold: the fence, if this process has it already; it is released here.
    """
    steps = [_end(tokens)]
    steps.append(_count("cancel", work.cancel_all()))
    has_ended = steps[0].outcome == "done"
    record, problem = _captured(tokens, remembered, has_ended=has_ended)
    step, erased = _erase(tokens, hold, has_ended=has_ended)
    steps.append(step)
    steps.append(_count("caches", work.clear_caches()))
    revoked = _revoke(tokens, client, record, problem)
    if erased is not None and not _is_as_new(record, erased):
        # Somebody else's session, ended meanwhile: who erases it revokes it.
        other = _revoke(tokens, client, erased, "")
        revoked = other if revoked.outcome in ("done", "not needed") else revoked
    steps.append(revoked)
    return LogoutReport(tuple(steps))


def end_quietly(tokens: KeptRecord) -> None:
    """The log's last word, ahead of `sign_out`, which says it again and reports."""
    _end(tokens)


def _end(tokens: KeptRecord) -> Step:
    try:
        tokens.log.end("logout", tokens.now().wall)
    except StoreError as exc:
        return Step("end", "failed", str(exc))
    return Step("end", "done")


def _captured(
    tokens: KeptRecord, remembered: Record | None, *, has_ended: bool
) -> tuple[Record | None, str]:
    """The newest record there is, for the tokens in it; and why the store had none to give."""
    try:
        stored = tokens.stored()
    except StoreError as exc:
        return remembered, f"{exc.code}: {exc}"
    if stored is None:
        return remembered, ""
    if has_ended and _lives(tokens, stored):
        return remembered, "somebody signed in anew meanwhile"
    is_newer = (
        remembered is not None
        and remembered.session_id == stored.session_id
        and remembered.generation > stored.generation
    )
    return (remembered if is_newer else stored), ""


def _erase(tokens: KeptRecord, hold: Hold | None, *, has_ended: bool) -> tuple[Step, Record | None]:
    """The step, and what was erased, as far as it could be read."""
    try:
        if hold is None:
            hold = tokens.fence.acquire("logout", FENCE_PATIENCE)
        if hold is None and has_ended:
            holder = tokens.fence.holder() or "somebody who let go just now"
            detail = f"left to {holder}; the record is dead already"
            return Step("erase", "pending", detail), None
    except StoreError as exc:
        if has_ended:
            return Step("erase", "failed", f"{exc.code}: {exc}; the record is dead already"), None
    dead = None
    try:
        dead = _dead(tokens, has_ended=has_ended)
        left = tokens.erase_dead() if has_ended else tokens.erase()
        if left == Left.SESSION:
            return Step("erase", "not needed", "a newer session lives there"), None
    except StoreError as exc:
        note = "; the record is dead already" if has_ended else ""
        return Step("erase", "failed", f"{exc.code}: {exc}{note}"), None
    finally:
        if hold is not None:
            hold.release()
    if left == Left.EMPTY:
        return Step("erase", "pending", _EMPTIED), dead
    if not tokens.shred():
        return Step("erase", "pending", "old bytes remain until the store's next writer"), dead
    return Step("erase", "done"), dead


def _dead(tokens: KeptRecord, *, has_ended: bool) -> Record | None:
    """What is about to be erased."""
    try:
        found = tokens.stored()
    except StoreError:
        return None  # it can be erased all the same, unless that fails too
    return None if found is None or (has_ended and _lives(tokens, found)) else found


def _lives(tokens: KeptRecord, record: Record) -> bool:
    """Whether a record lives though the log has had our last word: it was begun after that."""
    try:
        return tokens.log.read().session_id == record.session_id
    except StoreError:
        return False  # nobody can have signed in anew in a log that cannot be read


def _is_as_new(record: Record | None, other: Record) -> bool:
    return (
        record is not None
        and record.session_id == other.session_id
        and record.generation >= other.generation
    )


def _revoke(
    tokens: KeptRecord, client: Callable[[Record], Client], record: Record | None, problem: str
) -> Step:
    if record is None:
        if problem:
            return Step("revoke", "failed", f"the token could not be read: {problem}")
        return Step("revoke", "not needed", "no session was stored")
    try:
        done, detail = revoke(tokens, client(record), record)
    except TokenkeepError as exc:
        return Step("revoke", "failed", str(exc))
    return Step("revoke", "done" if done else "failed", detail)


def _count(name: str, counted: tuple[int, int]) -> Step:
    total, failed = counted
    if not total:
        return Step(name, "not needed")
    if failed:
        return Step(name, "failed", f"{failed} of {total} raised an exception")
    return Step(name, "done", f"{total}")
