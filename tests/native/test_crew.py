"""A crew's threads do one work after another, and wait for each other only while one hangs."""

from __future__ import annotations

import functools
import gc
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from tokenkeep.native.crew import Crew

SECONDS = 10.0


class Doing:
    """A work of one function."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self.is_dropped = False

    def __call__(self) -> None:
        self._function()


def done_by(crew: Crew) -> threading.Thread:
    """The thread that did something just now."""
    found: list[threading.Thread] = []
    done = threading.Event()

    def work() -> None:
        found.append(threading.current_thread())
        done.set()

    crew.give(Doing(work))
    assert done.wait(SECONDS)
    return found[0]


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_thread_that_is_done_does_the_next() -> None:
    """Starting one costs more than most calls."""
    crew = Crew(most_idle=1)
    first = done_by(crew)
    until(lambda: len(crew._idle) == 1)
    assert first is done_by(crew)
    assert first.daemon


def test_thread_that_hangs_keeps_nobody_waiting() -> None:
    """While somebody waits for all that is done, what is given is begun at once, on a thread that
    has nothing else to do.
    """
    crew, let_go = Crew(most_idle=1), threading.Event()
    for _number in range(3):
        crew.give(Doing(functools.partial(let_go.wait, SECONDS)))
        done_by(crew)
    let_go.set()


@pytest.mark.parametrize("most_idle", [0, 1])
def test_no_more_threads_are_kept_than_may_be_idle(most_idle: int) -> None:
    """What was needed at once for a moment ends again; with none to keep, every one does."""
    crew, before = Crew(most_idle), set(threading.enumerate())
    ends = [threading.Lock() for _number in range(3)]
    for end in ends:
        end.acquire()
        crew.give(Doing(functools.partial(end.acquire, timeout=SECONDS)))
    ours = set(threading.enumerate()) - before
    assert 3 == len(ours)
    for number, end in enumerate(ends):
        end.release()
        left = 2 - number + min(most_idle, number + 1)
        until(lambda left=left: left == sum(each.is_alive() for each in ours))  # type: ignore[misc]
    until(lambda: most_idle == len(crew._idle))


def test_threads_are_there_before_they_are_needed() -> None:
    """From the first work on, and before that is done: where a thread cannot be started any more,
    there are these.
    """
    crew, let_go = Crew(most_idle=3), threading.Event()
    crew.give(Doing(functools.partial(let_go.wait, SECONDS)))
    assert 2 == len(crew._idle)
    let_go.set()
    until(lambda: len(crew._idle) == 3)


def test_new_thread_is_not_started_while_one_hangs() -> None:
    """What nobody waits for any more and is not done keeps its thread; when all kept ones hang,
    what is given waits until one comes back.
    """
    crew, let_go, begun = Crew(most_idle=2), threading.Event(), threading.Event()
    done_by(crew)
    until(lambda: len(crew._idle) == 2)
    for _number in range(2):
        hanging = Doing(functools.partial(let_go.wait, SECONDS))
        crew.give(hanging)
        hanging.is_dropped = True
    before = set(threading.enumerate())
    crew.give(Doing(begun.set))
    assert not begun.wait(0.05)
    assert before == set(threading.enumerate())
    let_go.set()
    assert begun.wait(SECONDS)
    until(lambda: len(crew._idle) == 2 and not crew._busy)


def test_withdrawn_work_is_not_begun() -> None:
    """Its caller was told that its time was over; and nothing of it is kept."""
    crew, let_go, begun = Crew(most_idle=1), threading.Event(), threading.Event()
    done_by(crew)
    until(lambda: len(crew._idle) == 1)
    hanging = Doing(functools.partial(let_go.wait, SECONDS))
    crew.give(hanging)
    hanging.is_dropped = True
    withdrawn = Doing(begun.set)
    crew.give(withdrawn)
    crew.withdraw(withdrawn)
    let_go.set()
    done_by(crew)
    assert not begun.is_set()
    assert [] == crew._waiting


def test_what_was_done_does_not_stay_alive() -> None:
    """A work may hold a secret: an idle thread keeps none."""
    crew, work = Crew(most_idle=1), Doing(lambda: None)
    gone = weakref.ref(work)
    crew.give(work)
    del work
    until(lambda: len(crew._idle) == 1)
    gc.collect()
    until(lambda: gone() is None)
