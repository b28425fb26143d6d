"""The values that a redemption turns on: what is wanted, what was got, what is on its way.

Nothing here does input or output.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenkeep.errors import SessionUncertain
from tokenkeep.fence import Hold
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.secret import Secret
from tokenkeep.session.unsaved import Unsaved
from tokenkeep.tokens.record import Record


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
    """What came of it: the record and its access token.

    Attributes:
        unsaved: the fence, if it could not be saved just now; who has it already keeps it.
        problem: why it could not be saved.
    """

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


def uncertain(reason: str) -> SessionUncertain:
    """The error for a redemption whose end nobody knows."""
    return SessionUncertain(
        f"the refresh token may be spent: {reason}",
        hint="tokenkeep token --retry-uncertain, or tokenkeep login",
    )
