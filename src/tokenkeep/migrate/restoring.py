"""Undoing a migration, item by item: the new place gets back what it had before.

Nothing is lost by it: neither what somebody wrote since, nor the only copy of what was moved, nor
what was replaced. Where these cannot all be had, the item stays and what it replaced is kept.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenkeep.migrate import journal
from tokenkeep.migrate.fingerprint import aside_name
from tokenkeep.migrate.journal import Entry
from tokenkeep.migrate.looking import WRITTEN, Begun, Looker
from tokenkeep.migrate.place import NewPlace
from tokenkeep.migrate.report import Outcome
from tokenkeep.migrate.source import Source


class Restorer:
    """Puts items of the new place back to what they were.

    Args:
        step: told before each step.
    """

    def __init__(
        self, source: Source, new: NewPlace, looker: Looker, step: Callable[[str], object]
    ) -> None:
        self._source = source
        self._new = new
        self._looker = looker
        self._step = step

    def pairs(
        self, opened: Begun, names: dict[str, str] | None
    ) -> list[tuple[tuple[str, str], Entry]]:
        """What was written, by old and new name, also if neither place lists it any more.

        Args:
            names: new names by old ones; all items under their own names if None.
        """
        aside = self._new.names_aside(aside_name(opened.told.id, ""))
        if names is None:
            every = {*self._source.names(), *self._new.names(), *aside}
            names = {name: name for name in every}
        found = []
        for pair in sorted(names.items()):
            entry = opened.entry(pair)
            is_written = entry is not None and entry.event in (*WRITTEN, journal.RESTORED)
            # What was replaced may have been found equal by a later run.
            if entry is not None and (is_written or pair[1] in aside):
                found.append((pair, entry))
        return found

    def restore(self, pair: tuple[str, str], entry: Entry, opened: Begun) -> Outcome:
        """Restores one item: RESTORE, also if there was nothing to do, or why it stays.

        Raises:
            WriteConflict: somebody was writing it; nothing changed.
        """
        if entry.event == journal.RESTORED:
            return Outcome.RESTORE  # whatever was written there since
        new, aside = pair[1], opened.aside(pair)
        value, _outcome = self._looker.value(pair[0])
        there, is_damaged = self._looker.there(new)
        before = self._new.record(aside)
        if there == before and not is_damaged:
            return Outcome.RESTORE  # never written, or taken back before an interruption
        is_ours = (
            there is not None
            and entry.event in WRITTEN
            and entry.value == opened.prints.of_value(there)
        )
        has_room = there is None and not is_damaged
        # Taking such an item would take along what it replaced, which the store keeps behind it.
        hides_damage = is_ours and before is None and self._new.was_set_aside(aside)
        if not (has_room or (is_ours and value == there and not hides_damage)):
            is_kept = before is not None or hides_damage
            return Outcome.UNRESTORED if is_kept else Outcome.CHANGED
        self._step("take back")
        if before is not None:
            self._new.put(new, there, before)
        elif there is not None:
            self._new.take(new, there)
        return Outcome.RESTORE
