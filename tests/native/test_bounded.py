"""Nothing hangs: a platform's call ends by the deadline, whatever the platform does."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from typing import TYPE_CHECKING

import pytest

from tokenkeep.errors import StoreLocked, StoreTimeout
from tokenkeep.item import Call
from tokenkeep.native.bounded import bounded
from tokenkeep.native.crew import Crew
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from tokenkeep.native.crew import Work

SECONDS = 10.0


def test_answer_comes_back() -> None:
    """What the platform answers in time is the answer, also nothing at all."""
    assert "answer" == bounded(Call(10.0), lambda: "answer")
    assert bounded(Call(10.0), lambda: None) is None


def test_platform_that_hangs_ends_with_the_deadline() -> None:
    """The caller gets StoreTimeout at its deadline; the late answer goes nowhere."""
    let_go = threading.Event()
    began = time.monotonic()
    with pytest.raises(StoreTimeout, match="asking did not finish in time"):
        bounded(Call(0.1), let_go.wait, "asking")
    assert time.monotonic() - began < 5.0
    let_go.set()


def test_hanging_thread_is_a_daemon() -> None:
    """A process can end though the platform never lets go."""
    let_go = threading.Event()
    hanging: list[threading.Thread] = []

    def hang() -> None:
        hanging.append(threading.current_thread())
        let_go.wait(SECONDS)

    with pytest.raises(StoreTimeout):
        bounded(Call(0.05), hang)
    let_go.set()
    assert [True] == [each.daemon for each in hanging]


def test_passed_deadline_makes_no_call() -> None:
    """Nothing is begun that could not end in time."""
    made: list[bool] = []
    with pytest.raises(StoreTimeout):
        bounded(Call(0.0), lambda: made.append(True))
    assert [] == made


def test_deadline_ends_what_waits_for_a_thread() -> None:
    """It is not begun later either: its caller was told that it did not happen in time."""
    crew, let_go, made = Crew(most_idle=1), threading.Event(), threading.Event()
    with pytest.raises(StoreTimeout):
        bounded(Call(0.05), lambda: let_go.wait(SECONDS), crew=crew)
    with pytest.raises(StoreTimeout):
        bounded(Call(0.05), made.set, crew=crew)
    let_go.set()
    assert bounded(Call(SECONDS), lambda: not made.is_set(), crew=crew)


@pytest.mark.requires("/proc")  # where a wait for a lock ends with a signal
def test_interrupted_call_is_not_begun_later() -> None:
    """Who pressed Ctrl-C while it waited for a thread was told nothing of it, and wants none."""
    crew, let_go, made = Crew(most_idle=1), threading.Event(), threading.Event()
    with pytest.raises(StoreTimeout):
        bounded(Call(0.05), lambda: let_go.wait(SECONDS), crew=crew)
    interrupt = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        bounded(Call(SECONDS), made.set, crew=crew)
    let_go.set()
    assert bounded(Call(SECONDS), lambda: not made.is_set(), crew=crew)


def test_call_that_was_given_up_is_not_begun() -> None:
    """A thread may have it in its hands when its caller's time is over."""
    held: list[Work] = []

    class Holding(Crew):
        def give(self, work: Work) -> None:
            held.append(work)

    made: list[bool] = []
    with pytest.raises(StoreTimeout):
        bounded(Call(0.05), lambda: made.append(True), crew=Holding(most_idle=1))
    held[0]()
    assert [] == made


def test_call_without_deadline_is_made_in_the_callers_thread() -> None:
    """Who waits without end needs no other thread."""
    assert threading.current_thread() is bounded(Call(None), threading.current_thread)


def test_error_comes_back_without_the_other_threads_frames() -> None:
    """What went wrong is raised here; locals of the platform's side are in no traceback."""

    def fails() -> Secret:
        plain = "hunter2"
        raise StoreLocked(f"locked, {len(plain)}")

    with pytest.raises(StoreLocked) as caught:
        bounded(Call(10.0), fails)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "bounded" in frames
    assert "fails" not in frames
