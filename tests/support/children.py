"""Forked children: a second process that runs a function of the test itself."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class Child:
    """A forked process that runs `work` and ends; what it returned comes back by `result`.

    Leaving the `with` block kills it if it is still there.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        receiving, sending = os.pipe()
        with warnings.catch_warnings():
            # The test's server has threads; the child uses none of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.close(receiving)
            _run(work, sending)
        os.close(sending)
        self._receiving: int | None = receiving
        self._status: int | None = None

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit code; negative is the signal that ended it."""
        until = time.monotonic() + timeout
        while self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                raise AssertionError(f"the child still runs after {timeout} s")
            else:
                time.sleep(0.002)
        return self._status

    def result(self, timeout: float = 30.0) -> Any:
        """What `work` returned.

        Raises:
            AssertionError: it raised, was killed, or did not end in time; says which.
        """
        assert self._receiving is not None
        os.set_blocking(self._receiving, False)
        until, parts = time.monotonic() + timeout, []
        while True:
            try:
                part = os.read(self._receiving, 1 << 16)
                if not part:
                    break
                parts.append(part)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise AssertionError(f"no result after {timeout} s") from None
                time.sleep(0.002)
        code = self.wait(timeout)
        if not parts:
            raise AssertionError(f"the child ended with {code} and without a result")
        kind, value = pickle.loads(b"".join(parts))
        if kind == "raised":
            raise AssertionError(f"the child raised:\n{value}")
        return value

    def signal(self, number: int) -> None:
        if self._status is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is None:
            self.signal(signal.SIGCONT)
            self.kill()
        if self._receiving is not None:
            os.close(self._receiving)
            self._receiving = None


def in_child(work: Callable[[], object], timeout: float = 30.0) -> Any:
    """What `work` returns in a forked process."""
    with Child(work) as child:
        return child.result(timeout)


def _run(work: Callable[[], object], sending: int) -> None:
    code = 1
    try:
        try:
            answer: tuple[str, object] = ("returned", work())
        except BaseException:
            answer = ("raised", traceback.format_exc())
        with os.fdopen(sending, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)  # nothing of the test run happens twice
