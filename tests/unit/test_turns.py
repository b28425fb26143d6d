"""A loop that computes for long lets other threads have the interpreter."""

from __future__ import annotations

import threading
import time

from tokenkeep.turns import in_turns


def test_items_come_all_and_in_order() -> None:
    """Pauses change nothing, wherever the loop ends."""
    assert [] == list(in_turns([]))
    assert list(range(130)) == list(in_turns(range(130), 64))


def test_another_thread_gets_its_turns() -> None:
    """One that wants the interpreter has it many times before the loop is over, and not once in
    five milliseconds.
    """
    turns, is_over = [], threading.Event()

    def count() -> None:
        while not is_over.is_set():
            turns.append(time.perf_counter())
            time.sleep(0)

    other = threading.Thread(target=count)
    other.start()
    for _item in in_turns(range(32), 1):
        until = time.thread_time() + 0.0005
        while time.thread_time() < until:
            pass
    is_over.set()
    other.join()
    assert 32 <= len(turns)
