"""Many threads at one moment, and a forked child that cannot hang the test."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

THREADS = 8


def together(work: Callable[[int], T], threads: int = THREADS) -> list[T]:
    """Runs `work(number)` on many threads, started at one moment; their results in order."""
    barrier = threading.Barrier(threads)
    results: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(30)
            results[number] = work(number)
        except BaseException as exc:
            errors.append(exc)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(120)
    if errors:
        raise errors[0]
    return [results[number] for number in range(threads)]


def forked(work: Callable[[], bool], timeout: float = 30.0) -> bool:
    """Whether `work` was true in a forked child within the time; a child that hangs is killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        except BaseException as exc:
            os.write(2, f"forked child: {type(exc).__name__}: {exc}\n".encode())
        finally:
            os._exit(code)
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False
