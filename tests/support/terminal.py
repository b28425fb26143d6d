"""A person at a terminal: a pseudo-terminal that a program runs on, read and typed into."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class AtTerminal:
    """Starts a program on a terminal of its own; leaving the `with` block ends it."""

    def __init__(
        self,
        command: Sequence[str | bytes],
        cwd: Path,
        env: Mapping[str, str],
        stdout: int | None = None,
    ) -> None:
        self._controller, terminal = pty.openpty()
        self.screen = ""
        self._seen = 0
        self.process = subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal if stdout is None else stdout,
            stderr=terminal,
            cwd=cwd,
            env={"TERM": "xterm", **env},
            start_new_session=True,
            preexec_fn=_as_a_terminal_does,
        )
        os.close(terminal)

    def sees(self, text: str, timeout: float = 20.0) -> None:
        """Waits until a text stands on the screen, after what was seen before.

        Raises:
            AssertionError: it did not come.
        """
        until = time.monotonic() + timeout
        while text not in self.screen[self._seen :]:
            if not self._reads(until - time.monotonic()):
                raise AssertionError(f"{text!r} is not on the screen: {self.screen!r}")
        self._seen = self.screen.index(text, self._seen) + len(text)

    def types(self, text: str | bytes) -> None:
        os.write(self._controller, text.encode() if isinstance(text, str) else text)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._controller)[3] & termios.ECHO)

    def code(self, timeout: float = 20.0) -> int:
        """Waits for the end; the exit code. The screen is complete then."""
        until = time.monotonic() + timeout
        while self._reads(until - time.monotonic()):
            pass
        return self.process.wait(max(0.1, until - time.monotonic()))

    def _reads(self, timeout: float) -> bool:
        ready, _, _ = select.select([self._controller], [], [], max(0.0, timeout))
        if not ready:
            return False
        try:
            piece = os.read(self._controller, 4096)
        except OSError:  # the last one on the other side has gone
            return False
        self.screen += piece.decode("utf-8", "replace")
        return bool(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        with contextlib.suppress(OSError):
            os.close(self._controller)


def _as_a_terminal_does() -> None:
    """Before the program runs: Ctrl-C reaches it as a signal, and none is ignored by inheritance.

    Whatever runs the tests in the background may ignore some, which its children would too.
    """
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
