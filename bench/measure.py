"""Timing of whole processes: the CPU a child used, medians over interleaved runs.

CPU (user and system, as `wait4` reports it) rather than the clock on the wall: it hardly moves
with what else the machine does. Every run's output is compared with what was expected.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class PeerFailed(Exception):
    """What was measured did not do its job; the message is what it said."""


@dataclass(frozen=True)
class Run:
    """One process from its start to its end."""

    cpu_seconds: float
    exit_code: int
    output: str
    errors: str


@dataclass
class Command:
    """A command line to be measured, and what it has to print.

    Attributes:
        expected: what it has to write to its output, without a last newline; None looks at the
            exit code alone.
        cpu: seconds, one for each run so far.
        failure: why it is no longer run; "" as long as it works.
    """

    title: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    expected: str | None = None
    cpu: list[float] = field(default_factory=list)
    failure: str = ""

    @property
    def median(self) -> float:
        """Seconds of CPU, the middle one of the runs."""
        return statistics.median(self.cpu)


def run(arguments: Sequence[str], environment: Mapping[str, str], given: str = "") -> Run:
    """Run a command to its end and say what it cost.

    Raises:
        PeerFailed: There is no such program.
    """
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as source:
        source.write(given.encode())
        source.seek(0)
        try:
            process = subprocess.Popen(
                list(arguments),
                env=dict(environment),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        except OSError as exc:
            raise PeerFailed(f"{os.path.basename(arguments[0])}: {exc.strerror}") from exc
        with process:
            assert process.stdout is not None
            output = process.stdout.read()
            _pid, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        told = errors.read().decode(errors="replace")
    cpu = usage.ru_utime + usage.ru_stime
    return Run(cpu, process.returncode, output.decode(errors="replace"), told)


def interleave(commands: Sequence[Command], rounds: int, seconds_each: float) -> None:
    """Run every command once a round, so that all of them see the same machine.

    A command that fails is not run again; one that used up `seconds_each` on the clock has fewer
    runs, but never less than three.
    """
    used = dict.fromkeys(range(len(commands)), 0.0)
    for _round in range(rounds):
        for number, command in enumerate(commands):
            enough = len(command.cpu) >= 3 and used[number] > seconds_each
            if command.failure or enough:
                continue
            started = time.perf_counter()
            try:
                command.cpu.append(checked(command).cpu_seconds)
            except PeerFailed as exc:
                command.failure = str(exc)
            used[number] += time.perf_counter() - started


def checked(command: Command) -> Run:
    """Run a command once.

    Raises:
        PeerFailed: It failed, or printed something else than it should.
    """
    result = run(command.arguments, command.environment)
    if result.exit_code != 0:
        raise PeerFailed(f"exit {result.exit_code}: {last_line(result.errors)}")
    if command.expected is not None and result.output.removesuffix("\n") != command.expected:
        raise PeerFailed("it printed something else")
    return result


def last_line(text: str) -> str:
    """The end of what a program said, short enough for a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:120] if lines else "it said nothing"
