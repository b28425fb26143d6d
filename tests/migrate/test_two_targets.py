"""One source on its way into two stores of a kind: each has an import of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from migrate.places import (
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
from tokenkeep.errors import StoreFull
from tokenkeep.migrate.journal import Phase
from tokenkeep.migrate.looking import REPLACE
from tokenkeep.migrate.migration import Migration
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.faulty import Fails, FaultyStore
from tokenkeep.vault.key_file import KeyFile

OLD = {"a": "1", "b": "2"}
BEFORE = {"b": "other"}
#: More than any of the actions has here.
STEPS = 20

Make = Callable[[str], SecureStorage]


def vault_in(place: Path, name: str) -> VaultStore:
    return VaultStore(VaultOptions(place / name, KeyFile(place / f"{name}.key")))


@pytest.fixture(params=["memory", "plain", "vault"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes stores by name, of one kind, for one service with one state directory."""
    stores = {"memory": lambda _name: MemoryStore(), "plain": lambda _name: PlainStore()}
    of_name = stores.get(request.param, lambda name: vault_in(tmp_path, name))
    return lambda name: storage_in(tmp_path / "state", of_name(name))


def journals_in(place: Path) -> list[Path]:
    return sorted((place / "state").rglob("*.journal"))


def ready_for(action: str, make: Make, number: int) -> tuple[Drawer, SecureStorage, SecureStorage]:
    """A source and two new stores: the first has another item, and the import if that is to end."""
    drawer = Drawer(**OLD)
    first, second = make(f"first {number}"), make(f"second {number}")
    first.write("b", "other")
    if action != "run":
        Migration(drawer, first, existing=REPLACE).run()
    return drawer, first, second


@pytest.mark.parametrize("ending", ["undo", "confirm"])
def test_the_import_into_a_second_store_leaves_the_first_one_s_way_back(
    tmp_path: Path, make: Make, ending: str
) -> None:
    """Each is undone or confirmed by itself, in whatever order, and nothing of them is left."""
    drawer, first, second = Drawer(**OLD), make("first"), make("second")
    for storage in (first, second):
        storage.write("b", "other")
        Migration(drawer, storage, existing=REPLACE).run()
    assert [Phase.COPIED] * 2 == [Migration(drawer, each).status() for each in (first, second)]
    Migration(drawer, second, existing=REPLACE).undo()
    assert (BEFORE, OLD) == (items_of(second), items_of(first))
    assert "other" in kept_in(first)
    getattr(Migration(drawer, first, existing=REPLACE), ending)()
    assert (BEFORE, OLD) if ending == "undo" else (OLD, {}) == (items_of(first), drawer.values)
    assert ([], [], []) == (own_items(first), own_items(second), journals_in(tmp_path))


def test_both_are_confirmed_though_the_first_one_took_what_they_share(
    tmp_path: Path, make: Make
) -> None:
    """What is gone from the old place is confirmed in the second store all the same."""
    drawer, first, second = Drawer(**OLD), make("first"), make("second")
    for storage in (first, second):
        Migration(drawer, storage).run()
    for storage in (first, second):
        Migration(drawer, storage).confirm()
    assert ({}, OLD, OLD) == (drawer.values, items_of(first), items_of(second))
    assert ([], [], []) == (own_items(first), own_items(second), journals_in(tmp_path))


@pytest.mark.parametrize("ending", ["confirm", "undo"])
def test_an_import_that_is_open_elsewhere_is_no_error_here(
    tmp_path: Path, make: Make, ending: str
) -> None:
    """Before, during and after a store's own import: what it does not know of is nothing to it."""
    drawer, first, second = Drawer(**OLD), make("first"), make("second")
    Migration(drawer, first).run()
    assert () == getattr(Migration(drawer, second), ending)().items
    Migration(drawer, second).run()
    assert 2 == len(getattr(Migration(drawer, second), ending)().items)
    assert () == getattr(Migration(drawer, second), ending)().items
    assert Phase.COPIED is Migration(drawer, first).status()
    drawer.values.clear()  # and with nothing to copy, as `import --remove` does it
    assert () == Migration(drawer, second).run().items
    assert () == getattr(Migration(drawer, second), ending)().items
    assert (OLD if ending == "confirm" else {}) == items_of(second)
    assert OLD == items_of(first)
    Migration(drawer, first).confirm()
    assert ([], [], []) == (own_items(first), own_items(second), journals_in(tmp_path))


@pytest.mark.parametrize("action", ["run", "confirm", "undo"])
def test_a_store_cleared_before_any_step_imports_anew_and_forgets_the_rest(
    tmp_path: Path, make: Make, action: str
) -> None:
    """A journal whose key was erased speaks to nobody, wherever its process was killed."""
    for number in range(1, STEPS):
        drawer, storage = Drawer(**OLD), make(f"first {number}")
        storage.write("b", "other")
        if action != "run":
            Migration(drawer, storage, existing=REPLACE).run()
        before = Before(number)
        with suppress(Crash):
            getattr(Migration(drawer, storage, existing=REPLACE, step=before), action)()
        storage.delete_all()
        drawer.values.update(OLD)  # where it was confirmed already
        migration = Migration(drawer, storage)
        assert Phase.NONE is migration.status()
        for ending in (migration.confirm, migration.undo):
            assert () == ending().items, number
        migration.run()
        assert 2 == len(migration.confirm().items), number
        for ending in (migration.confirm, migration.undo):
            assert () == ending().items, number
        assert ({}, OLD, []) == (drawer.values, items_of(storage), own_items(storage)), number
        if before.count < number:
            break
    assert 3 < number < STEPS - 1


@pytest.mark.parametrize("action", ["run", "confirm", "undo"])
def test_killed_before_any_step_it_goes_on_after_the_import_into_another_store(
    tmp_path: Path, make: Make, action: str
) -> None:
    """What the other one does in between is no business of the first."""
    for number in range(1, STEPS):
        drawer, first, second = ready_for(action, make, number)
        before = Before(number)
        try:
            getattr(Migration(drawer, first, existing=REPLACE, step=before), action)()
        except Crash:
            pass
        Migration(drawer, second).run()
        if before.names[-1] != "drop journal":  # which is the end of it
            getattr(Migration(drawer, first, existing=REPLACE), action)()
        assert (BEFORE if action == "undo" else OLD) == items_of(first), number
        if action == "run":
            assert Phase.COPIED is Migration(drawer, first).status()
            Migration(drawer, first, existing=REPLACE).undo()
            assert BEFORE == items_of(first), number
        Migration(drawer, second).confirm()
        assert {} == drawer.values
        assert ([], []) == (own_items(first), own_items(second)), number
        if before.count < number:
            break
    assert 3 < number < STEPS - 1


def as_it_was_named_before(place: Path) -> None:
    """An earlier version had one journal for all stores of a kind."""
    (journal,) = journals_in(place)
    journal.rename(journal.with_name(journal.name.partition("-")[0] + ".journal"))


@pytest.mark.parametrize("action", ["run", "confirm", "undo"])
def test_an_open_journal_that_has_no_id_in_its_name_is_found_and_finished(
    tmp_path: Path, make: Make, action: str
) -> None:
    """Wherever the earlier version was killed, also once there is an import into another store."""
    for number in range(3, STEPS):
        drawer, first, second = ready_for(action, make, number)
        before = Before(number)
        with pytest.raises(Crash):
            getattr(Migration(drawer, first, existing=REPLACE, step=before), action)()
        if before.names[-1] == "drop journal":
            break
        as_it_was_named_before(tmp_path)
        Migration(drawer, second).run()
        getattr(Migration(drawer, first, existing=REPLACE), action)()
        assert (BEFORE if action == "undo" else OLD) == items_of(first), number
        if action == "run":
            Migration(drawer, first, existing=REPLACE).undo()
            assert BEFORE == items_of(first), number
        Migration(drawer, second).undo()
        assert ([], [], []) == (own_items(first), own_items(second), journals_in(tmp_path))
        if before.names[-1] == "copied":
            break
    assert 3 < number < STEPS - 1


def test_a_vault_that_is_moved_takes_its_import_along(tmp_path: Path) -> None:
    """Neither its path nor what lies there now says whose import it is."""
    drawer, storage = Drawer(**OLD), storage_in(tmp_path / "state", vault_in(tmp_path, "vault"))
    Migration(drawer, storage).run()
    storage.store.close()  # type: ignore[attr-defined]
    (tmp_path / "vault").rename(tmp_path / "moved")
    (tmp_path / "vault.key").rename(tmp_path / "moved.key")
    instead = storage_in(tmp_path / "state", vault_in(tmp_path, "vault"))
    assert () == Migration(drawer, instead).confirm().items
    assert OLD == drawer.values
    Migration(drawer, instead).run()
    moved = storage_in(tmp_path / "state", vault_in(tmp_path, "moved"))
    Migration(drawer, moved).undo()
    assert ({}, OLD) == (items_of(moved), items_of(instead))
    assert Phase.COPIED is Migration(drawer, instead).status()


@pytest.mark.parametrize("after", [False, True], ids=["fails", "loses the answer"])
def test_attempts_that_write_nothing_leave_no_journal(tmp_path: Path, after: bool) -> None:
    """A program that tries at every start, into a store that is full, fills nothing."""
    drawer, inner = Drawer(**OLD), MemoryStore()
    faulty = FaultyStore(inner, {"replace": Fails(StoreFull, after=after)})
    full = storage_in(tmp_path / "state", faulty)
    with pytest.raises(StoreFull):
        Migration(drawer, full).run()
    assert int(after) == len(journals_in(tmp_path)) == len(own_items(full))
    assert () == Migration(drawer, full).undo().items
    assert ([], []) == (journals_in(tmp_path), own_items(full))
