"""Migration: from a source into a storage, in steps that can be interrupted, resumed and undone.

For each item: read the new place, then the old, write, read back and compare; the old place is only
touched when somebody confirms. Every step is in the journal before it is done. One process at a
time works at a migration, any process can go on with it. A migration is that of the store in which
its key lies: the same source may be on its way into several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property

from tokenkeep.errors import (
    InvalidName,
    StoreError,
    TokenkeepError,
    UnsupportedOption,
    ValueTooLarge,
    WriteConflict,
)
from tokenkeep.fence import Fence, Hold
from tokenkeep.migrate import journal
from tokenkeep.migrate.fingerprint import (
    RESERVED,
    Fingerprints,
    key_name,
    new_id,
    new_key,
)
from tokenkeep.migrate.journal import Entry, Journals, Phase, Told
from tokenkeep.migrate.looking import COPIED, FAIL, REPLACE, SKIP, Begun, Looker
from tokenkeep.migrate.place import NewPlace
from tokenkeep.migrate.report import MigratedItem, MigrationReport, Outcome
from tokenkeep.migrate.restoring import Restorer
from tokenkeep.migrate.source import Source
from tokenkeep.storage import SecureStorage

Tell = Callable[[int, int], object]


class Migration:
    """Moves a source's items into a storage.

    Args:
        source: the old place.
        target: the new place.
        names: which items, all if None; a mapping gives old names new ones.
        existing: what happens where the new place has another value: FAIL writes nothing at all,
            SKIP leaves that item, REPLACE writes over it (and `undo` puts it back), but never over
            the key of a database, which would be lost with it: that fails.
        step: told before each step; what it raises is a crash there.

    Raises:
        UnsupportedOption: `existing` is something else, or two items would get one name.
    """

    def __init__(
        self,
        source: Source,
        target: SecureStorage,
        *,
        names: Mapping[str, str] | Iterable[str] | None = None,
        existing: str = FAIL,
        step: Callable[[str], object] = lambda _name: None,
    ) -> None:
        if existing not in (FAIL, SKIP, REPLACE):
            raise UnsupportedOption("an item that exists can fail, skip or replace")
        self._source = source
        self._target = target
        self._new = NewPlace(target)
        self._looker = Looker(source, self._new, existing)
        self._restorer = Restorer(source, self._new, self._looker, step)
        self._existing = existing
        self._step = step
        self._names: dict[str, str] | None = None
        if names is not None:
            pairs = (
                names.items() if isinstance(names, Mapping) else ((name, name) for name in names)
            )
            self._names = dict(pairs)
            if len(set(self._names.values())) != len(self._names):
                raise UnsupportedOption("two items would get the same name")

    @cached_property
    def _journals(self) -> Journals:
        identity = f"{self._source.identity}\0{self._target.facts.backend}"
        return Journals(self._target.state_directory, self._target.service, identity)

    def status(self) -> Phase:
        """How far it is: reads no item, and asks the store only if there is a journal.

        Raises:
            StoreError: the store cannot tell now whether an import that was begun goes to it; or
                as in `run`, the journal.
        """
        found = self._found()
        return Phase.NONE if found is None else found.told.phase

    def plan(self, progress: Tell = lambda _done, _total: None) -> MigrationReport:
        """What `run` would do: reads both places, changes nothing.

        Raises:
            StoreError: as `run`, without those of writing.
        """
        return self._looked_at(self._pairs(), self._opened(), progress)

    def run(self, progress: Tell = lambda _done, _total: None) -> MigrationReport:
        """Copies what there is to copy; the old place stays as it is. Run again, it goes on.

        A confirmation or an undoing that was interrupted is brought to its end first.

        Raises:
            WriteConflict, ValueTooLarge, InvalidName: an item cannot be written as things are;
                nothing was written at all. Also, if an item changed under our hands or did not
                read back: run it again; or if an undoing could not restore everything: undo again.
            UnsupportedOption: both places are the same, or an import of other names from this
                source is open.
            StoreLocked, StoreUnavailable, StoreTimeout, AccessDenied, InteractionDenied,
            StoreFull: it stopped there; run it again.
            SecretDamaged: a place or the journal is damaged as a whole. An item that does not open
                in the old place stays there, and the others are copied.
        """
        with self._held("import"):
            self._sweep()
            opened = self._opened()
            if opened is not None and opened.told.phase in (Phase.CONFIRMING, Phase.UNDOING):
                if opened.told.phase is Phase.CONFIRMING:
                    self._confirm(opened)
                elif self._undo(opened).having(Outcome.UNRESTORED):
                    raise WriteConflict("an import is not undone yet", hint="undo it again")
                opened = None
            pairs = self._pairs()
            report = self._looked_at(pairs, opened, lambda _done, _total: None)
            _require_possible(report, self._existing)
            if not report.having(Outcome.COPY, Outcome.SAME, Outcome.REPLACE, Outcome.DONE):
                return report
            if opened is None:
                opened = self._begin()
            self._require_another_place(opened)
            if not opened.told.names:
                self._step("names")
                opened.journal.append(("names", opened.prints.of_names(self._names)))
            done = []
            for number, pair in enumerate(pairs):
                done.append(MigratedItem(*pair, self._copy(pair, opened)))
                progress(number + 1, len(pairs))
            if opened.journal.read().phase is not Phase.COPIED:
                self._step("copied")
                opened.journal.append(("copied",))
            return MigrationReport(tuple(done))

    def confirm(self) -> MigrationReport:
        """Takes from the old place what is in the new one; there is no way back from then on.

        Only what was copied, or was found equal, and is still in the old place what it was then;
        anything else stays in both places as `CHANGED`. Run again, it goes on.

        Returns:
            Nothing if this store knows of no migration to confirm: none is open, it was cleared
            meanwhile, or the one that is open goes to another store.

        Raises:
            WriteConflict: a run was interrupted, run it again first; or it is being undone, undo it
                again.
            StoreError: as `run`.
        """
        with self._held("confirm"):
            self._sweep()
            opened = self._opened()
            if opened is None:
                return MigrationReport()
            if opened.told.phase is Phase.UNDOING:
                raise WriteConflict("it is being undone", hint="undo it again")
            if opened.told.phase is Phase.COPYING:
                raise WriteConflict("the import is not finished", hint="run it again, then confirm")
            return self._confirm(opened)

    def undo(self) -> MigrationReport:
        """Restores the new place: what was written goes, what was replaced comes back.

        Only what nobody has changed since, and what the old place still has; anything else stays
        as `CHANGED`. Where such an item replaced another value, that one is kept and the item is
        `UNRESTORED`: the migration stays open until it was undone again, once the item is gone from
        the new place or may go. Run again, it goes on.

        Returns:
            Nothing if this store knows of no migration that could be undone, as in `confirm`.

        Raises:
            WriteConflict: it was confirmed, and that was interrupted, confirm it again.
            StoreError: as `run`.
        """
        with self._held("undo"):
            self._sweep()
            opened = self._opened()
            if opened is None:
                return MigrationReport()
            if opened.told.phase is Phase.CONFIRMING:
                raise WriteConflict("it is confirmed already", hint="confirm it again")
            return self._undo(opened)

    # Which items, and what is to become of each.

    def _pairs(self) -> list[tuple[str, str]]:
        if self._names is not None:
            return sorted(self._names.items())
        return [(name, name) for name in self._source.names() if not name.startswith(RESERVED)]

    def _looked_at(
        self, pairs: list[tuple[str, str]], opened: Begun | None, progress: Tell
    ) -> MigrationReport:
        found = []
        for number, pair in enumerate(pairs):
            found.append(MigratedItem(*pair, self._looker.look(pair, opened).outcome))
            progress(number + 1, len(pairs))
        return MigrationReport(tuple(found))

    # Copying.

    def _begin(self) -> Begun:
        told = Told(Phase.COPYING, new_id())
        begun = self._journals.of(told.id)
        self._step("start")
        begun.append(("start", told.id))
        self._step("key")
        key, name = new_key(), key_name(told.id)
        try:
            self._new.keep(name, key)
        except StoreError:
            # Or every attempt would leave one, which no store has the key of.
            with suppress(StoreError):
                if self._new.record(name) is None:
                    begun.remove()
            raise
        return Begun(begun, told, Fingerprints(key))

    def _require_another_place(self, opened: Begun) -> None:
        """Ends what would copy items onto themselves and then erase them."""
        name = key_name(opened.told.id)
        if not self._new.shows(self._source, name):
            return
        if not opened.told.entries:
            self._new.drop(name)
            opened.journal.remove()
        raise UnsupportedOption("the old place and the new one are the same place")

    def _copy(self, pair: tuple[str, str], opened: Begun) -> Outcome:
        look = self._looker.look(pair, opened)
        if look.outcome not in (Outcome.COPY, Outcome.REPLACE, Outcome.SAME):
            one = MigrationReport((MigratedItem(*pair, look.outcome),))
            _require_possible(one, self._existing)
            return look.outcome
        assert look.value is not None
        name, value = opened.prints.of_pair(*pair), opened.prints.of_value(look.value)
        if look.outcome is Outcome.SAME:
            self._step("same")
            opened.journal.append((journal.SAME, name, value))
            return look.outcome
        if look.outcome is Outcome.REPLACE:
            self._step("set aside")
            self._new.set_aside(opened.aside(pair), pair[1], look.there)
        self._step("intend")
        event = journal.REPLACE if look.outcome is Outcome.REPLACE else journal.WRITE
        opened.journal.append((event, name, value))
        self._step("write")
        if look.is_there_damaged:
            self._new.put_over_damage(pair[1], look.value)
        elif look.there is None or look.there != look.value:
            self._new.put(pair[1], look.there, look.value)
        self._step("wrote")
        opened.journal.append((journal.WROTE, name, value))
        return look.outcome

    # Confirming and undoing.

    def _confirm(self, opened: Begun) -> MigrationReport:
        told = opened.told
        self._require_another_place(opened)
        done, leaving = [], []
        for pair in self._pairs():
            entry = opened.entry(pair)
            if entry is not None and entry.event in (*COPIED, journal.REMOVED):
                outcome = self._may_leave(pair, entry, opened)
                done.append(MigratedItem(*pair, outcome))
                if outcome is Outcome.REMOVE:
                    leaving.append((pair[0], opened.prints.of_pair(*pair), entry.value))
        if told.phase is not Phase.CONFIRMING:
            self._step("confirm")
            opened.journal.append(("confirm",))
        self._step("remove")
        try:
            self._source.remove(*(old for old, _name, _value in leaving))
        except UnsupportedOption:  # nothing changed: it can be undone after all
            opened.journal.append(("copied",))
            raise
        self._step("removed")
        opened.journal.append(*((journal.REMOVED, name, value) for _old, name, value in leaving))
        self._forget(opened, "confirmed")
        return MigrationReport(tuple(done))

    def _may_leave(self, pair: tuple[str, str], entry: Entry, opened: Begun) -> Outcome:
        value, outcome = self._looker.value(pair[0])
        if value is None and outcome is Outcome.MISSING:
            return Outcome.REMOVE  # by an interrupted confirmation, or by its owner
        if value is None or opened.prints.of_value(value) != entry.value:
            return Outcome.CHANGED
        there, _is_damaged = self._looker.there(pair[1])
        return Outcome.CHANGED if there is None else Outcome.REMOVE

    def _undo(self, opened: Begun) -> MigrationReport:
        told = opened.told
        if told.phase is not Phase.UNDOING:
            self._step("undo")
            opened.journal.append(("undo",))
        done = []
        for pair, entry in self._restorer.pairs(opened, self._names):
            outcome = self._restorer.restore(pair, entry, opened)
            if outcome is Outcome.RESTORE and entry.event != journal.RESTORED:
                self._step("restored")
                restored = (journal.RESTORED, opened.prints.of_pair(*pair), entry.value)
                opened.journal.append(restored)
            done.append(MigratedItem(*pair, outcome))
        report = MigrationReport(tuple(done))
        if not report.having(Outcome.UNRESTORED):
            self._forget(opened, "undone")
        return report

    def _forget(self, opened: Begun, word: str) -> None:
        """Erases what was set aside, ends the journal, and only then erases its key.

        While the journal is open, a key that is missing thus means another store, or one that was
        cleared.
        """
        own = key_name(opened.told.id)
        self._new.hide(own)
        for name in self._new.records(own + "."):
            self._step("drop aside")
            self._new.drop(name)
        self._step(word)
        opened.journal.append((word,))
        self._drop(opened)

    def _drop(self, ended: Begun) -> None:
        self._step("drop key")
        self._new.drop(key_name(ended.told.id))
        self._step("drop journal")
        ended.journal.remove()

    # What every call begins with.

    def _found(self) -> Begun | None:
        """The migration whose key lies in this store: open, or killed just after its end."""
        for each in self._journals.all():
            told = each.read()
            key = self._new.record(key_name(told.id)) if told.id else None
            if key is not None:
                return Begun(each, told, Fingerprints(key))
        return None

    def _opened(self) -> Begun | None:
        """The migration that is open; None if none goes to this store."""
        opened = self._found()
        if opened is None or opened.told.phase is Phase.NONE:
            return None
        if opened.told.names not in ("", opened.prints.of_names(self._names)):
            raise UnsupportedOption(
                "an import of other names from this place is open",
                hint="give the same names, or confirm or undo that import first",
            )
        return opened

    def _sweep(self) -> None:
        """Drops what is left of a migration whose process was killed just after its end, if any."""
        found = self._found()
        if found is not None and found.told.phase is Phase.NONE:
            self._drop(found)

    def _held(self, purpose: str) -> Hold:
        fence = Fence(self._journals.fence_path, self._target.clock)
        return fence.hold(purpose, self._target.call())


def _require_possible(report: MigrationReport, existing: str) -> None:
    """Ends a run that could not write everything."""
    problem: TokenkeepError | None = None
    if report.having(Outcome.BAD_NAME):
        problem = InvalidName("an item's name cannot be a name here", hint="give it another")
    elif report.having(Outcome.TOO_LARGE):
        problem = ValueTooLarge("a value is too large for the new place", hint="use a vault")
    elif found := report.having(Outcome.DATABASE_KEY):
        problem = WriteConflict(
            f"items that are keys of databases, which would never open again: {len(found)}",
            hint="skip existing items, or choose other names",
        )
    elif found := report.having(Outcome.CONFLICT):
        hint = "skip or replace existing items"
        if existing == REPLACE:  # what it replaced there before would be replaced itself
            hint = "confirm or undo the import first"
        problem = WriteConflict(
            f"items that the new place has with another value: {len(found)}", hint=hint
        )
    if problem is not None:
        raise problem
