"""Wine's server stands still or is killed while a Windows program keeps secrets.

Everything of Windows' is the server's then: its threads, files and timers, and every lock of
CPython's that somebody has to wait for. So a call ends by its deadline where it is made on a thread
that is there already, and waited for without any of these; in a program whose other threads rest.
What opens a file waits for the server.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.wine import WineApart, started_apart, windows_path
from windows.without_server import LONG, MARK, SEPARATOR

PROGRAM = Path(__file__).with_name("without_server.py")
#: Seconds that the server stands still for a call that waits for it.
STILL = 0.6
#: Seconds within which a call has to end: the longest deadline, and what a busy machine adds.
IN_TIME = LONG + 5.0
#: Seconds for whatever has to come, on a busy machine.
PATIENCE = 60.0
#: Now and then a call meets a lock of CPython's just when the server stops, and waits for it; never
#: so often that one of these is not in time.
TRIES = 3
#: What a program says that says nothing in time.
NOTHING = object()

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
    "wait_until_unlocked for long": (True, OLD),
    "facts": ("windows-credentials", OLD),
    "probe": (None, OLD),
    "DPAPI": (1, OLD),
    "doctor": (0, OLD),
}
#: What needs no server, and what waits for it.
NEEDS_NONE = {"facts", "probe"}
WAITS = {"doctor"}
#: What says that a call's time was over, where it is not an error.
LATE = {"check": "timed out", "doctor": 4}

pytestmark = [pytest.mark.requires("wine"), pytest.mark.timeout(400)]


@pytest.fixture
def wine(tmp_path: Path) -> Generator[WineApart]:
    folder = tmp_path / "prefix"
    folder.mkdir()
    with started_apart(folder) as apart:
        yield apart


def test_call_ends_by_its_deadline_while_the_server_stands_still(
    wine: WineApart, tmp_path: Path
) -> None:
    """Each says that its time was over, before the server goes on; and nothing is lost."""
    with _programs(wine, tmp_path, 1) as (program,):
        for name in CALLS:
            assert any(_ends_in_time(wine, program, name) for _try in range(TRIES)), name


def test_call_ends_also_where_all_threads_hang(wine: WineApart, tmp_path: Path) -> None:
    """More calls than threads are kept, with no server to make another one; then all is well."""
    with _programs(wine, tmp_path, 1) as (program,):
        assert any(_all_end_in_time(wine, program) for _try in range(TRIES))
        program.ask("read", "names")
        assert ["s3cret", ["api_key"]] == [program.says(), program.says()]


def test_call_ends_by_its_deadline_where_the_server_was_killed(
    wine: WineApart, tmp_path: Path
) -> None:
    """A program for each call; a new server has what the programs had kept before."""
    with _programs(wine, tmp_path, 1):
        pass
    wine.stop()
    wine.start()
    names = [name for name in CALLS if name not in WAITS]
    for _try in range(TRIES):
        names = names and _late_after_kill(wine, tmp_path, names)
    assert [] == names
    with _programs(wine, tmp_path, 1) as (program,):
        program.ask("read")
        assert ("s3cret", OLD) == (program.says(), program.says())


def _ends_in_time(wine: WineApart, program: Program, name: str) -> bool:
    """Whether the call did, unless it may wait; it says nothing false, and loses nothing."""
    right, changed = CALLS[name]
    with _still(wine):
        program.ask(name)
        said = program.says_by(STILL if name in WAITS else IN_TIME)
    is_late = said is NOTHING
    if is_late:
        said = program.says()
    assert said in ((_expected(name), right) if is_late else (_expected(name),)), name
    # What had begun by the deadline may be done all the same.
    assert program.says() in (OLD, changed), name
    assert "rested" == program.says()
    return name in WAITS or not is_late


def _late_after_kill(wine: WineApart, folder: Path, names: list[str]) -> list[str]:
    """Those of the calls that are still waiting by then, of a program each; a new server runs."""
    with _programs(wine, folder, len(names)) as programs:
        wine.signal(signal.SIGKILL)
        for program, name in zip(programs, names, strict=True):
            program.ask(name)
        said = {name: each.says_by(IN_TIME) for name, each in zip(names, programs, strict=True)}
    wine.end()
    wine.start()
    late = [name for name, answer in said.items() if answer is NOTHING]
    assert {name: NOTHING if name in late else _expected(name) for name in names} == said
    return late


def _all_end_in_time(wine: WineApart, program: Program) -> bool:
    """As `_ends_in_time`, for more calls than threads are kept."""
    with _still(wine):
        program.ask(*["read", "write"] * 4)
        said = [program.says_by(IN_TIME) for _call in range(8)]
    late = [program.says() for _call in range(said.count(NOTHING))]
    assert {*said} <= {"StoreTimeout", NOTHING}
    assert {*late} <= {"StoreTimeout", "s3cret", None}
    assert program.says() in (OLD, {**OLD, "new": "value"})
    assert "rested" == program.says()
    return not late


def _expected(name: str) -> object:
    return CALLS[name][0] if name in NEEDS_NONE else LATE.get(name, "StoreTimeout")


@contextmanager
def _still(wine: WineApart) -> Generator[None]:
    wine.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        wine.signal(signal.SIGCONT)


class Program:
    """One that makes calls, and what it says: none of it is lost, none of it waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._said: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def ask(self, *names: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{SEPARATOR.join(names)}\n")
        self.process.stdin.flush()

    def says(self, seconds: float = PATIENCE) -> object:
        """The next that it says within so many seconds, or that it ended and of what."""
        return self._said.get(timeout=seconds)

    def says_by(self, seconds: float) -> object:
        """The same; NOTHING if it says nothing in time."""
        try:
            return self._said.get(timeout=seconds)
        except queue.Empty:
            return NOTHING

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
        assert self.process.stderr is not None
        self._said.put(f"ended: {self.process.stderr.read()}")


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
