"""A crew's threads do one work after another, and never wait for each other."""

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


def done_by(crew: Crew) -> threading.Thread:
    """The thread that did something just now."""
    found: list[threading.Thread] = []
    done = threading.Event()

    def work() -> None:
        found.append(threading.current_thread())
        done.set()

    crew.give(work)
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
    """Whatever is given is begun at once, on a thread that has nothing else to do."""
    crew, let_go = Crew(most_idle=1), threading.Event()
    for _number in range(3):
        crew.give(functools.partial(let_go.wait, SECONDS))  # type: ignore[arg-type]
        done_by(crew)
    let_go.set()


@pytest.mark.parametrize("most_idle", [0, 1])
def test_no_more_threads_are_kept_than_may_be_idle(most_idle: int) -> None:
    """What was needed at once for a moment ends again; with none to keep, every one does."""
    crew, before = Crew(most_idle), set(threading.enumerate())
    ends = [threading.Lock() for _number in range(3)]
    for end in ends:
        end.acquire()
        crew.give(functools.partial(end.acquire, timeout=SECONDS))  # type: ignore[arg-type]
    ours = set(threading.enumerate()) - before
    assert 3 == len(ours)
    for number, end in enumerate(ends):
        end.release()
        left = 2 - number + min(most_idle, number + 1)
        until(lambda left=left: left == sum(each.is_alive() for each in ours))  # type: ignore[misc]
    until(lambda: most_idle == len(crew._idle))


def test_what_was_done_does_not_stay_alive() -> None:
    """A work may hold a secret: an idle thread keeps none."""

    class Work:
        def __call__(self) -> None:
            pass

    crew, work = Crew(most_idle=1), Work()
    gone = weakref.ref(work)
    crew.give(work)
    del work
    until(lambda: len(crew._idle) == 1)
    gc.collect()
    until(lambda: gone() is None)
