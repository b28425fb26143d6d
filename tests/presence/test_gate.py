"""The gate in front of sensitive reads, whatever the person proves their presence with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import (
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
)
from tokenkeep.item import Call
from tokenkeep.presence.gate import Policy, PresenceGate, always, at_start, every
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.clock import FakeClock


class Person:
    """Confirms, unless told to fail."""

    name = "person"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.problem: Exception | None = None

    def verify(self, reason: str, call: Call) -> None:
        self.asked.append(reason)
        if self.problem is not None:
            raise self.problem


class House:
    """A storage with two items, a person, and gates."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.storage = SecureStorage("org.example.notes", MemoryStore(), clock=self.clock)
        self.storage.write("pin", "1234")
        self.storage.write("theme", "dark")
        self.person = Person()

    def gate(self, policy: Policy = always, **settings: object) -> PresenceGate:
        return PresenceGate(self.storage, self.person, policy, **settings)  # type: ignore[arg-type]


@pytest.fixture
def house() -> House:
    return House()


def read(gate: PresenceGate, name: str = "pin") -> str:
    value = gate.read(name)
    assert value is not None
    return value.reveal()


def test_always_asks_for_every_read(house: House) -> None:
    """And says why."""
    gate = house.gate(reason="show the PIN")
    assert ["1234", "1234"] == [read(gate), read(gate)]
    assert ["show the PIN"] * 2 == house.person.asked


def test_every_asks_again_when_its_minutes_are_over(house: House) -> None:
    """Sleeping counts, as the clock has it."""
    gate = house.gate(every(5))
    read(gate)
    house.clock.advance(299)
    read(gate)
    assert 1 == len(house.person.asked)
    house.clock.advance(2)
    read(gate)
    assert 2 == len(house.person.asked)


def test_at_start_asks_once(house: House) -> None:
    """Until the gate is told to forget."""
    gate = house.gate(at_start)
    for _ in range(3):
        read(gate)
        house.clock.advance(1e6)
    assert 1 == len(house.person.asked)
    gate.forget()
    read(gate)
    assert 2 == len(house.person.asked)


@pytest.mark.parametrize("minutes", [0, -1, float("inf"), float("nan")])
def test_every_needs_a_number_of_minutes(minutes: float) -> None:
    """Zero is `always`, without end is `at_start`."""
    with pytest.raises(ValueError, match="minutes"):
        every(minutes)


@pytest.mark.parametrize(
    "problem",
    [
        PresenceDenied(reason="cancelled"),
        PresenceDenied(reason="failed"),
        PresenceUnavailable("no reader"),
        NotEnrolled("no finger"),
        PresenceLockedOut(retry_after=30.0),
    ],
)
def test_without_a_proof_nothing_is_read(house: House, problem: PresenceError) -> None:
    """Cancelled, failed, unavailable, not enrolled and locked out stay what they are."""
    gate = house.gate(at_start)
    house.person.problem = problem
    attempts: list[Callable[[], object]] = [lambda: gate.read("pin"), gate.read_all, gate.require]
    for attempt in attempts:
        with pytest.raises(type(problem)) as caught:
            attempt()
        assert caught.value is problem
    house.person.problem = None
    assert "1234" == read(gate)


def test_a_failure_ends_an_earlier_proof(house: House) -> None:
    """Whoever fails now is not let in by what somebody proved before."""
    gate = house.gate(every(5))
    read(gate)
    house.clock.advance(301)
    house.person.problem = PresenceDenied()
    for _ in range(2):
        with pytest.raises(PresenceDenied):
            gate.read("pin")
    assert 3 == len(house.person.asked)


def test_only_named_items_are_gated(house: House) -> None:
    """The others are read without a question; all at once needs one."""
    gate = house.gate(names=["pin"])
    assert "dark" == read(gate, "theme")
    assert [] == house.person.asked
    assert {"pin", "theme"} == set(gate.read_all())
    assert 1 == len(house.person.asked)


def test_what_shows_nothing_needs_no_proof(house: House) -> None:
    """Listing, looking, writing, deleting, facts."""
    gate = house.gate()
    house.person.problem = PresenceDenied()
    gate.write("new", "x")
    assert ["new", "pin", "theme"] == gate.names()
    assert gate.contains("new")
    assert gate.delete("new")
    assert "memory" == gate.facts.backend
    assert "org.example.notes" == gate.service
    assert [] == house.person.asked


def test_the_storage_is_not_reachable_through_the_gate(house: House) -> None:
    """No attribute that a program may use gives the storage, its store, or a value."""
    gate = house.gate()
    house.person.problem = PresenceDenied()
    public = [name for name in dir(gate) if not name.startswith("_")]
    assert {"read", "read_all", "require"} <= set(public)
    for name in public:
        found = getattr(gate, name)
        assert found is not house.storage
        assert found is not house.storage.store
    for name in ("storage", "store", "_storage", "_store"):
        assert not hasattr(gate, name)
    assert "1234" not in repr(gate)


def test_threads_that_come_together_are_one_question(house: House) -> None:
    """The person confirms once for what one proof is good for."""
    gate, found = house.gate(every(5)), []
    threads = [threading.Thread(target=lambda: found.append(read(gate))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert ["1234"] * 8 == found
    assert 1 == len(house.person.asked)


def test_the_person_has_the_time_that_the_gate_gives(house: House) -> None:
    """Whatever the storage's own calls have, and its store's prompts."""
    given: list[tuple[float | None, float | None]] = []

    class Watched(Person):
        def verify(self, reason: str, call: Call) -> None:
            given.append((call.remaining(), call.prompt_timeout))

    house.person = Watched()
    house.storage.timeout, house.storage.prompt_timeout = 5.0, 7.0
    house.gate(timeout=45.0).require()
    assert [(45.0, None)] == given


def test_a_question_that_nobody_answers_holds_up_no_other_thread_for_ever(house: House) -> None:
    """A second caller is told in time that another prompt is open."""
    entered, leave = threading.Event(), threading.Event()

    class Slow(Person):
        def verify(self, reason: str, call: Call) -> None:
            entered.set()
            leave.wait(10)

    house.person = Slow()
    gate = house.gate(timeout=0.2)
    first = threading.Thread(target=gate.require)
    first.start()
    entered.wait(10)
    with pytest.raises(PresenceDenied) as caught:
        gate.require()
    assert "timed out" == caught.value.reason
    leave.set()
    first.join(10)


@pytest.mark.requires("fork")
def test_a_child_forked_during_a_prompt_waits_for_nobody(house: House) -> None:
    """The thread that shows the parent's prompt does not exist in the child."""
    gate = house.gate(at_start, timeout=5.0)
    status: list[int] = []

    class Forking(Person):
        def verify(self, reason: str, call: Call) -> None:
            pid = os.fork()
            if pid == 0:
                gate._verifier = house.person
                thread = threading.Thread(
                    target=lambda: os._exit(0 if read(gate) == "1234" else 1), daemon=True
                )
                thread.start()
                thread.join(4)
                os._exit(2)
            status.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    gate._verifier = Forking()
    assert "1234" == read(gate)
    assert [0] == status


@pytest.mark.requires("fork")
def test_a_forked_child_proves_for_itself(house: House) -> None:
    """What the parent's person proved is not the child's."""
    gate = house.gate(at_start)
    read(gate)
    house.person.problem = PresenceDenied()
    pid = os.fork()
    if pid == 0:
        try:
            gate.read("pin")
            os._exit(1)
        except PresenceDenied:
            os._exit(0)
        finally:
            os._exit(2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert "1234" == read(gate)
