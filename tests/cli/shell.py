"""Transcripts: a shell session with the real command, as text, played again by a test.

    $ printf secret | tokenkeep --app a set name
    $ tokenkeep --app a get nothing
    error: there is no item of this name
    hint: tokenkeep --app a list
    [3]

A line with `$` is given to sh; the lines below are what it wrote, stdout and stderr as they came;
`[3]` is the exit code where it is not 0. `...` stands for anything within a line, `~` for the home.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: bytes
    err: str


class Shell:
    """A person's shell in an empty home, with `tokenkeep` on the path."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.variables: dict[str, str] = {}
        programs = home / "programs"
        programs.mkdir()
        _program(programs / "tokenkeep", f'exec "{sys.executable}" -m tokenkeep.cli "$@"')
        _program(programs / "python", f'exec "{sys.executable}" "$@"')
        self.path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": self.path, "LC_ALL": "C.UTF-8", **self.variables}

    def tokenkeep(
        self, *words: str | bytes, stdin: bytes = b"", timeout: float = 60.0, **variables: str
    ) -> Answer:
        """Runs the command, without a shell."""
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            cwd=self.home,
            env={**self.environment, **variables},
            timeout=timeout,
        )
        return Answer(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))

    def start(self, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        """Starts the command and leaves it running."""
        return subprocess.Popen(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env={**self.environment, **variables},
        )

    def command(self, *words: str | bytes) -> list[str | bytes]:
        return [sys.executable, "-m", "tokenkeep.cli", *words]

    def plays(self, transcript: str) -> None:
        """Plays a transcript.

        Raises:
            AssertionError: something else happened; shows both.
        """
        expected = dedent(transcript).strip("\n").split("\n")
        commands = [line[2:] for line in expected if line.startswith("$ ")]
        assert commands, "a transcript has commands"
        happened: list[str] = []
        for command in commands:
            happened.append(f"$ {command}")
            happened += self._lines(command)
        pattern = "".join(_pattern(line) for line in expected)
        assert re.fullmatch(pattern, "".join(f"{line}\n" for line in happened)), (
            "\n--- expected\n" + "\n".join(expected) + "\n--- happened\n" + "\n".join(happened)
        )

    def _lines(self, command: str) -> list[str]:
        done = subprocess.run(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            env=self.environment,
            timeout=60,
        )
        text = done.stdout.decode("utf-8", "replace").replace(str(self.home), "~")
        lines = text.removesuffix("\n").split("\n") if text else []
        return [*lines, f"[{done.returncode}]"] if done.returncode else lines


def tree_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: its mode and its content."""
    return {
        str(path.relative_to(folder)): (
            stat.S_IMODE(path.lstat().st_mode),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that this test started, at once and for good."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def _pattern(line: str) -> str:
    """Dots in a line stand for anything in it, a line of nothing else for any number of lines."""
    if line.strip() == "...":
        return r"(?:.*\n)*?"
    return re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
