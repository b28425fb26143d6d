"""What a migration would do, did or found, item by item; never a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """What becomes, or became, of one item."""

    COPY = "copy"  #: written to the new place
    SAME = "same"  #: the new place has the same value already
    REPLACE = "replace"  #: written over another value, which is kept until confirmed
    KEEP = "keep"  #: the new place has another value, which stays
    CONFLICT = "conflict"  #: the new place has another value, and nobody said what to do
    DATABASE_KEY = "database"  #: the new place has a database's key there, which nothing replaces
    DONE = "done"  #: copied by an earlier run
    MISSING = "missing"  #: named, and not in the old place
    UNREADABLE = "unreadable"  #: it does not open in the old place, and stays there
    TOO_LARGE = "too large"  #: the new place does not take values of this size
    BAD_NAME = "bad name"  #: this cannot be a name in the new place
    CHANGED = "changed"  #: left as it is: it is not what was copied any more
    REMOVE = "remove"  #: taken from the old place
    EMPTIED = "emptied"  #: taken from the old place, where an empty item stays
    RESTORE = "restore"  #: taken from the new place, which has again what it had before
    UNRESTORED = "unrestored"  #: what it replaced is kept: something else would be lost


#: With these, nothing at all is written.
PROBLEMS = (Outcome.CONFLICT, Outcome.DATABASE_KEY, Outcome.TOO_LARGE, Outcome.BAD_NAME)


@dataclass(frozen=True, slots=True)
class MigratedItem:
    """One item: its name in the old place, in the new one, and its outcome."""

    old: str
    new: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """Every item that a plan, a run, a confirmation or an undoing looked at, by old name.

    Attributes:
        pending: old bytes of a session that has moved remain in the old store's files for now; see
            `Erased.pending`. False where items move: nothing is said there of their old bytes.
    """

    items: tuple[MigratedItem, ...] = ()
    pending: bool = False

    def having(self, *outcomes: Outcome) -> list[MigratedItem]:
        """The items with one of these outcomes."""
        return [item for item in self.items if item.outcome in outcomes]

    @property
    def is_possible(self) -> bool:
        """Whether a run would write what there is to write, or did."""
        return not self.having(*PROBLEMS)
