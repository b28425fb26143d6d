"""The store contract as tests: subclass what a store claims, and pytest runs it.

    class TestMyStore(StoreContract, TransactionalContract, DurableContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return functools.partial(MyStore, tmp_path / "place")

`make_store()` gives an empty store the first time and opens the same place afterwards.
`DurableContract` pickles it to another process. `DamageContract` needs the fixture `damage`. A
store that has an ability without its contract fails, so that no claim goes untested.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tokenkeep.errors import InvalidName, StoreTimeout, ValueTooLarge
from tokenkeep.item import KINDS, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import (
    Erasing,
    Indexed,
    Isolation,
    Persistence,
    Protection,
    Require,
    Store,
    StoreFacts,
    Tracking,
    Transactional,
    Versioned,
)
from tokenkeep.testing.abilities import (
    DamageContract,
    DurableContract,
    ErasingContract,
    IndexedContract,
    TrackingContract,
    TransactionalContract,
    VersionedContract,
)
from tokenkeep.testing.material import (
    LARGE,
    NAMES,
    ONE,
    OTHER_SERVICE,
    ROUNDS,
    SERVICE,
    TWO,
    VALUES,
    call,
    revealed,
)
from tokenkeep.testing.together import THREADS, forked, together

__all__ = [
    "DamageContract",
    "DurableContract",
    "ErasingContract",
    "IndexedContract",
    "StoreContract",
    "TrackingContract",
    "TransactionalContract",
    "VersionedContract",
]


class StoreContract:
    """What holds for every store."""

    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        """Opens the place under test; override it."""
        raise NotImplementedError("override the fixture make_store")

    @pytest.fixture
    def store(self, make_store: Callable[[], Store]) -> Any:
        """The store under test."""
        opened: Any = make_store()
        yield opened
        if hasattr(opened, "close"):
            opened.close()

    def test_is_a_store(self, store: Store) -> None:
        """A store has the four calls and its facts."""
        assert isinstance(store, Store)

    def test_every_ability_is_tested(self, store: Store) -> None:
        """An ability goes with its contract, and a contract with its ability."""
        claims = {
            "Transactional": (isinstance(store, Transactional), TransactionalContract),
            "Indexed": (isinstance(store, Indexed), IndexedContract),
            "Versioned": (isinstance(store, Versioned), VersionedContract),
            "Tracking": (isinstance(store, Tracking), TrackingContract),
            "Erasing": (isinstance(store, Erasing), ErasingContract),
            "durable": (
                store.facts.persistence is not Persistence.PROCESS,
                DurableContract,
            ),
        }
        tested = {name: isinstance(self, contract) for name, (_has, contract) in claims.items()}
        assert {name: has for name, (has, _contract) in claims.items()} == tested

    def test_facts_are_stated(self, store: Store) -> None:
        """Facts have the contract's types, name the backend, and do not change by looking."""
        facts = store.facts
        assert isinstance(facts, StoreFacts)
        assert facts.backend == facts.backend.lower()
        assert facts.backend
        assert isinstance(facts.protection, Protection)
        assert isinstance(facts.persistence, Persistence)
        assert isinstance(facts.isolation, Isolation)
        assert facts.max_value_bytes is None or facts.max_value_bytes > 0
        assert facts == store.facts
        assert [] == Require().unmet(facts)

    def test_facts_create_nothing(self, store: Store) -> None:
        """Looking at the facts leaves no item behind."""
        store.facts  # noqa: B018
        assert [] == store.names(SERVICE, call())

    def test_absent_is_none(self, store: Store) -> None:
        """A name that was never written reads as None, from an empty store and from a full one."""
        assert store.read(ONE, call()) is None
        store.write(TWO, Secret("x"), call())
        assert store.read(ONE, call()) is None

    def test_reading_creates_nothing(self, store: Store) -> None:
        """Reading, deleting and listing what is absent leaves it absent."""
        store.read(ONE, call())
        store.delete(ONE, call())
        assert [] == store.names(SERVICE, call())

    @pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value[:12]))
    def test_value_comes_back_as_it_was(self, store: Store, value: bytes) -> None:
        """Values are bytes: binary, empty and with any ending."""
        store.write(ONE, Secret(value), call())
        assert value == revealed(store.read(ONE, call()))
        assert [ONE] == store.names(SERVICE, call())

    def test_write_replaces(self, store: Store) -> None:
        """The last write wins, shorter or longer; there is one item."""
        for value in (b"first", b"a longer second value", b"", b"4"):
            store.write(ONE, Secret(value), call())
            assert value == revealed(store.read(ONE, call()))
        assert [ONE] == store.names(SERVICE, call())

    def test_every_name_is_its_own(self, store: Store) -> None:
        """No two names meet: no folding of case, no normalisation, no trimming, no paths."""
        for number, name in enumerate(NAMES):
            store.write(ItemName(SERVICE, name), Secret(str(number)), call())
        expected = {name: str(number).encode() for number, name in enumerate(NAMES)}
        read = {name: revealed(store.read(ItemName(SERVICE, name), call())) for name in NAMES}
        assert expected == read
        assert sorted(ItemName(SERVICE, name) for name in NAMES) == store.names(SERVICE, call())

    @pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:12]))
    def test_service_may_be_any_name(self, store: Store, name: str) -> None:
        """A service follows the rules of a name, whatever a backend makes of it."""
        item = ItemName(name, name)
        store.write(item, Secret("x"), call())
        assert b"x" == revealed(store.read(item, call()))
        assert [item] == store.names(name, call())
        assert store.delete(item, call()) is True

    @pytest.mark.parametrize("service", ["", "a\0b", "\ud800", "x" * 256, 7])
    def test_impossible_service_is_refused(self, store: Store, service: Any) -> None:
        """`names` takes a plain service and checks it."""
        with pytest.raises(InvalidName):
            store.names(service, call())

    def test_services_and_names_do_not_run_together(self, store: Store) -> None:
        """("ab", "c") is not ("a", "bc")."""
        store.write(ItemName("ab", "c"), Secret("1"), call())
        assert store.read(ItemName("a", "bc"), call()) is None
        assert store.read(ItemName("abc", "c"), call()) is None

    def test_services_do_not_meet(self, store: Store) -> None:
        """The same name in another service is another item; listing keeps to its service."""
        other = ItemName(OTHER_SERVICE, ONE.name)
        store.write(ONE, Secret("mine"), call())
        store.write(other, Secret("theirs"), call())
        assert [ONE] == store.names(SERVICE, call())
        assert store.delete(other, call()) is True
        assert b"mine" == revealed(store.read(ONE, call()))

    def test_kinds_do_not_meet(self, store: Store) -> None:
        """An application's item and our own records share a name and nothing else."""
        items = {kind: ItemName(SERVICE, "one", kind) for kind in KINDS}
        for kind, item in items.items():
            store.write(item, Secret(kind), call())
        for kind, item in items.items():
            assert kind.encode() == revealed(store.read(item, call()))
        left = set(items.values())
        for item in items.values():
            assert store.delete(item, call()) is True
            left.remove(item)
            assert store.read(item, call()) is None
            assert sorted(left) == store.names(SERVICE, call())

    def test_names_are_sorted_and_of_every_kind(self, store: Store) -> None:
        """`names` lists every item of the service once, in order."""
        items = [ItemName(SERVICE, name, kind) for name in "bca" for kind in reversed(KINDS)]
        for item in items:
            store.write(item, Secret("x"), call())
        assert sorted(items) == store.names(SERVICE, call())

    def test_delete_says_whether_it_existed(self, store: Store) -> None:
        """True once, then False; the item is gone from reading and listing."""
        assert store.delete(ONE, call()) is False
        store.write(ONE, Secret(""), call())
        assert store.delete(ONE, call()) is True
        assert store.read(ONE, call()) is None
        assert [] == store.names(SERVICE, call())
        assert store.delete(ONE, call()) is False

    def test_deleted_item_can_be_written_again(self, store: Store) -> None:
        """Deleting leaves nothing that a new item could meet."""
        store.write(ONE, Secret("old"), call())
        store.delete(ONE, call())
        store.write(ONE, Secret("new"), call())
        assert b"new" == revealed(store.read(ONE, call()))

    def test_wiping_what_was_written_leaves_the_item(self, store: Store) -> None:
        """A store keeps a copy: the caller may wipe its own at once."""
        value = Secret("kept")
        store.write(ONE, value, call())
        value.wipe()
        assert b"kept" == revealed(store.read(ONE, call()))

    def test_wiping_what_was_read_leaves_the_item(self, store: Store) -> None:
        """A store hands out a copy."""
        store.write(ONE, Secret("kept"), call())
        first = store.read(ONE, call())
        assert first is not None
        first.wipe()
        assert b"kept" == revealed(store.read(ONE, call()))

    def test_stated_limit_is_the_real_one(self, store: Store) -> None:
        """A value of exactly `max_value_bytes` is kept, one byte more is refused."""
        limit = store.facts.max_value_bytes
        largest = b"\xa5" * (LARGE if limit is None else limit)
        store.write(ONE, Secret(largest), call())
        assert largest == revealed(store.read(ONE, call()))
        if limit is not None:
            with pytest.raises(ValueTooLarge):
                store.write(TWO, Secret(largest + b"\xa5"), call())
            assert store.read(TWO, call()) is None

    def test_refused_write_changes_nothing(self, store: Store) -> None:
        """After `ValueTooLarge` the old value is there."""
        limit = store.facts.max_value_bytes
        if limit is None:
            return  # Nothing is too large: the test above wrote the largest.
        store.write(ONE, Secret("old"), call())
        with pytest.raises(ValueTooLarge):
            store.write(ONE, Secret(b"x" * (limit + 1)), call())
        assert b"old" == revealed(store.read(ONE, call()))

    @pytest.mark.parametrize(
        ("verb", "arguments"),
        [
            ("read", (ONE,)),
            ("write", (ONE, Secret("late"))),
            ("delete", (ONE,)),
            ("names", (SERVICE,)),
            ("replace", (ONE, Secret("kept"), Secret("late"))),
            ("contains", (ONE,)),
            ("version", ()),
            ("erase", (SERVICE,)),
        ],
        ids=lambda argument: argument if isinstance(argument, str) else "",
    )
    def test_call_whose_deadline_passed_does_nothing(
        self, store: Any, verb: str, arguments: tuple[Any, ...]
    ) -> None:
        """`StoreTimeout` at once, and the item is as it was."""
        store.write(ONE, Secret("kept"), call())
        if hasattr(store, verb):
            began = time.monotonic()
            with pytest.raises(StoreTimeout) as caught:
                getattr(store, verb)(*arguments, Call(0.0))
            assert caught.value.is_temporary
            assert time.monotonic() - began < 2.0
        assert b"kept" == revealed(store.read(ONE, call()))

    def test_no_deadline_is_allowed(self, store: Store) -> None:
        """A call without a deadline works like any other."""
        patient = Call(None)
        store.write(ONE, Secret("x"), patient)
        assert b"x" == revealed(store.read(ONE, patient))

    def test_threads_never_see_half_a_write(self, store: Store) -> None:
        """Eight threads write one item: every read gives one of the values, whole."""
        values = [bytes([65 + number]) * (400 + 300 * number) for number in range(THREADS)]
        store.write(ONE, Secret(values[0]), call())

        def work(number: int) -> bool:
            whole = True
            for _ in range(ROUNDS):
                store.write(ONE, Secret(values[number]), call())
                whole = whole and revealed(store.read(ONE, call())) in values
            return whole

        assert [True] * THREADS == together(work)
        assert revealed(store.read(ONE, call())) in values

    def test_threads_do_not_lose_each_others_items(self, store: Store) -> None:
        """Eight threads write and delete items of their own: each finds its own as it left it."""

        def work(number: int) -> bool:
            for turn in range(ROUNDS):
                item = ItemName(SERVICE, f"{number}-{turn}")
                store.write(item, Secret(f"{number}.{turn}"), call())
                if turn % 2:
                    store.delete(item, call())
            return True

        together(work)
        expected = sorted(
            ItemName(SERVICE, f"{number}-{turn}")
            for number in range(THREADS)
            for turn in range(0, ROUNDS, 2)
        )
        assert expected == store.names(SERVICE, call())
        for item in expected:
            assert item.name.replace("-", ".").encode() == revealed(store.read(item, call()))

    def test_one_of_many_deleting_threads_is_told_true(self, store: Store) -> None:
        """An item existed once, so one `delete` says so."""
        store.write(ONE, Secret("x"), call())
        assert sorted(together(lambda _number: store.delete(ONE, call()))) == [False] * (
            THREADS - 1
        ) + [True]

    if hasattr(os, "fork"):

        @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
        def test_forked_child_uses_the_store(self, store: Store) -> None:
            """A child goes on with an open store; the parent's goes on too."""
            store.write(ONE, Secret("parent"), call())

            def child() -> bool:
                before = revealed(store.read(ONE, call()))
                store.write(TWO, Secret("child"), call())
                return before == b"parent" and revealed(store.read(TWO, call())) == b"child"

            assert forked(child)
            assert b"parent" == revealed(store.read(ONE, call()))
            shared = store.facts.persistence is not Persistence.PROCESS
            assert (b"child" if shared else None) == revealed(store.read(TWO, call()))
            store.write(TWO, Secret("parent again"), call())
            assert b"parent again" == revealed(store.read(TWO, call()))

        @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
        def test_fork_while_threads_work_does_not_hang_the_child(self, store: Store) -> None:
            """Whatever lock another thread held at the fork, the child is not stopped by it."""
            over = threading.Event()

            def work() -> None:
                while not over.is_set():
                    store.write(TWO, Secret("busy"), call())
                    store.read(TWO, call())

            store.write(ONE, Secret("parent"), call())
            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            try:
                for _ in range(5):
                    assert forked(lambda: revealed(store.read(ONE, call())) == b"parent")
            finally:
                over.set()
                for thread in threads:
                    thread.join()
