"""An event loop goes on while a vault is asked, and the measure of that sees what it should."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from support.async_program import first_events, first_rounds, listing_rounds, warm_rounds
from support.stalls import LONGEST_STALL, Round, longest_stall, longest_stalls, rounds_of


def test_the_first_calls_of_a_process_load_nothing(tmp_path: Path) -> None:
    """All is imported before the loop runs, by `preload`; its thread opens no file: the calls are
    made, and the vault with its key, on other threads.
    """
    assert [] == first_events("vault", tmp_path / "vault")


@pytest.mark.requires("fine clocks")
def test_the_first_calls_of_a_process_hold_no_loop_up(tmp_path: Path) -> None:
    """Making the storage, opening the vault, and each call."""
    stalls = longest_stalls(lambda: first_rounds("vault", tmp_path / "vault"))
    assert max(stalls) < LONGEST_STALL


@pytest.mark.requires("fine clocks")
def test_calls_hold_no_loop_up(tmp_path: Path) -> None:
    """The same later on, with the vault opened anew each time."""
    stalls = longest_stalls(lambda: warm_rounds("vault", tmp_path / "vault"))
    assert max(stalls) < LONGEST_STALL


@pytest.mark.requires("fine clocks")
def test_listing_many_items_holds_no_loop_up(tmp_path: Path) -> None:
    """A thousand items take longer, and the loop its turn meanwhile."""
    stalls = longest_stalls(lambda: listing_rounds("vault", tmp_path / "vault"))
    assert max(stalls) < LONGEST_STALL


async def _blocks_the_loop() -> None:
    time.sleep(0.008)


async def _computes_in_the_loop() -> None:
    until = time.thread_time() + 0.008
    while time.thread_time() < until:
        pass


async def _computes_with_the_interpreter() -> None:
    await asyncio.to_thread(pow, 3, 2**2500 - 1, 2**2500 - 3)


async def _blocks_with_the_interpreter() -> None:
    await asyncio.to_thread(ctypes.PyDLL(None).usleep, 8_000)


async def _gives_way_when_it_has_to() -> None:
    def count() -> int:
        return sum(number for number in range(1_000_000))

    await asyncio.to_thread(count)


@pytest.mark.requires("fine clocks")
@pytest.mark.parametrize(
    "work",
    [
        _blocks_the_loop,
        _computes_in_the_loop,
        _computes_with_the_interpreter,
        _blocks_with_the_interpreter,
        _gives_way_when_it_has_to,
    ],
)
def test_the_measure_sees_what_holds_a_loop_up(work: Callable[[], Awaitable[None]]) -> None:
    """A loop that blocks or computes; a thread that computes or blocks and keeps the interpreter's
    lock; and one that gives it up when it has to, after five milliseconds.
    """
    assert LONGEST_STALL < longest_stall(asyncio.run(rounds_of(work)))


@pytest.mark.requires("fine clocks")
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "beside busy programs"])
def test_the_measure_sees_nothing_where_nothing_is(others: int) -> None:
    """A loop whose threads sleep has no stall to speak of, whoever else wants the processors."""

    async def idle() -> None:
        await asyncio.to_thread(time.sleep, 0.03)

    with _busy_programs(others * (os.cpu_count() or 1)):
        stalls = longest_stalls(lambda: [asyncio.run(rounds_of(idle))])
    assert max(stalls) < LONGEST_STALL


@pytest.mark.requires("fine clocks")
def test_the_measure_sees_a_call_beside_busy_programs() -> None:
    """What the machine takes hides nothing of what a call computes."""
    with _busy_programs(os.cpu_count() or 1):
        rounds = asyncio.run(rounds_of(_computes_with_the_interpreter))
    assert LONGEST_STALL < min(each.computed for each in rounds)


@pytest.mark.parametrize(
    ("stall", "rounds"),
    [
        (0.001, [Round(0.030, 0.001)] * 34 + [Round(0.001, 0.001)] * 6),
        (0.008, [Round(0.030, 0.001)] * 34 + [Round(0.008, 0.001)] * 6),
        (0.001, [Round(0.030, 0.030)] * 2 + [Round(0.001, 0.001)] * 38),
        (0.030, [Round(0.030, 0.030)] * 3 + [Round(0.001, 0.001)] * 37),
    ],
)
def test_lateness_counts_if_it_was_computed_or_is_always_there(
    stall: float, rounds: list[Round]
) -> None:
    """Being late counts in no busy round, and in the least late ones; what was computed counts in
    all but a twentieth, as the machine's own work is charged to whom it interrupts.
    """
    assert stall == longest_stall(rounds)


def test_a_stall_counts_if_it_is_there_each_time() -> None:
    """What one measurement of three does not show was the machine's; of each call for itself."""
    short, long = [Round(0.001, 0.001)] * 2, [Round(0.030, 0.030)] * 2
    measured = iter([[long, short, long], [short, long, long], [long, long, long]])
    assert [0.001, 0.001, 0.030] == longest_stalls(lambda: next(measured))
    assert [0.001] == longest_stalls(iter([[short]]).__next__)


@contextlib.contextmanager
def _busy_programs(count: int) -> Iterator[None]:
    # They end by themselves, in case nobody is left to end them.
    program = f"import time\nwhile time.monotonic() < {time.monotonic() + 120}: pass"
    programs = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
        assert [None] * count == [each.poll() for each in programs]
    finally:
        for each in programs:
            each.kill()
            each.wait()


@pytest.mark.parametrize("home", ["storage", "session"])
def test_what_is_not_installed_keeps_nobody_from_the_rest(home: str) -> None:
    """Nothing that is loaded beforehand is needed by everybody: its lack is told by its calls."""
    program = (
        "import sys; sys.modules.update(jeepney=None, httpx2=None, joserfc=None);"
        f"import tokenkeep.aio.{home}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
