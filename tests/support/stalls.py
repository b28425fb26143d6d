"""How long an event loop was kept from its other work.

A loop's tick is late because something held the loop up, or because the machine had no processor
for this process. Linux counts the latter, and it is taken off: the time that this process's threads
were ready to run and did not, and the time that a virtual machine's host was busy with others. The
counters are coarse, so of many rounds those count in which the machine took least.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

#: Seconds that a call may keep a loop from its other work. The target is five milliseconds, which
#: is also what the interpreter lets a thread compute before it has to give way: less is asked for
#: here, so that a thread which computes for longer is seen.
LONGEST_STALL = 0.004

_TICK = 0.001
#: So many rounds count.
_COUNTED = 8
#: Seconds that a machine at rest may take in a round.
_QUIET = 0.003
_TASKS = "/proc/self/task"
_PROCESSORS = "/proc/stat"


class Round(NamedTuple):
    """What one round of work did to a loop that wants to run every millisecond, in seconds.

    Attributes:
        stall: how late the loop was at most, less what the machine took meanwhile.
        taken: what the machine took from this process in the whole round.
    """

    stall: float
    taken: float


async def one_round(work: Callable[[], Awaitable[object]]) -> Round:
    """Does the work beside a task that ticks."""
    worst = 0.0
    begun = taken()

    async def tick() -> None:
        nonlocal worst
        before, last = begun, time.perf_counter()
        while True:
            await asyncio.sleep(_TICK)
            # No gap between two ticks: to look at the counters, too, takes the interpreter.
            now = time.perf_counter()
            late, last = now - last - _TICK, now
            counted = taken()
            worst = max(worst, late - lost(before, counted))
            before = counted

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(2 * _TICK)
    await work()
    await asyncio.sleep(2 * _TICK)  # what held the loop up last is noticed by the next tick
    ticking.cancel()
    with suppress(asyncio.CancelledError):
        await ticking
    return Round(worst, lost(begun, taken()))


async def rounds_of(work: Callable[[], Awaitable[object]]) -> list[Round]:
    """Does the work again and again, until there are rounds enough."""
    rounds: list[Round] = []
    while not are_enough(rounds):
        rounds.append(await one_round(work))
    return rounds


def are_enough(rounds: Sequence[Round]) -> bool:
    """Whether in so many of the rounds that count the machine took nothing to speak of.

    True also when it never stops taking: the rounds that it took least from have to do.
    """
    quiet = sum(each.taken < _QUIET for each in rounds)
    return quiet >= _COUNTED or len(rounds) >= 3 * _COUNTED


def longest_stall(rounds: Sequence[Round]) -> float:
    """What the stalls stay within in three of four of the quietest rounds, in seconds.

    The others may have been hit by what no counter shows: what a call does to a loop, it does in
    more rounds than in one of four.
    """
    quietest = sorted(rounds, key=lambda each: each.taken)[:_COUNTED]
    return sorted(each.stall for each in quietest)[_COUNTED * 3 // 4 - 1]


class Taken(NamedTuple):
    waited: dict[str, int]
    stolen: list[int]


def lost(before: Taken, now: Taken) -> float:
    """The largest of the losses and not their sum: they fall together.

    A thread waits, too, for a processor that the host has taken, or for one to see that another
    thread, which waits itself, still has the interpreter.
    """
    stolen = [after - was for was, after in zip(before.stolen, now.stolen, strict=False)]
    waited = [each - before.waited.get(task, 0) for task, each in now.waited.items()]
    tick = os.sysconf("SC_CLK_TCK")
    return max(max(stolen, default=0) / tick, max(waited, default=0) / 1e9)


def taken() -> Taken:
    """Nanoseconds that each thread waited for a processor, and ticks that each processor lost.

    Linux, sched-stats.rst and proc_stat(5), "steal"; nothing where nobody counts.
    """
    waited, stolen = {}, []
    with suppress(FileNotFoundError):
        for task in os.listdir(_TASKS):
            with suppress(OSError), open(f"{_TASKS}/{task}/schedstat", "rb", 0) as file:
                waited[task] = int(file.read().split()[1])
        with open(_PROCESSORS, "rb", 0) as file:
            lines = file.read(8_192).splitlines()[1:]
            stolen = [int(line.split()[8]) for line in lines if line.startswith(b"cpu")]
    return Taken(waited, stolen)
