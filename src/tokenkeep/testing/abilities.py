"""The contracts of what a store may do beyond the four calls, and of what it may claim.

`contract` says how to use them; `StoreContract` fails for an ability without its contract.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tokenkeep.errors import SecretDamaged, ValueTooLarge, WriteConflict
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Indexed, Store, Transactional
from tokenkeep.testing.elsewhere import begin, count_up, elsewhere, finish
from tokenkeep.testing.material import (
    NAMES,
    ONE,
    OTHER_SERVICE,
    RECORD,
    ROUNDS,
    SERVICE,
    TWO,
    VALUES,
    call,
    closing,
    revealed,
)
from tokenkeep.testing.together import THREADS, together


class TransactionalContract:
    """What holds for a store with `replace`."""

    def test_replace_needs_what_is_there(self, store: Any) -> None:
        """The write happens if the item is still what the caller read."""
        store.replace(ONE, None, Secret("1"), call())
        store.replace(ONE, Secret("1"), Secret("2"), call())
        assert b"2" == revealed(store.read(ONE, call()))

    def test_replace_of_something_else_conflicts(self, store: Any) -> None:
        """Another value, or no value, is a conflict, and nothing changed."""
        store.write(ONE, Secret("theirs"), call())
        for expected in (Secret("mine"), None, Secret("")):
            for value in (Secret("new"), None):
                with pytest.raises(WriteConflict):
                    store.replace(ONE, expected, value, call())
        assert b"theirs" == revealed(store.read(ONE, call()))

    def test_replace_of_nothing_conflicts(self, store: Any) -> None:
        """An item that is expected but absent is a conflict; empty is not absent."""
        for value in (Secret("new"), None):
            for expected in (Secret("old"), Secret("")):
                with pytest.raises(WriteConflict):
                    store.replace(ONE, expected, value, call())
        assert store.read(ONE, call()) is None

    def test_replace_with_none_deletes(self, store: Any) -> None:
        """`value=None` deletes what is expected; expecting nothing and writing nothing is fine."""
        store.write(ONE, Secret("1"), call())
        store.replace(ONE, Secret("1"), None, call())
        assert store.read(ONE, call()) is None
        assert [] == store.names(SERVICE, call())
        store.replace(ONE, None, None, call())
        assert [] == store.names(SERVICE, call())

    def test_replace_keeps_to_its_kind(self, store: Any) -> None:
        """A record is not replaced by way of the item with its name."""
        store.write(RECORD, Secret("record"), call())
        store.replace(ONE, None, Secret("item"), call())
        assert b"record" == revealed(store.read(RECORD, call()))

    def test_replace_refuses_what_write_refuses(self, store: Any) -> None:
        """A value above the limit changes nothing."""
        limit = store.facts.max_value_bytes
        store.write(ONE, Secret("old"), call())
        if limit is not None:
            with pytest.raises(ValueTooLarge):
                store.replace(ONE, Secret("old"), Secret(b"x" * (limit + 1)), call())
        assert b"old" == revealed(store.read(ONE, call()))

    def test_threads_counting_lose_nothing(self, store: Any) -> None:
        """Eight threads add to one number by read and replace: the sum is right."""
        together(lambda _number: count_up(store, ONE, ROUNDS))
        assert str(THREADS * ROUNDS).encode() == revealed(store.read(ONE, call()))

    def test_one_of_many_creating_threads_wins(self, store: Any) -> None:
        """Of eight that expect nothing, one creates the item."""

        def work(number: int) -> bool:
            try:
                store.replace(ONE, None, Secret(str(number)), call())
            except WriteConflict:
                return False
            return True

        won = together(work)
        assert 1 == sum(won)
        assert str(won.index(True)).encode() == revealed(store.read(ONE, call()))


class IndexedContract:
    """What holds for a store with `contains`."""

    def test_contains_what_was_written(self, store: Any) -> None:
        """True between write and delete, for this kind and service alone."""
        assert store.contains(ONE, call()) is False
        store.write(ONE, Secret(""), call())
        assert store.contains(ONE, call()) is True
        assert store.contains(RECORD, call()) is False
        assert store.contains(ItemName(OTHER_SERVICE, "one"), call()) is False
        store.delete(ONE, call())
        assert store.contains(ONE, call()) is False


class VersionedContract:
    """What holds for a store with `version`."""

    def test_version_differs_after_every_change(self, store: Any) -> None:
        """Writing, replacing a value by the same length and deleting each change it."""
        seen = [store.version(call())]
        for value in ("a", "b", "a"):
            store.write(ONE, Secret(value), call())
            seen.append(store.version(call()))
        store.delete(ONE, call())
        seen.append(store.version(call()))
        assert all(left != right for left, right in itertools.pairwise(seen))

    def test_version_stays_while_nothing_changes(self, store: Any) -> None:
        """Reading, listing and a delete of nothing leave it."""
        store.write(ONE, Secret("a"), call())
        before = store.version(call())
        store.read(ONE, call())
        store.names(SERVICE, call())
        store.delete(TWO, call())
        assert before == store.version(call())


class TrackingContract:
    """What holds for a store with `changes`."""

    def test_everything_is_new_at_first(self, store: Any) -> None:
        """Both kinds, sorted, of this service alone; nothing before the first write."""
        assert [] == store.changes(SERVICE, None, call())[1]
        for name in (TWO, ONE, RECORD, ItemName(OTHER_SERVICE, "one")):
            store.write(name, Secret("a"), call())
        assert sorted([ONE, TWO, RECORD]) == store.changes(SERVICE, None, call())[1]

    def test_what_was_written_added_or_removed_is_told_once(self, store: Any) -> None:
        """Also what has a value of the same length now; the rest is not among it."""
        for name in (ONE, TWO):
            store.write(name, Secret("a"), call())
        since, _names = store.changes(SERVICE, None, call())
        assert [] == store.changes(SERVICE, since, call())[1]
        store.write(ONE, Secret("b"), call())
        store.write(RECORD, Secret("a"), call())
        since, names = store.changes(SERVICE, since, call())
        assert sorted([ONE, RECORD]) == names
        store.delete(TWO, call())
        since, names = store.changes(SERVICE, since, call())
        assert [TWO] == names
        store.write(TWO, Secret("a"), call())
        store.delete(RECORD, call())
        since, names = store.changes(SERVICE, since, call())
        assert sorted([TWO, RECORD]) == names
        assert [] == store.changes(SERVICE, since, call())[1]

    def test_no_value_is_opened(self, store: Any) -> None:
        """What is given to nobody but this method holds no value."""
        store.write(ONE, Secret("a very long secret value"), call())
        since, _names = store.changes(SERVICE, None, call())
        assert "a very long secret value" not in repr(since)


class ErasingContract:
    """What holds for a store with `erase`."""

    def test_erase_takes_everything_of_one_service(self, store: Any) -> None:
        """Both kinds go, other services stay, and with nobody in the way nothing is pending."""
        other = ItemName(OTHER_SERVICE, "one")
        for item in (ONE, TWO, RECORD, other):
            store.write(item, Secret("x"), call())
        assert store.erase(SERVICE, call()) is False
        assert [] == store.names(SERVICE, call())
        assert store.read(ONE, call()) is None
        assert b"x" == revealed(store.read(other, call()))

    def test_shred_takes_nothing_that_is_there(self, store: Any) -> None:
        """What was deleted is gone, what was not stays, and nothing is pending."""
        store.write(ONE, Secret("x"), call())
        store.write(TWO, Secret("y"), call())
        store.delete(TWO, call())
        assert store.shred(call()) is False
        assert b"x" == revealed(store.read(ONE, call()))
        assert store.read(TWO, call()) is None

    def test_erase_of_nothing_is_fine(self, store: Any) -> None:
        """A service without items can be erased, and used afterwards."""
        assert store.erase(SERVICE, call()) is False
        store.write(ONE, Secret("x"), call())
        assert b"x" == revealed(store.read(ONE, call()))


class DurableContract:
    """What holds for a store whose items outlive the process; `make_store` must be picklable."""

    def test_reopened_store_has_the_items(self, store: Store, make_store: Any) -> None:
        """What was written, replaced and deleted is so for whoever opens the place next."""
        store.write(ONE, Secret("old"), call())
        store.write(ONE, Secret("new"), call())
        store.write(TWO, Secret("x"), call())
        store.delete(TWO, call())
        store.write(RECORD, Secret(""), call())
        with closing(make_store()) as again:
            assert b"new" == revealed(again.read(ONE, call()))
            assert sorted([ONE, RECORD]) == again.names(SERVICE, call())

    def test_another_process_sees_and_is_seen(self, store: Store, make_store: Any) -> None:
        """Both directions, while both have the store open, every name and value as it is."""
        items = [ItemName(SERVICE, name) for name in NAMES]
        for number, item in enumerate(items):
            store.write(item, Secret(VALUES[number % len(VALUES)]), call())
        reads: list[tuple[Any, ...]] = [("read", item) for item in items]
        changes = [("write", ONE, b"there"), ("delete", items[0]), ("names", SERVICE)]
        *read, _wrote, deleted, names = elsewhere(make_store, [*reads, *changes])
        assert [VALUES[number % len(VALUES)] for number in range(len(items))] == read
        assert deleted is True
        assert b"there" == revealed(store.read(ONE, call()))
        assert store.read(items[0], call()) is None
        assert names == store.names(SERVICE, call())

    def test_processes_lose_nothing(self, store: Any, make_store: Any) -> None:
        """Three processes write items of their own and count one number up together."""
        counts = isinstance(store, Transactional)
        store.write(ONE, Secret("0"), call())
        others = []
        for number in range(2):
            calls: list[tuple[Any, ...]] = [("count_up", ONE, ROUNDS)] if counts else []
            calls += [
                ("write", ItemName(SERVICE, f"{number}-{turn}"), b"x") for turn in range(ROUNDS)
            ]
            others.append(begin(make_store, calls))
        if counts:
            count_up(store, ONE, ROUNDS)
        for process in others:
            answers = finish(process)
            assert [None] * ROUNDS == answers[-ROUNDS:]
        expected = [ONE] + [
            ItemName(SERVICE, f"{number}-{turn}") for number in range(2) for turn in range(ROUNDS)
        ]
        assert sorted(expected) == store.names(SERVICE, call())
        if counts:
            assert str(3 * ROUNDS).encode() == revealed(store.read(ONE, call()))


class DamageContract:
    """What holds for an item that does not open.

    The fixture `damage(name)` spoils the item's stored bytes behind the store's back.
    """

    @pytest.fixture
    def damage(self) -> Callable[[ItemName], None]:
        """Spoils an item; override it."""
        raise NotImplementedError("override the fixture damage")

    def test_damaged_is_not_absent(self, store: Any, damage: Callable[[ItemName], None]) -> None:
        """It raises, is listed and contained, and the other items are as they were."""
        store.write(ONE, Secret("1"), call())
        store.write(TWO, Secret("2"), call())
        damage(ONE)
        for _ in range(2):  # reading mends and moves nothing
            with pytest.raises(SecretDamaged):
                store.read(ONE, call())
        assert sorted([ONE, TWO]) == store.names(SERVICE, call())
        if isinstance(store, Indexed):
            assert store.contains(ONE, call())
        assert b"2" == revealed(store.read(TWO, call()))

    def test_damaged_item_can_be_written_over(
        self, store: Any, damage: Callable[[ItemName], None]
    ) -> None:
        """A new value takes its name and reads; there is one item."""
        store.write(ONE, Secret("1"), call())
        damage(ONE)
        store.write(ONE, Secret("new"), call())
        assert b"new" == revealed(store.read(ONE, call()))
        assert [ONE] == store.names(SERVICE, call())

    def test_damaged_item_can_be_deleted(
        self, store: Any, damage: Callable[[ItemName], None]
    ) -> None:
        """Deleting says that it existed, and it is gone."""
        store.write(ONE, Secret("1"), call())
        damage(ONE)
        assert store.delete(ONE, call()) is True
        assert store.read(ONE, call()) is None
        assert [] == store.names(SERVICE, call())

    def test_damaged_item_is_no_expected_value(
        self, store: Any, damage: Callable[[ItemName], None]
    ) -> None:
        """`replace` neither takes it for absent nor for what it was."""
        store.write(ONE, Secret("1"), call())
        damage(ONE)
        if not hasattr(store, "replace"):
            return
        for expected in (None, Secret("1")):
            with pytest.raises((WriteConflict, SecretDamaged)):
                store.replace(ONE, expected, Secret("new"), call())
        with pytest.raises(SecretDamaged):
            store.read(ONE, call())
