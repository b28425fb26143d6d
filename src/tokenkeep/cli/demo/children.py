"""The processes of the story: started, listened to, ended; every one of them by its own id."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: No command of the story takes nearly as long; one that hangs fails its scene.
PATIENCE_SECONDS = 30.0


class StoryError(Exception):
    """A scene could not go on; the message says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A process that ended; stdout may hold a token."""

    exit_code: int
    stdout: bytes
    stderr: str


class Child:
    """A process that runs; its stdin is closed unless `talks`."""

    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], directory: str, *, talks: bool = False
    ) -> None:
        self._process = subprocess.Popen(
            words,
            env=dict(env),
            cwd=directory,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def finish(self, timeout: float = PATIENCE_SECONDS) -> Ran:
        """Waits for its end.

        Raises:
            StoryError: it did not end in time, and was killed.
        """
        try:
            stdout, stderr = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StoryError(f"a process did not end within {timeout:.0f} s") from None
        return Ran(self._process.returncode, stdout, stderr.decode("utf-8", "replace"))

    def kill(self) -> Ran:
        """Ends it at once, as the system does when memory runs out: SIGKILL."""
        self._process.kill()
        stdout, stderr = self._process.communicate()
        return Ran(self._process.returncode, stdout, stderr.decode("utf-8", "replace"))

    def tell(self, line: str) -> None:
        """Writes a line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def line(self, timeout: float = PATIENCE_SECONDS) -> str:
        """The next line of its stdout.

        Raises:
            StoryError: none came in time, or it ended.
        """
        assert self._process.stdout is not None
        return _line(self._process.stdout.fileno(), timeout)

    def error_line(self, timeout: float = PATIENCE_SECONDS) -> str:
        """The next line of its stderr.

        Raises:
            StoryError: none came in time, or it ended.
        """
        assert self._process.stderr is not None
        return _line(self._process.stderr.fileno(), timeout)


def _line(fd: int, timeout: float) -> str:
    # Byte by byte past all buffers: what follows the line is for `communicate`.
    deadline = time.monotonic() + timeout
    line = bytearray()
    while not line.endswith(b"\n"):
        left = max(0.0, deadline - time.monotonic())
        if not select.select([fd], [], [], left)[0]:
            raise StoryError(f"a process said nothing for {timeout:.0f} s")
        byte = os.read(fd, 1)
        if not byte:
            raise StoryError("a process ended before it said what it was to say")
        line += byte
    return line.decode("utf-8", "replace").rstrip("\n")
