"""How long a call keeps an event loop from its other work.

A loop's tick is late because something of this process held it up, or because the machine ran
something else. What this process computes takes processor time: a gap between two ticks counts by
no more than all its threads computed in it, however busy the machine is. Only what keeps the
interpreter without computing, blocked in the system, takes none. It makes every round late, which
no machine does to a short one: mere lateness counts in the rounds that were least late.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

#: Seconds that a call may keep a loop from its other work: the target. The interpreter lets a
#: thread compute for as long before it has to give way, so a thread that computes longer is seen.
LONGEST_STALL = 0.005

_TICK = 0.001
ROUNDS = 40
#: The part of the rounds, the least late ones, in which mere lateness counts.
_LEAST_LATE = 1 / 8
#: The part of the rounds that do not count. Interrupts, and what the host of a virtual machine does
#: meanwhile, are charged to whom they interrupt: a process that only sleeps now and then "computes"
#: for ten milliseconds. What a call computes, it computes each time.
_STRAY = 1 / 20
#: So many more times a stall that is too long is looked for.
_AGAIN = 2


class Round(NamedTuple):
    """What one round of work did to a loop that wants to run every millisecond, in seconds.

    Attributes:
        late: how late the loop was at most.
        computed: the same, where no gap counts by more than this process computed in it.
    """

    late: float
    computed: float


async def one_round(work: Callable[[], Awaitable[object]]) -> Round:
    """Does the work beside a task that ticks."""
    worst = Round(0.0, 0.0)

    async def tick() -> None:
        nonlocal worst
        then, before = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(_TICK)
            now, after = time.perf_counter(), time.process_time()
            late, computed = now - then - _TICK, after - before
            worst = Round(max(worst.late, late), max(worst.computed, min(late, computed)))
            then, before = now, after

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(2 * _TICK)
    await work()
    await asyncio.sleep(2 * _TICK)  # what held the loop up last is noticed by the next tick
    ticking.cancel()
    with suppress(asyncio.CancelledError):
        await ticking
    return worst


async def rounds_of(work: Callable[[], Awaitable[object]], count: int = ROUNDS) -> list[Round]:
    """Does the work again and again."""
    return [await one_round(work) for _ in range(count)]


def longest_stall(rounds: Sequence[Round]) -> float:
    """What the work kept the loop for at most, in seconds."""
    late = sorted(each.late for each in rounds)
    computed = sorted(each.computed for each in rounds)
    return max(late[int(len(late) * _LEAST_LATE)], computed[-1 - math.ceil(len(late) * _STRAY)])


def longest_stalls(measure: Callable[[], Sequence[Sequence[Round]]]) -> list[float]:
    """The same of each of several calls, measured again where it was too long for one of them.

    A call does each time what it does; what a busy machine charges to it comes and goes.
    """
    found = [longest_stall(rounds) for rounds in measure()]
    for _again in range(_AGAIN):
        if max(found) < LONGEST_STALL:
            break
        found = list(map(min, found, (longest_stall(rounds) for rounds in measure())))
    return found
