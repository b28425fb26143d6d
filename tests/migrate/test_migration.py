"""From one place into another: what is written, what stays, what can be taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrate.places import Drawer, items_of, kept_in, own_items, storage_in
from tokenkeep.database_item import KEY_BYTES, SALT_BYTES, packed
from tokenkeep.errors import (
    InvalidName,
    SecretDamaged,
    StoreLocked,
    UnsupportedOption,
    ValueTooLarge,
    WriteConflict,
    WrongKey,
)
from tokenkeep.migrate.fingerprint import RESERVED
from tokenkeep.migrate.journal import Phase
from tokenkeep.migrate.looking import REPLACE, SKIP
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.report import MigratedItem, MigrationReport, Outcome
from tokenkeep.migrate.store import StoreSource
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage


def outcomes(report: MigrationReport) -> dict[str, Outcome]:
    return {item.old: item.outcome for item in report.items}


def test_items_are_in_both_places_until_somebody_confirms(tmp_path: Path) -> None:
    """An older version of the application goes on working until there is no way back."""
    drawer, storage = Drawer(a="1", b="2"), storage_in(tmp_path)
    migration = Migration(drawer, storage)
    assert {"a": Outcome.COPY, "b": Outcome.COPY} == outcomes(migration.run())
    assert {"a": "1", "b": "2"} == drawer.values
    assert Phase.COPIED is migration.status()
    assert {"a": Outcome.REMOVE, "b": Outcome.REMOVE} == outcomes(migration.confirm())
    assert {} == drawer.values
    assert {"a": "1", "b": "2"} == items_of(storage)
    assert Phase.NONE is migration.status()


def test_a_plan_says_everything_and_changes_nothing(tmp_path: Path) -> None:
    """A dry run reads both places, reveals no value and leaves no trace."""
    drawer = Drawer(new="1", same="2", other="3")
    drawer.broken["broken"] = SecretDamaged("damaged")
    drawer.values["large"] = "x" * 100_000
    storage = storage_in(tmp_path / "state", same="2", other="four")
    names = {name: name for name in (*drawer.names(), "absent")} | {"same2": "n" * 300}
    report = Migration(drawer, storage, names=names).plan()
    assert {
        "absent": Outcome.MISSING,
        "broken": Outcome.UNREADABLE,
        "large": Outcome.TOO_LARGE,
        "new": Outcome.COPY,
        "other": Outcome.CONFLICT,
        "same": Outcome.SAME,
        "same2": Outcome.BAD_NAME,
    } == outcomes(report)
    assert not report.is_possible
    assert {"same": "2", "other": "four"} == items_of(storage)
    assert not (tmp_path / "state").exists()


def test_another_value_in_the_new_place_is_never_written_over_unasked(tmp_path: Path) -> None:
    """One conflict, and nothing at all is written."""
    drawer, storage = Drawer(a="1", b="2"), storage_in(tmp_path, b="other")
    with pytest.raises(WriteConflict):
        Migration(drawer, storage).run()
    assert {"b": "other"} == items_of(storage)
    assert Phase.NONE is Migration(drawer, storage).status()


def test_skipping_leaves_the_item_in_both_places_for_good(tmp_path: Path) -> None:
    """What was not copied is not taken from the old place either."""
    drawer, storage = Drawer(a="1", b="2"), storage_in(tmp_path, b="other")
    migration = Migration(drawer, storage, existing=SKIP)
    assert {"a": Outcome.COPY, "b": Outcome.KEEP} == outcomes(migration.run())
    migration.confirm()
    assert {"b": "2"} == drawer.values
    assert {"a": "1", "b": "other"} == items_of(storage)


def test_what_was_replaced_comes_back_by_undoing(tmp_path: Path) -> None:
    """Undoing restores the new place as it was before, and leaves nothing of its own there."""
    drawer, storage = Drawer(a="1", b="2"), storage_in(tmp_path, b="other", c="3")
    migration = Migration(drawer, storage, existing=REPLACE)
    migration.run()
    assert "2" == storage.read("b").reveal()  # type: ignore[union-attr]
    assert {"a": Outcome.RESTORE, "b": Outcome.RESTORE} == outcomes(migration.undo())
    assert {"b": "other", "c": "3"} == items_of(storage)
    assert {"a": "1", "b": "2"} == drawer.values
    assert Phase.NONE is migration.status()


def test_what_was_replaced_is_gone_once_confirmed(tmp_path: Path) -> None:
    """The kept value is needed by nobody any more."""
    drawer, storage = Drawer(b="2"), storage_in(tmp_path, b="other")
    migration = Migration(drawer, storage, existing=REPLACE)
    migration.run()
    assert "other" in kept_in(storage)
    migration.confirm()
    assert {"2"} == kept_in(storage)


def test_the_key_of_a_database_is_not_even_replaced_for_the_time_being(tmp_path: Path) -> None:
    """Once confirmed, the database would never open again: nothing at all is written."""
    key, other = (
        packed(Secret(bytes(KEY_BYTES)), bytes(SALT_BYTES), path).reveal() for path in "ab"
    )
    for value in ("2", other):
        drawer, storage = Drawer(a="1", key=value), storage_in(tmp_path, key=key)
        migration = Migration(drawer, storage, existing=REPLACE)
        plan = migration.plan()
        assert {"a": Outcome.COPY, "key": Outcome.DATABASE_KEY} == outcomes(plan)
        assert not plan.is_possible
        with pytest.raises(WriteConflict, match="keys of databases"):
            migration.run()
        assert {"key": key} == items_of(storage)
        Migration(drawer, storage, existing=SKIP).run()
        assert {"a": "1", "key": key} == items_of(storage)
        Migration(drawer, storage).undo()
    drawer, storage = Drawer(key=key), storage_in(tmp_path, key=key)
    assert {"key": Outcome.SAME} == outcomes(Migration(drawer, storage, existing=REPLACE).run())


def test_undoing_takes_back_only_what_nobody_changed(tmp_path: Path) -> None:
    """What the application wrote since is its own; what was there before was never ours."""
    drawer = Drawer(changed="1", same="2", ours="3", only="4")
    storage = storage_in(tmp_path, same="2")
    migration = Migration(drawer, storage)
    migration.run()
    storage.write("changed", "newer")
    del drawer.values["only"]
    assert {
        "changed": Outcome.CHANGED,
        "only": Outcome.CHANGED,
        "ours": Outcome.RESTORE,
    } == outcomes(migration.undo())
    assert {"changed": "newer", "same": "2", "only": "4"} == items_of(storage)
    assert Phase.NONE is migration.status()


def test_confirming_leaves_what_changed_in_the_old_place(tmp_path: Path) -> None:
    """A value that an older version wrote since is nowhere else: it stays."""
    drawer, storage = Drawer(a="1", b="2", c="3", d="4"), storage_in(tmp_path)
    migration = Migration(drawer, storage)
    migration.run()
    drawer.values["a"] = "newer"
    storage.write("b", "the application went on")
    storage.delete("c")
    assert {
        "a": Outcome.CHANGED,
        "b": Outcome.REMOVE,
        "c": Outcome.CHANGED,
        "d": Outcome.REMOVE,
    } == outcomes(migration.confirm())
    assert {"a": "newer", "c": "3"} == drawer.values


def test_a_second_run_brings_what_an_older_version_wrote_since(tmp_path: Path) -> None:
    """What the migration itself wrote gives way to the old place's newer value; and undoes."""
    drawer, storage = Drawer(a="1"), storage_in(tmp_path, a="before")
    Migration(drawer, storage, existing=REPLACE).run()
    drawer.values |= {"a": "newer", "b": "2"}
    report = Migration(drawer, storage).run()
    assert {"a": Outcome.COPY, "b": Outcome.COPY} == outcomes(report)
    assert {"a": Outcome.DONE, "b": Outcome.DONE} == outcomes(Migration(drawer, storage).run())
    assert "newer" == storage.read("a").reveal()  # type: ignore[union-attr]
    Migration(drawer, storage).undo()
    assert {"a": "before"} == items_of(storage)


def test_both_places_changed_is_a_conflict(tmp_path: Path) -> None:
    """Which of the two is newer is not ours to guess."""
    drawer, storage = Drawer(a="1"), storage_in(tmp_path)
    Migration(drawer, storage).run()
    drawer.values["a"] = "one way"
    storage.write("a", "the other")
    assert {"a": Outcome.CONFLICT} == outcomes(Migration(drawer, storage).plan())


def test_an_item_that_does_not_open_stays_and_the_others_move(tmp_path: Path) -> None:
    """Damage to one is no reason to lose it, nor to leave the rest."""
    drawer, storage = Drawer(a="1"), storage_in(tmp_path)
    drawer.broken["b"] = SecretDamaged("damaged")
    migration = Migration(drawer, storage)
    assert {"a": Outcome.COPY, "b": Outcome.UNREADABLE} == outcomes(migration.run())
    migration.confirm()
    assert [("a",)] == drawer.removals


@pytest.mark.parametrize("error", [StoreLocked, WrongKey])
def test_a_place_that_does_not_open_stops_everything(tmp_path: Path, error: type) -> None:
    """Locked is not empty: nothing is written, and the same call goes on later."""
    drawer, storage = Drawer(a="1"), storage_in(tmp_path)
    drawer.broken["b"] = error()
    with pytest.raises(error):
        Migration(drawer, storage).run()
    assert {} == items_of(storage)
    drawer.broken.clear()
    assert {"a": Outcome.COPY} == outcomes(Migration(drawer, storage).run())


def test_names_choose_and_rename(tmp_path: Path) -> None:
    """Only what is named moves, under the name it is given."""
    drawer, storage = Drawer(API="1", OTHER="2"), storage_in(tmp_path)
    migration = Migration(drawer, storage, names={"API": "api_key", "NONE": "none"})
    assert (
        MigratedItem("API", "api_key", Outcome.COPY),
        MigratedItem("NONE", "none", Outcome.MISSING),
    ) == migration.run().items
    migration.confirm()
    assert {"api_key": "1"} == items_of(storage)
    assert {"OTHER": "2"} == drawer.values


def test_an_open_import_is_confirmed_with_the_names_it_was_run_with(tmp_path: Path) -> None:
    """Other names would forget what was copied and leave it in both places."""
    drawer, storage = Drawer(a="1"), storage_in(tmp_path)
    Migration(drawer, storage, names={"a": "b"}).run()
    for other in (Migration(drawer, storage), Migration(drawer, storage, names=["a"])):
        for act in (other.confirm, other.undo, other.run, other.plan):
            with pytest.raises(UnsupportedOption):
                act()
    assert {"a": "1"} == drawer.values


@pytest.mark.parametrize(
    ("new", "error"), [("n" * 300, InvalidName), ("tokenkeep.migration.x", InvalidName)]
)
def test_a_name_that_cannot_be_is_said_before_anything_is_written(
    tmp_path: Path, new: str, error: type[Exception]
) -> None:
    """The remedy is another name."""
    drawer, storage = Drawer(a="1", b="2"), storage_in(tmp_path)
    with pytest.raises(error):
        Migration(drawer, storage, names={"a": "a", "b": new}).run()
    assert {} == items_of(storage)


def test_a_value_too_large_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """A store with a small limit takes all of it or nothing."""
    drawer, storage = Drawer(a="1", b="x" * 70_000), storage_in(tmp_path)
    with pytest.raises(ValueTooLarge):
        Migration(drawer, storage).run()
    assert {} == items_of(storage)


def test_two_items_cannot_get_one_name(tmp_path: Path) -> None:
    """One of them would be lost."""
    with pytest.raises(UnsupportedOption):
        Migration(Drawer(), storage_in(tmp_path), names={"a": "c", "b": "c"})


def test_a_store_that_mangles_values_is_noticed_and_nothing_is_removed(tmp_path: Path) -> None:
    """Read back and compared: a place that keeps something else is no place to move to."""
    drawer, storage = Drawer(a="1"), storage_in(tmp_path, Mangling())
    migration = Migration(drawer, storage)
    with pytest.raises(WriteConflict):
        migration.run()
    with pytest.raises(WriteConflict):
        migration.confirm()
    assert {"a": "1"} == drawer.values


def test_nothing_to_move_leaves_no_trace(tmp_path: Path) -> None:
    """An empty source is no migration."""
    migration = Migration(Drawer(), storage_in(tmp_path))
    assert () == migration.run().items
    assert () == migration.confirm().items
    assert () == migration.undo().items
    assert Phase.NONE is migration.status()


def test_a_new_place_that_was_cleared_meanwhile_ends_the_migration(tmp_path: Path) -> None:
    """Confirming or undoing then does nothing, and running again copies anew, to its own end."""
    drawer, storage = Drawer(a="1"), storage_in(tmp_path)
    migration = Migration(drawer, storage)
    migration.run()
    storage.delete_all()
    for act in (migration.confirm, migration.undo):
        assert () == act().items
    assert {"a": "1"} == drawer.values
    assert {"a": Outcome.COPY} == outcomes(migration.run())
    assert {"a": Outcome.REMOVE} == outcomes(migration.confirm())
    assert {} == drawer.values
    for act in (migration.run, migration.confirm, migration.undo):
        assert () == act().items
    assert {"a": "1"} == items_of(storage)


@pytest.mark.parametrize("act", ["run", "confirm", "undo"])
def test_an_application_never_sees_what_a_migration_keeps(tmp_path: Path, act: str) -> None:
    """Before any step: not among the names, nor the items, nor the changes; clearing ends it."""
    old, storage = storage_in(tmp_path, a="1", b="2"), storage_in(tmp_path, b="other")
    heard: list[str] = []
    storage.listen(lambda change: heard.extend((*change.added, *change.removed)), 3600)

    def look(_step: str) -> None:
        assert {"a", "b"} >= set(storage.names()) == items_of(storage).keys()

    Migration(StoreSource(old, "old"), storage, existing=REPLACE, step=look).run()
    if act != "run":
        getattr(Migration(StoreSource(old, "old"), storage, step=look), act)()
    else:
        assert [] != own_items(storage)
        assert 2 == storage.delete_all()
    assert [] == own_items(storage)
    assert set(heard) <= {"a", "b"}


class Glimpse:
    """A source that reads a store as somebody else's library does: items are all it finds."""

    identity = "glimpse"

    def __init__(self, storage: SecureStorage) -> None:
        self._storage = storage
        self.names, self.read = storage.names, storage.read

    def remove(self, *names: str) -> None:
        for name in names:
            self._storage.delete(name)


@pytest.mark.parametrize("source", [Glimpse, StoreSource])
def test_one_place_is_not_two(tmp_path: Path, source: type) -> None:
    """However a source reads what lies in the new place: nothing is erased, and nothing is left."""
    storage = storage_in(tmp_path, a="1", b="2")
    migration = Migration(source(storage), storage)
    with pytest.raises(UnsupportedOption, match="same place"):
        migration.run()
    assert () == migration.confirm().items
    assert ({"a": "1", "b": "2"}, []) == (items_of(storage), own_items(storage))


def test_a_place_that_becomes_the_new_one_is_noticed(tmp_path: Path) -> None:
    """keyring may use another keyring by the time an import is confirmed: no item is lost."""
    old, storage = storage_in(tmp_path, a="1"), storage_in(tmp_path)
    Migration(Glimpse(old), storage).run()
    migration = Migration(Glimpse(storage), storage)
    with pytest.raises(UnsupportedOption, match="same place"):
        migration.confirm()
    assert {"a": "1"} == items_of(storage)
    Migration(Glimpse(old), storage).confirm()
    assert ({}, {"a": "1"}) == (items_of(old), items_of(storage))


def test_what_was_shown_and_left_behind_goes_with_the_migration(tmp_path: Path) -> None:
    """Killed while a source was shown an item, which is then nobody's."""
    for act in ("run", "confirm", "undo"):
        old, storage = storage_in(tmp_path / act, a="1"), storage_in(tmp_path / act)
        Migration(Glimpse(old), storage).run()
        (key,) = own_items(storage)
        storage.write(RESERVED + key, b"")
        getattr(Migration(Glimpse(old), storage), act)()
        assert (["a"] if act == "confirm" or act == "run" else []) == storage.names()


def test_another_store_is_not_where_the_items_went(tmp_path: Path) -> None:
    """There is nothing to confirm or to undo there: it would take the only copy's twin away."""
    drawer, storage = Drawer(a="1"), storage_in(tmp_path)
    Migration(drawer, storage).run()
    other = storage_in(tmp_path, a="1")
    for act in (Migration(drawer, other).confirm, Migration(drawer, other).undo):
        assert () == act().items
    assert ({"a": "1"}, {"a": "1"}) == (drawer.values, items_of(other))
    Migration(drawer, storage).undo()
    assert {} == items_of(storage)


class Mangling:
    """A store that keeps text in its own way."""

    def __new__(cls) -> object:
        from tokenkeep.backends.memory import MemoryStore

        class Store(MemoryStore):
            def replace(self, name, expected, value, call):  # type: ignore[no-untyped-def]
                if value is not None and value.size == 1:
                    value = Secret(b"?")
                super().replace(name, expected, value, call)

        return Store()
