"""Killed before any step, by anybody, the next one goes on; nothing is lost on the way.

All of it over a store that compares and writes at once, and over one that is read before it is
written.
"""

from __future__ import annotations

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
    until_it_ends,
)
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import StoreLocked, StoreTimeout, WriteConflict
from tokenkeep.migrate.journal import Phase
from tokenkeep.migrate.looking import REPLACE
from tokenkeep.migrate.migration import Migration
from tokenkeep.store import Transactional
from tokenkeep.testing.faulty import Fails, FaultyStore

OLD = {"a": "1", "b": "2", "c": "3"}
BEFORE = {"b": "other", "c": "3"}
AFTER = {"a": "1", "b": "2", "c": "3"}


STORES = (MemoryStore, PlainStore)
each_store = pytest.mark.parametrize("store", STORES)


def steps_of(action: str, tmp_path: Path, store: type) -> int:
    drawer, storage = Drawer(**OLD), storage_in(tmp_path / "count", store(), **BEFORE)
    Migration(drawer, storage, existing=REPLACE).run()
    counter = Before()
    getattr(Migration(drawer, storage, existing=REPLACE, step=counter), action)()
    return counter.count


def test_the_two_stores_differ_in_what_they_do_at_once() -> None:
    """Else each test here would be played on the same twice."""
    assert [True, False] == [isinstance(store(), Transactional) for store in STORES]


@each_store
def test_a_run_killed_before_each_step_goes_on(tmp_path: Path, store: type) -> None:
    """Everybody's values are in one of the places at any time; the last run finishes."""
    drawer, storage = Drawer(**OLD), storage_in(tmp_path, store(), **BEFORE)

    def attempt(before: Before) -> None:
        try:
            Migration(drawer, storage, existing=REPLACE, step=before).run()
        finally:
            assert OLD == drawer.values
            assert "other" in kept_in(storage)
            assert OLD.keys() >= set(storage.names())

    assert until_it_ends(attempt) > 0
    assert Phase.COPIED is Migration(drawer, storage).status()
    assert AFTER == items_of(storage)
    Migration(drawer, storage).undo()
    assert BEFORE == items_of(storage)


@each_store
@pytest.mark.parametrize("number", range(1, 16))
def test_a_run_killed_before_one_step_is_finished_or_undone(
    tmp_path: Path, number: int, store: type
) -> None:
    """Each single interruption leads to the same end, both ways."""
    for ending in ("run", "undo"):
        state = tmp_path / ending
        drawer, storage = Drawer(**OLD), storage_in(state, store(), **BEFORE)
        before = Before(number)
        try:
            Migration(drawer, storage, existing=REPLACE, step=before).run()
        except Crash:
            pass
        else:
            assert before.count < number
        migration = Migration(drawer, storage, existing=REPLACE)
        getattr(migration, ending)()
        if ending == "undo":
            assert BEFORE == items_of(storage)
        else:
            migration.confirm()
            assert AFTER == items_of(storage)
            assert {} == drawer.values
        assert Phase.NONE is migration.status()


@each_store
@pytest.mark.parametrize(("action", "old", "new"), [("confirm", {}, AFTER), ("undo", OLD, BEFORE)])
def test_confirming_or_undoing_killed_before_each_step_goes_on(
    tmp_path: Path, action: str, old: dict[str, str], new: dict[str, str], store: type
) -> None:
    """Begun is as good as done: whoever calls next finishes it."""
    steps = steps_of(action, tmp_path, store)
    assert steps > 3
    for number in range(1, steps + 1):
        drawer, storage = Drawer(**OLD), storage_in(tmp_path / str(number), store(), **BEFORE)
        Migration(drawer, storage, existing=REPLACE).run()
        with pytest.raises(Crash):
            getattr(Migration(drawer, storage, step=Before(number)), action)()
        getattr(Migration(drawer, storage), action)()
        assert (old, new) == (drawer.values, items_of(storage)), number
        assert Phase.NONE is Migration(drawer, storage).status()


@each_store
@pytest.mark.parametrize("action", ["confirm", "undo"])
def test_a_run_finishes_what_was_begun_after_the_last_one(
    tmp_path: Path, action: str, store: type
) -> None:
    """An interrupted confirmation is not a migration to go on with."""
    for number in range(2, steps_of(action, tmp_path, store) + 1):
        drawer, storage = Drawer(**OLD), storage_in(tmp_path / str(number), store(), **BEFORE)
        Migration(drawer, storage, existing=REPLACE).run()
        with pytest.raises(Crash):
            getattr(Migration(drawer, storage, step=Before(number)), action)()
        if action == "undo":
            Migration(drawer, storage, existing=REPLACE).run()
            assert Phase.COPIED is Migration(drawer, storage).status()
        else:
            if Migration(drawer, storage).status() is Phase.NONE:
                assert () == Migration(drawer, storage).undo().items
            else:
                with pytest.raises(WriteConflict):
                    Migration(drawer, storage).undo()
            Migration(drawer, storage).run()
            assert [] == own_items(storage)
            assert ({}, AFTER) == (drawer.values, items_of(storage))


@each_store
@pytest.mark.parametrize(("ending", "old", "new"), [("confirm", {}, AFTER), ("undo", OLD, BEFORE)])
@pytest.mark.parametrize("after", [False, True])
def test_a_store_that_locks_at_any_call_loses_nothing(
    tmp_path: Path,
    after: bool,
    ending: str,
    old: dict[str, str],
    new: dict[str, str],
    store: type,
) -> None:
    """Locked in the middle, whether or not the call took effect: the same call later finishes."""
    calls = 0
    while True:
        calls += 1
        drawer, inner, state = Drawer(**OLD), store(), tmp_path / f"{calls}"
        good = storage_in(state, inner, **BEFORE)
        bad = storage_in(state, FaultyStore(inner, {calls: Fails(StoreLocked, after=after)}))
        try:
            Migration(drawer, bad, existing=REPLACE).run()
            getattr(Migration(drawer, bad), ending)()
        except StoreLocked:
            assert OLD.items() <= {**items_of(good), **drawer.values}.items()
            assert ending == "confirm" or "other" in kept_in(good)
            Migration(drawer, good, existing=REPLACE).run()
            getattr(Migration(drawer, good, existing=REPLACE), ending)()
            assert (old, new) == (drawer.values, items_of(good)), calls
            assert [] == own_items(good)
        else:
            break
    assert calls > 20


@each_store
@pytest.mark.parametrize(
    ("action", "at", "name"), [("run", "write", "b"), ("undo", "take back", "a")]
)
def test_what_changes_under_our_hands_is_never_written_over(
    tmp_path: Path, store: type, action: str, at: str, name: str
) -> None:
    """The application writes between the look and the write: it is told, and its value stays."""
    drawer, storage = Drawer(**OLD), storage_in(tmp_path, store(), **BEFORE)
    if action == "undo":
        Migration(drawer, storage, existing=REPLACE).run()
    steps: list[str] = []

    def meanwhile(step: str) -> None:
        steps.append(step)
        # The second write is of b; the first thing taken back is a.
        if step == at and steps.count(at) == (2 if action == "run" else 1):
            storage.write(name, "the application's")

    with pytest.raises(WriteConflict, match="meanwhile"):
        getattr(Migration(drawer, storage, existing=REPLACE, step=meanwhile), action)()
    assert "the application's" == items_of(storage)[name]
    assert "other" in kept_in(storage)
    assert OLD == drawer.values


def test_only_one_at_a_time(tmp_path: Path) -> None:
    """While one process is at it, another is told who; then it takes over."""
    drawer, storage = Drawer(**OLD), storage_in(tmp_path)
    storage.timeout = 0.05

    def meanwhile(step: str) -> None:
        if step == "write":
            with pytest.raises(StoreTimeout, match=r"another process is at it: pid \d+"):
                Migration(drawer, storage).run()
            raise Crash

    with pytest.raises(Crash):
        Migration(drawer, storage, step=meanwhile).run()
    Migration(drawer, storage).run()
    assert OLD.items() <= items_of(storage).items()
