"""The other end of `worker.py`: starts one in a peer's environment and gives it orders."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from environments import python_of
from measure import PeerFailed

HERE = Path(__file__).resolve().parent
#: A peer that says nothing for so long hangs.
ANSWER_SECONDS = 240.0


class Process:
    """A program of ours in somebody's environment that answers JSON lines with JSON lines."""

    def __init__(
        self, environment: str, arguments: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        try:
            self._process = subprocess.Popen(
                [python_of(environment), *arguments],
                env=dict(variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError as exc:
            raise PeerFailed(f"not run: .bench/{environment} could not be made") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, **order: object) -> None:
        """Give an order without waiting."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except OSError as exc:
            raise PeerFailed("its process died") from exc

    def line(self, seconds: float = ANSWER_SECONDS) -> str:
        """The next line that it prints; "" if it has died or was ended for its silence."""
        assert self._process.stdout is not None
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            return self._process.stdout.readline()
        finally:
            timer.cancel()

    def answer(self, seconds: float = ANSWER_SECONDS) -> Any:
        """What it answers.

        Raises:
            PeerFailed: The peer raised an error, died or was silent for too long.
        """
        line = self.line(seconds)
        if not line:
            raise PeerFailed("its process died, or said nothing for too long")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise PeerFailed(answer["error"])
        return answer

    def ask(self, **order: object) -> Any:
        """Give an order and wait for the answer."""
        self.send(**order)
        return self.answer()

    def kill(self) -> list[str]:
        """End it with SIGKILL; the lines that it had still printed."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        return self._process.stdout.readlines()

    def close(self) -> None:
        """Let it end by itself, or end it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:  # it has died with an order unread
            pass
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Worker(Process):
    """A peer's store in a process of its own.

    Args:
        adapter: a module of `peers`.
        place: a directory for what the store keeps.
    """

    def __init__(
        self, environment: str, adapter: str, place: str, variables: Mapping[str, str]
    ) -> None:
        super().__init__(environment, [str(HERE / "worker.py"), adapter, place], variables)
