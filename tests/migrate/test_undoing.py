"""Undoing after the places went on: neither what was replaced is lost, nor what is there now."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from contract.places import spoil
from migrate.places import (
    SERVICE,
    Before,
    Crash,
    Drawer,
    PlainStore,
    items_of,
    kept_in,
    own_items,
    storage_in,
)
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import SecretDamaged, WriteConflict
from tokenkeep.item import ItemName
from tokenkeep.migrate.journal import Phase
from tokenkeep.migrate.looking import REPLACE
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.report import MigrationReport, Outcome
from tokenkeep.storage import SecureStorage
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.quarantine import entries
from tokenkeep.vault.vault import Vault

OLD = {"a": "1", "b": "2", "c": "3"}
BEFORE = {"a": "before", "b": "other"}
UNRESTORED, RESTORE, CHANGED = Outcome.UNRESTORED, Outcome.RESTORE, Outcome.CHANGED

Again = Callable[..., Migration]
Change = Callable[[Drawer, SecureStorage, Again], object]


def outcomes(report: MigrationReport) -> dict[str, Outcome]:
    return {item.old: item.outcome for item in report.items}


def old_goes_on(drawer: Drawer, storage: SecureStorage, again: Again) -> None:
    drawer.values["a"] = "newer"


def old_shrinks(drawer: Drawer, storage: SecureStorage, again: Again) -> None:
    del drawer.values["a"]


def old_is_emptied(drawer: Drawer, storage: SecureStorage, again: Again) -> None:
    drawer.values.clear()


def old_breaks(drawer: Drawer, storage: SecureStorage, again: Again) -> None:
    drawer.broken["a"] = SecretDamaged("damaged")


def new_goes_on(drawer: Drawer, storage: SecureStorage, again: Again) -> None:
    storage.write("a", "newer")


def new_goes_on_alone(drawer: Drawer, storage: SecureStorage, again: Again) -> None:
    old_shrinks(drawer, storage, again)
    new_goes_on(drawer, storage, again)


def both_become_equal(drawer: Drawer, storage: SecureStorage, again: Again) -> None:
    """A later run says of the item that the two places have the same."""
    old_goes_on(drawer, storage, again)
    new_goes_on(drawer, storage, again)
    again().run()


def new_loses_it(drawer: Drawer, storage: SecureStorage, again: Again) -> None:
    old_shrinks(drawer, storage, again)
    storage.delete("a")


ALL = dict.fromkeys("abc", RESTORE)
#: What becomes of each item.
CHANGES: dict[Change, dict[str, Outcome]] = {
    old_goes_on: ALL | {"a": UNRESTORED},
    old_shrinks: ALL | {"a": UNRESTORED},
    old_is_emptied: {"a": UNRESTORED, "b": UNRESTORED, "c": CHANGED},
    old_breaks: ALL | {"a": UNRESTORED},
    new_goes_on: ALL | {"a": UNRESTORED},
    new_goes_on_alone: ALL | {"a": UNRESTORED},
    both_become_equal: ALL | {"a": UNRESTORED},
    new_loses_it: ALL,
}
each_change = pytest.mark.parametrize(
    ("change", "expected"), CHANGES.items(), ids=[change.__name__ for change in CHANGES]
)
each_store = pytest.mark.parametrize("store", [MemoryStore, PlainStore])


class Moved:
    """An import that replaced items, after which a place went on."""

    def __init__(self, place: Path, store: type, change: Change, names: list[str] | None) -> None:
        self.drawer, self.storage = Drawer(**OLD), storage_in(place, store(), **BEFORE)
        self._names = names
        self.again().run()
        change(self.drawer, self.storage, self.again)
        self.there = items_of(self.storage)

    def again(self, **options: Before) -> Migration:
        return Migration(self.drawer, self.storage, names=self._names, existing=REPLACE, **options)

    def require_nothing_lost(self) -> None:
        """Of what was there before, what there was since, and what the old place had then."""
        kept = kept_in(self.storage) | {*self.drawer.values.values()}
        assert {*BEFORE.values(), *self.there.values()} <= kept

    def make_room(self, expected: dict[str, Outcome]) -> None:
        for name, outcome in expected.items():
            if outcome is UNRESTORED:
                self.storage.delete(name)

    def require_undone(self, expected: dict[str, Outcome]) -> None:
        """All is as it was before, but for what was never replaced and is nowhere else."""
        left = {name: self.there[name] for name in expected if expected[name] is CHANGED}
        assert BEFORE | left == items_of(self.storage)
        assert Phase.NONE is self.again().status()
        assert [] == own_items(self.storage)


@each_store
@each_change
@pytest.mark.parametrize("names", [None, list(OLD)])
def test_what_cannot_be_restored_is_kept_until_it_can(
    tmp_path: Path,
    store: type,
    change: Change,
    expected: dict[str, Outcome],
    names: list[str] | None,
) -> None:
    """Deleting what is there now makes room for what was replaced; until then both are kept."""
    moved = Moved(tmp_path, store, change, names)
    for _ in range(2 if UNRESTORED in expected.values() else 0):
        assert expected == outcomes(moved.again().undo())
        moved.require_nothing_lost()
        assert Phase.UNDOING is moved.again().status()
        for act in ("run", "confirm"):
            with pytest.raises(WriteConflict):
                getattr(moved.again(), act)()
        moved.require_nothing_lost()
    moved.make_room(expected)
    report = moved.again().undo()
    assert {UNRESTORED} & {*outcomes(report).values()} == set()
    moved.require_undone(expected)


@each_store
@each_change
def test_undoing_killed_before_each_step_keeps_everything(
    tmp_path: Path, store: type, change: Change, expected: dict[str, Outcome]
) -> None:
    """The next one says of every item what one that was not killed would have said."""
    for number in range(1, 100):
        moved = Moved(tmp_path / str(number), store, change, None)
        try:
            moved.again(step=Before(number)).undo()
        except Crash:
            moved.require_nothing_lost()
        else:
            break
        if moved.again().status() is not Phase.NONE:
            assert expected == outcomes(moved.again().undo()), number
        if UNRESTORED in expected.values():
            moved.require_nothing_lost()
        moved.make_room(expected)
        moved.again().undo()
        moved.require_undone(expected)
    assert number > 1


def test_what_was_restored_is_the_applications_again(tmp_path: Path) -> None:
    """While another item cannot be restored yet: what it writes there is never taken back."""
    moved = Moved(tmp_path, MemoryStore, new_goes_on, None)
    moved.again().undo()
    moved.storage.write("b", OLD["b"])
    moved.storage.write("c", OLD["c"])
    moved.storage.delete("a")
    assert ALL == outcomes(moved.again().undo())
    assert {**OLD, "a": "before"} == items_of(moved.storage)


def test_what_was_set_aside_is_not_replaced_by_a_later_run(tmp_path: Path) -> None:
    """Only one of the two could be restored: the import is confirmed or undone first."""
    drawer, storage = Drawer(a="1"), storage_in(tmp_path, a="before")
    Migration(drawer, storage, existing=REPLACE).run()
    storage.write("a", "the application went on")
    drawer.values["a"] = "newer"
    with pytest.raises(WriteConflict) as caught:
        Migration(drawer, storage, existing=REPLACE).run()
    assert "confirm or undo the import first" == caught.value.hint
    assert {"before", "the application went on"} <= kept_in(storage)
    Migration(drawer, storage).confirm()
    assert ("newer", {"a": "the application went on"}) == (drawer.values["a"], items_of(storage))


def test_undoing_leaves_damage_in_quarantine(tmp_path: Path) -> None:
    """Taking back what replaced it would erase the bytes that nobody could read."""
    path, key = str(tmp_path / "vault"), KeyFile(tmp_path / "key")
    make = partial(VaultStore, VaultOptions(path, key))
    drawer = Drawer(a="1")
    with storage_in(tmp_path, make(), a="before") as storage:
        spoil(make, path, ItemName(SERVICE, "a"))
        report = Migration(drawer, storage, existing=REPLACE).run()
        assert {"a": Outcome.REPLACE} == outcomes(report)
        assert {"a": UNRESTORED} == outcomes(Migration(drawer, storage).undo())
        quarantine = entries(Vault(path, (key,), False), storage.call())
        assert ({"a": "1"}, 1) == (items_of(storage), len(quarantine))
        storage.delete("a")
        assert {"a": RESTORE} == outcomes(Migration(drawer, storage).undo())
        assert ({}, []) == (items_of(storage), own_items(storage))
