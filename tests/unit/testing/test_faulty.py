"""The faulty store breaks where it is told, as it is told, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import StoreFull, StoreLocked, StoreTimeout
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Erasing, Indexed, Store, Transactional, Versioned
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, Fault, FaultyStore, Lies, Stalls, every_step

ONE = ItemName("org.example", "one")


def value(store: Any) -> bytes | None:
    found = store.read(ONE, Call())
    return None if found is None else found.reveal_bytes()


def test_fails_before_the_effect() -> None:
    """The second step raises and did nothing; the others work."""
    store = FaultyStore(MemoryStore(), {2: Fails(StoreFull)})
    store.write(ONE, Secret("1"), Call())
    with pytest.raises(StoreFull):
        store.write(ONE, Secret("2"), Call())
    assert b"1" == value(store)
    assert [(1, "write", ONE), (2, "write", ONE), (3, "read", ONE)] == [
        (step.number, step.verb, step.subject) for step in store.steps
    ]


def test_fails_after_the_effect() -> None:
    """The answer is lost, the write is not."""
    store = FaultyStore(MemoryStore(), {"write": Fails(StoreLocked("later"), after=True)})
    for _ in range(2):
        with pytest.raises(StoreLocked, match="later"):
            store.write(ONE, Secret("1"), Call())
    assert b"1" == value(store)


@pytest.mark.parametrize(("after", "expected"), [(False, None), (True, b"1")])
def test_stall_beyond_the_deadline_times_out(after: bool, expected: bytes | None) -> None:
    """By the call's clock: a fake one makes it take no time."""
    clock = FakeClock()
    store = FaultyStore(MemoryStore(), {1: Stalls(60.0, after=after)})
    began = clock.monotonic()
    with pytest.raises(StoreTimeout):
        store.write(ONE, Secret("1"), Call(5.0, clock=clock))
    assert 5.0 == clock.monotonic() - began
    assert expected == value(store)


def test_stall_within_the_deadline_is_only_slow() -> None:
    """The call succeeds later."""
    clock = FakeClock()
    store = FaultyStore(MemoryStore(), {1: Stalls(3.0)})
    store.write(ONE, Secret("1"), Call(5.0, clock=clock))
    assert b"1" == value(store)
    FaultyStore(MemoryStore(), {1: Stalls(3.0)}).read(ONE, Call(None, clock=clock))


def test_lies_do_nothing_and_say_they_did() -> None:
    """A write that is not kept, a read that finds nothing, or whatever a test wants to hear."""
    store: Any = FaultyStore(MemoryStore(), {"write": Lies()})
    store.write(ONE, Secret("1"), Call())
    assert value(store) is None
    store.faults = {}
    store.write(ONE, Secret("1"), Call())
    store.faults = {"read": Lies(), "names": Lies(), "delete": Lies(), "contains": Lies()}
    assert value(store) is None
    assert [] == store.names("org.example", Call())
    assert store.delete(ONE, Call()) is True
    assert store.contains(ONE, Call()) is False
    store.faults = {"read": Lies(Secret("other"))}
    assert b"other" == value(store)
    store.faults = {}
    assert b"1" == value(store)


def test_abilities_are_the_inner_stores() -> None:
    """Neither more nor fewer."""

    class Plain:
        facts = MemoryStore().facts
        read = write = delete = names = MemoryStore.read

    for ability in (Transactional, Indexed, Versioned, Erasing):
        assert isinstance(FaultyStore(MemoryStore()), ability)
        assert not isinstance(FaultyStore(Plain()), ability)  # type: ignore[arg-type]
    assert isinstance(FaultyStore(Plain()), Store)  # type: ignore[arg-type]


def test_step_stands_before_verb() -> None:
    """The number is the more exact one."""
    store = FaultyStore(MemoryStore(), {"read": Fails(StoreFull), 1: Fails(StoreLocked)})
    with pytest.raises(StoreLocked):
        store.read(ONE, Call())


def test_every_step_is_broken_once_with_every_fault() -> None:
    """And each play starts from a fresh store and says what came of it."""
    faults: list[Fault] = [Fails(StoreLocked), Fails(StoreFull, after=True), Lies()]

    def scenario(store: FaultyStore) -> None:
        store.write(ONE, Secret("1"), Call())
        store.write(ONE, Secret("2"), Call())

    runs = list(every_step(MemoryStore, scenario, faults))
    assert [(step, fault) for step in (1, 2) for fault in faults] == [
        (run.step.number, run.fault) for run in runs
    ]
    assert [None, b"1", b"2", b"1", b"2", b"1"] == [value(run.inner) for run in runs]
    assert ["store-locked", "store-full", None] * 2 == [
        run.error.code if run.error else None for run in runs
    ]


def test_every_step_of_nothing_is_a_mistake() -> None:
    """A check that cannot fail is a defect."""
    with pytest.raises(AssertionError, match="nothing to break"):
        list(every_step(MemoryStore, lambda _store: None, [Lies()]))


def test_every_step_does_not_hide_a_failing_assertion() -> None:
    """Only errors of tokenkeep end a play quietly."""

    def scenario(store: FaultyStore) -> None:
        store.write(ONE, Secret("1"), Call())
        assert b"1" == value(store)

    with pytest.raises(AssertionError):
        list(every_step(MemoryStore, scenario, [Lies()]))
