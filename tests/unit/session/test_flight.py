"""A flight: one piece of work at a time, shared by those whose wish it covers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from tokenkeep.errors import RefreshUnavailable, SessionError
from tokenkeep.session.flight import Flight, raised_again


@dataclass(frozen=True)
class AtLeast:
    number: int

    def covers(self, other: AtLeast) -> bool:
        return self.number >= other.number

    def merged(self, other: AtLeast) -> AtLeast:
        return AtLeast(max(self.number, other.number))


class Counter:
    """Work that brings as much as was wished, when the gate is open."""

    def __init__(self) -> None:
        self.there = 0
        self.worked: list[int] = []
        self.gate = threading.Event()
        self.started = threading.Event()
        self.flight = Flight[AtLeast, int](self.ready, self.work)

    def ready(self, wish: AtLeast) -> int | None:
        return self.there if self.there >= wish.number else None

    def work(self, wish: AtLeast) -> int:
        self.worked.append(wish.number)
        self.started.set()
        assert self.gate.wait(5)
        self.there = wish.number
        return self.there


def test_what_is_there_needs_no_work() -> None:
    counter = Counter()
    counter.there = 3
    assert 3 == counter.flight.join(AtLeast(2)).result(0)
    assert [] == counter.worked


def test_a_wish_that_is_covered_shares_the_work_under_way() -> None:
    counter = Counter()
    futures = [counter.flight.join(AtLeast(number)) for number in (5, 5, 3, 1)]
    assert counter.flight.is_in_progress()
    counter.gate.set()
    assert [5] * 4 == [future.result(5) for future in futures]
    assert [5] == counter.worked


def test_greater_wishes_share_one_more_piece_of_work() -> None:
    counter = Counter()
    first = counter.flight.join(AtLeast(1))
    later = [counter.flight.join(AtLeast(number)) for number in (2, 4, 3)]
    counter.gate.set()
    assert 1 == first.result(5)
    assert [4] * 3 == [future.result(5) for future in later]
    assert [1, 4] == counter.worked


def test_the_next_leg_is_not_worked_if_the_first_brought_enough() -> None:
    counter = Counter()
    first = counter.flight.join(AtLeast(1))
    assert counter.started.wait(5)
    later = counter.flight.join(AtLeast(2))
    counter.ready = lambda wish: 9  # type: ignore[method-assign]
    counter.flight._ready = lambda wish: 9
    counter.gate.set()
    assert 1 == first.result(5)
    assert 9 == later.result(5)
    assert [1] == counter.worked


def test_a_failure_ends_one_leg_and_not_the_next() -> None:
    gate = threading.Event()

    def work(wish: AtLeast) -> int:
        assert gate.wait(5)
        if wish.number == 1:
            raise RefreshUnavailable("not now")
        return wish.number

    flight = Flight[AtLeast, int](lambda wish: None, work)
    first, second = flight.join(AtLeast(1)), flight.join(AtLeast(2))
    gate.set()
    with pytest.raises(RefreshUnavailable):
        first.result(5)
    assert 2 == second.result(5)


def test_the_work_itself_may_ask_and_does_not_wait_for_itself() -> None:
    answers: list[int] = []

    def work(wish: AtLeast) -> int:
        if wish.number == 1:
            answers.append(flight.join(AtLeast(7)).result(5))
        return wish.number

    flight = Flight[AtLeast, int](lambda wish: None, work)
    assert 1 == flight.join(AtLeast(1)).result(5)
    assert [7] == answers


def test_after_landing_a_new_flight_begins() -> None:
    counter = Counter()
    counter.gate.set()
    assert 1 == counter.flight.join(AtLeast(1)).result(5)
    deadline = time.monotonic() + 5
    while counter.flight.is_in_progress():
        assert time.monotonic() < deadline
    assert 2 == counter.flight.join(AtLeast(2)).result(5)
    assert [1, 2] == counter.worked


def test_without_threads_the_callers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_arguments: object, **_more: object) -> None:
        raise RuntimeError("can't start new thread")

    counter = Counter()
    monkeypatch.setattr(threading, "Thread", refuses)
    with pytest.raises(RefreshUnavailable, match="no thread could be started"):
        counter.flight.join(AtLeast(1)).result(0)
    assert not counter.flight.is_in_progress()


def test_a_copy_of_an_error_says_the_same() -> None:
    error = RefreshUnavailable("busy", retry_after=3.0, holder="pid 1", hint="wait")
    copy = raised_again(error)
    assert isinstance(copy, SessionError)
    assert (str(error), vars(error)) == (str(copy), vars(copy))
    assert copy is not error
