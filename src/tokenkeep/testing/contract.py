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

import itertools
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from tokenkeep.errors import (
    InvalidName,
    SecretDamaged,
    StoreTimeout,
    ValueTooLarge,
    WriteConflict,
)
from tokenkeep.item import ITEM, MAX_NAME_BYTES, SESSION, Call, ItemName
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
    Transactional,
    Versioned,
)
from tokenkeep.testing.elsewhere import begin, count_up, elsewhere, finish

T = TypeVar("T")

SERVICE = "org.example.contract"
OTHER_SERVICE = "org.example.contract2"
ONE = ItemName(SERVICE, "one")
TWO = ItemName(SERVICE, "two")
RECORD = ItemName(SERVICE, "one", SESSION)

#: Each is a name of its own: no backend may fold, trim, normalise or parse them.
NAMES = (
    "token",
    "Token",
    "TOKEN",
    "straße",
    "STRASSE",
    "caf\u00e9",  # é as one character
    "cafe\u0301",  # and as two
    "ﬁ",
    "fi",
    "a b",
    " leading",
    "trailing ",
    "trailing.",
    ".",
    "..",
    "../up",
    "a/b",
    "a\\b",
    "C:\\x",
    "CON",
    "a:b",
    "line\nbreak",
    "tab\there",
    "\x01\x7f",
    "%00",
    "%2e",
    "'; DROP TABLE items; --",
    '"quoted"',
    "*",
    "-rf",
    "🗝️",
    "שלום",
    "\u202egnp.exe",
    "\U0010ffff",
    "a" * MAX_NAME_BYTES,
    "é" * (MAX_NAME_BYTES // 2),
    "A" * MAX_NAME_BYTES,
)
VALUES = (
    b"",
    b"\0",
    b"plain",
    "naïve 🗝️".encode(),
    b"trailing newline\n",
    b" \t spaces ",
    bytes(range(256)),
    b"\xff\xfe\x00\xd8",
    b"x" * 2_000,
)
#: Where a store states no limit it takes what an application may be allowed to keep.
LARGE = 65_536

THREADS = 8
ROUNDS = 25


def call(timeout: float = 30.0) -> Call:
    """A deadline that a loaded machine keeps."""
    return Call(timeout)


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
        """An application's item and a session record share a name and nothing else."""
        store.write(ONE, Secret("item"), call())
        store.write(RECORD, Secret("record"), call())
        assert b"item" == revealed(store.read(ONE, call()))
        assert b"record" == revealed(store.read(RECORD, call()))
        assert store.delete(ONE, call()) is True
        assert store.read(ONE, call()) is None
        assert b"record" == revealed(store.read(RECORD, call()))

    def test_names_are_sorted_and_of_both_kinds(self, store: Store) -> None:
        """`names` lists every item of the service once, in order."""
        items = [ItemName(SERVICE, name, kind) for name in "bca" for kind in (SESSION, ITEM)]
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
        values = [bytes([65 + number]) * (500 + 300 * number) for number in range(THREADS)]
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


class closing:  # noqa: N801
    """Closes a store that can be closed."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __enter__(self) -> Any:
        return self._store

    def __exit__(self, *_exc: object) -> None:
        if hasattr(self._store, "close"):
            self._store.close()


def revealed(secret: Secret | None) -> bytes | None:
    """The bytes, for comparing."""
    return None if secret is None else secret.reveal_bytes()


def together(work: Callable[[int], T], threads: int = THREADS) -> list[T]:
    """Runs `work(number)` on many threads, started at one moment; their results in order."""
    barrier = threading.Barrier(threads)
    results: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(30)
            results[number] = work(number)
        except BaseException as exc:
            errors.append(exc)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(120)
    if errors:
        raise errors[0]
    return [results[number] for number in range(threads)]


def forked(work: Callable[[], bool], timeout: float = 30.0) -> bool:
    """Whether `work` was true in a forked child within the time; a child that hangs is killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        except BaseException as exc:
            os.write(2, f"forked child: {type(exc).__name__}: {exc}\n".encode())
        finally:
            os._exit(code)
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False
