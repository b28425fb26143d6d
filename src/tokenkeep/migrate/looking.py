"""Looking at one item in both places: what is to become of it. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from tokenkeep.database_item import is_database_key
from tokenkeep.errors import (
    NotAVault,
    SecretDamaged,
    SecretInvalidated,
    UnsupportedOption,
    VaultDamaged,
    WrongKey,
)
from tokenkeep.migrate import journal
from tokenkeep.migrate.fingerprint import Fingerprints, aside_name
from tokenkeep.migrate.journal import Entry, Journal, Told
from tokenkeep.migrate.place import NewPlace
from tokenkeep.migrate.report import Outcome
from tokenkeep.migrate.source import Source
from tokenkeep.secret import Secret

#: What becomes of an item that the new place has with another value.
FAIL, SKIP, REPLACE = "fail", "skip", "replace"

#: Not about one item: the whole place does not open.
_OF_THE_PLACE = (VaultDamaged, NotAVault, WrongKey)
WRITTEN = (journal.WRITE, journal.REPLACE, journal.WROTE)
COPIED = (journal.WROTE, journal.SAME)


@dataclass(slots=True)
class Begun:
    """A migration that was begun: its journal, what that says, and the hashes it says it in."""

    journal: Journal
    told: Told
    prints: Fingerprints

    def entry(self, pair: tuple[str, str]) -> Entry | None:
        """The journal's last word on an item, by its old and its new name."""
        return self.told.entries.get(self.prints.of_pair(*pair))

    def aside(self, pair: tuple[str, str]) -> str:
        """The record for what an item replaced."""
        return aside_name(self.told.id, self.prints.of_pair(*pair))


@dataclass(slots=True)
class Look:
    """One item in both places, and what is to become of it.

    Attributes:
        is_there_damaged: the new place has something under the name that does not open.
        is_ours: what lies in the new place was written by this migration.
    """

    outcome: Outcome
    value: Secret | None = None
    there: Secret | None = None
    is_there_damaged: bool = False
    is_ours: bool = False


class Looker:
    """Looks at items in both places.

    Args:
        existing: what becomes of an item that the new place has with another value.
    """

    def __init__(self, source: Source, new: NewPlace, existing: str) -> None:
        self._source = source
        self._new = new
        self._existing = existing

    def look(self, pair: tuple[str, str], opened: Begun | None) -> Look:
        """What is to become of an item, by its old and its new name."""
        old, new = pair
        if not self._new.takes_name(new):
            return Look(Outcome.BAD_NAME)
        entry = None if opened is None else opened.entry(pair)
        there, is_there_damaged = self.there(new)
        value, outcome = self.value(old)
        if value is None:
            is_gone = outcome is Outcome.MISSING and entry is not None and entry.event in COPIED
            return Look(Outcome.DONE if is_gone else outcome)
        look = Look(Outcome.COPY, value, there, is_there_damaged)
        if opened is not None and entry is not None:
            if entry.event in COPIED and entry.value == opened.prints.of_value(value):
                look.outcome = Outcome.DONE
                return look
            look.is_ours = (
                there is not None
                and entry.event in WRITTEN
                and entry.value == opened.prints.of_value(there)
            )
        if there is not None and there == value:
            look.outcome = Outcome.COPY if look.is_ours else Outcome.SAME
        elif not self._new.takes_size(value.size):
            look.outcome = Outcome.TOO_LARGE
        elif (there is not None or is_there_damaged) and not look.is_ours:
            look.outcome = {
                FAIL: Outcome.CONFLICT,
                SKIP: Outcome.KEEP,
                REPLACE: Outcome.REPLACE,
            }[self._existing]
            if look.outcome is Outcome.REPLACE and there is not None and is_database_key(there):
                look.outcome = Outcome.DATABASE_KEY  # what is replaced is lost once confirmed
            elif opened is not None and entry is not None and look.outcome is Outcome.REPLACE:
                before = self._new.record(opened.aside(pair))
                if before is not None and before != there:
                    look.outcome = Outcome.CONFLICT  # only one of the two could be restored
        return look

    def value(self, old: str) -> tuple[Secret | None, Outcome]:
        """The old place's value, or why there is none: MISSING or UNREADABLE."""
        try:
            return self._source.read(old), Outcome.MISSING
        except (SecretDamaged, SecretInvalidated, UnsupportedOption) as exc:
            if isinstance(exc, _OF_THE_PLACE):
                raise
        return None, Outcome.UNREADABLE

    def there(self, new: str) -> tuple[Secret | None, bool]:
        """The new place's value, and whether there is one that does not open."""
        try:
            return self._new.read(new), False
        except (SecretDamaged, SecretInvalidated) as exc:
            if isinstance(exc, _OF_THE_PLACE):
                raise
        return None, True
