"""An event loop goes on while a vault is asked, and the measure of that sees what it should."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from support.async_program import first_events, first_rounds, warm_rounds
from support.stalls import LONGEST_STALL, longest_stall, rounds_of


def test_the_first_calls_of_a_process_load_nothing(tmp_path: Path) -> None:
    """All is imported before the loop runs, by `preload`; its thread opens no file: the calls are
    made, and the vault with its key, on other threads.
    """
    assert [] == first_events("vault", tmp_path / "vault")


def test_the_first_calls_of_a_process_hold_no_loop_up(tmp_path: Path) -> None:
    """Making the storage, opening the vault, and each call."""
    assert longest_stall(first_rounds("vault", tmp_path / "vault")) < LONGEST_STALL


def test_calls_hold_no_loop_up(tmp_path: Path) -> None:
    """The same later on, with the vault opened anew in each round."""
    assert longest_stall(warm_rounds("vault", tmp_path / "vault")) < LONGEST_STALL


async def _blocks_the_loop() -> None:
    time.sleep(2 * LONGEST_STALL)


async def _holds_the_interpreter() -> None:
    await asyncio.to_thread(pow, 3, 2**2500 - 1, 2**2500 - 3)


async def _computes() -> None:
    def count() -> int:
        return sum(number for number in range(1_000_000))

    await asyncio.to_thread(count)


@pytest.mark.parametrize("work", [_blocks_the_loop, _holds_the_interpreter, _computes])
def test_the_measure_sees_what_holds_a_loop_up(work: Callable[[], Awaitable[None]]) -> None:
    """A loop that blocks, a thread that keeps the interpreter's lock, and one that gives it up when
    it has to, after five milliseconds.
    """

    async def main() -> float:
        return longest_stall(await rounds_of(work))

    assert LONGEST_STALL < asyncio.run(main())


def test_the_measure_sees_nothing_where_nothing_is() -> None:
    """A loop whose threads sleep has no stall to speak of."""

    async def main() -> float:
        async def idle() -> None:
            await asyncio.to_thread(time.sleep, 0.03)

        return longest_stall(await rounds_of(idle))

    assert asyncio.run(main()) < LONGEST_STALL


@pytest.mark.parametrize("home", ["storage", "session"])
def test_what_is_not_installed_keeps_nobody_from_the_rest(home: str) -> None:
    """Nothing that is loaded beforehand is needed by everybody: its lack is told by its calls."""
    program = (
        "import sys; sys.modules.update(jeepney=None, httpx2=None, joserfc=None);"
        f"import tokenkeep.aio.{home}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
