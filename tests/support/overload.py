"""How long a busy machine kept this process from running, as Linux counts it.

That is the time that its threads were ready to run and did not, the time that a virtual machine's
host was busy with others, and the time that somebody waited for a disk. The counters are coarse:
they tell what to forgive a deadline, not which call was late.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

_TASKS = "/proc/self/task"
_PROCESSORS = "/proc/stat"
_DISKS = "/proc/pressure/io"


class Taken(NamedTuple):
    waited: dict[str, int]
    stolen: list[int]
    disks: int


def lost(before: Taken, now: Taken) -> float:
    """The largest of the losses and not their sum: they fall together.

    A thread waits, too, for a processor that the host has taken, or for one to see that another
    thread, which waits itself, still has the interpreter.
    """
    stolen = [after - was for was, after in zip(before.stolen, now.stolen, strict=False)]
    waited = [each - before.waited.get(task, 0) for task, each in now.waited.items()]
    tick = os.sysconf("SC_CLK_TCK")
    disks = now.disks - before.disks
    return max(max(stolen, default=0) / tick, max(waited, default=0) / 1e9, disks / 1e6)


def taken() -> Taken:
    """Nanoseconds that each thread waited for a processor, ticks that each processor lost, and
    microseconds in which somebody waited for a disk.

    Linux, sched-stats.rst, proc_stat(5), "steal", and psi.rst, "some"; nothing where nobody counts.
    """
    waited, stolen, disks = {}, [], 0
    with suppress(FileNotFoundError):
        for task in os.listdir(_TASKS):
            with suppress(OSError), open(f"{_TASKS}/{task}/schedstat", "rb", 0) as file:
                waited[task] = int(file.read().split()[1])
        with open(_PROCESSORS, "rb", 0) as file:
            lines = file.read(8_192).splitlines()[1:]
            stolen = [int(line.split()[8]) for line in lines if line.startswith(b"cpu")]
    with suppress(OSError), open(_DISKS, "rb", 0) as file:
        disks = int(file.read().split(b"total=")[1].split()[0])
    return Taken(waited, stolen, disks)
