"""Wine's server stands still or is killed while a Windows program keeps secrets.

What cannot be: an answer while there is no server. In Wine every lock of CPython, the interpreter's
own among them, is a semaphore in the server, and `time.monotonic` is a count that the server makes:
no deadline passes, and no thread of Python may take over from another. So the rule is: nothing
false is answered meanwhile, everything is answered as soon as the server goes on, and nothing is
lost; a program whose server was killed cannot go on, and has to be ended.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.wine import WineApart, started_apart, windows_path
from windows.without_server import MARK

PROGRAM = Path(__file__).with_name("without_server.py")
#: Seconds that the server stands still: several of the calls' deadlines.
STILL = 0.6
#: Seconds for whatever has to come, on a busy machine.
PATIENCE = 60.0

OLD = {"api_key": "s3cret"}
#: For each call, what it answers where the server comes back in time, and what is kept then.
CALLS: dict[str, tuple[object, dict[str, str]]] = {
    "read": ("s3cret", OLD),
    "read of what is not there": (None, OLD),
    "write": (None, {**OLD, "new": "value"}),
    "overwrite": (None, {"api_key": "other"}),
    "delete": (True, {}),
    "names": (["api_key"], OLD),
    "contains": (True, OLD),
    "read_all": (OLD, OLD),
    "delete_all": (1, {}),
    "check": ("ok", OLD),
    "wait_until_unlocked": (True, OLD),
    "facts": ("windows-credentials", OLD),
    "probe": (None, OLD),
    "DPAPI": (1, OLD),
    "doctor": (0, OLD),
}
#: What says that a call's time was over, where it is not an error.
LATE = {"check": "timed out", "doctor": 4}

pytestmark = [pytest.mark.requires("wine"), pytest.mark.timeout(400)]


@pytest.fixture
def wine(tmp_path: Path) -> Generator[WineApart]:
    folder = tmp_path / "prefix"
    folder.mkdir()
    with started_apart(folder) as apart:
        yield apart


def test_server_that_stands_still_is_waited_for_and_nothing_is_lost(
    wine: WineApart, tmp_path: Path
) -> None:
    """Each call answers rightly, or that its time was over; and what is kept is as it says."""
    with _programs(wine, tmp_path, 1) as (program,):
        for name, (right, changed) in CALLS.items():
            wine.signal(signal.SIGSTOP)
            try:
                program.ask(name)
                time.sleep(STILL)
            finally:
                wine.signal(signal.SIGCONT)
            answer, kept = program.says(), program.says()
            assert answer in (right, LATE.get(name, "StoreTimeout")), name
            # What had begun by the deadline may be done all the same.
            assert kept in ((changed,) if answer == right else (OLD, changed)), name


def test_killed_server_makes_no_call_answer_falsely_and_loses_nothing(
    wine: WineApart, tmp_path: Path
) -> None:
    """A program for each call; a new server has what the programs had kept before."""
    with _programs(wine, tmp_path, 1):
        pass
    wine.stop()
    wine.start()
    with _programs(wine, tmp_path, len(CALLS)) as programs:
        wine.signal(signal.SIGKILL)
        for program, name in zip(programs, CALLS, strict=True):
            program.ask(name)
        time.sleep(STILL)
        for program, (name, (right, _changed)) in zip(programs, CALLS.items(), strict=True):
            for answer in program.has_said():
                assert answer in (right, LATE.get(name, "StoreTimeout")), name
    wine.end()
    wine.start()
    with _programs(wine, tmp_path, 1) as (program,):
        program.ask("read")
        assert ("s3cret", OLD) == (program.says(), program.says())


class Program:
    """One that makes calls, and what it says: none of it is lost, none of it waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._said: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def ask(self, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()

    def says(self) -> object:
        """The next that it says."""
        return self._said.get(timeout=PATIENCE)

    def has_said(self) -> Iterator[object]:
        """What it said already."""
        while not self._said.empty():
            yield self._said.get()

    def end(self) -> None:
        """Also where it cannot end by itself any more."""
        self.process.kill()
        self.process.wait()
        self._listener.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                self._said.put(json.loads(line.removeprefix(MARK)))


@contextmanager
def _programs(wine: WineApart, folder: Path, count: int) -> Generator[list[Program]]:
    """So many of them, all ready."""
    lock = windows_path(folder / "lock")
    programs: list[Program] = []
    try:
        for _number in range(count):  # one after the other: many that start at once may hang
            programs.append(Program(wine.program(windows_path(PROGRAM), lock)))
            assert "ready" == programs[-1].says()
        yield programs
    finally:
        for program in programs:
            program.end()
