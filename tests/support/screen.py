"""A screen, and somebody who may look at it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator

from support.waiting import eventually


@contextlib.contextmanager
def screen() -> Iterator[str]:
    """Starts Xvfb; gives the display's name. Ended by its id."""
    reading, writing = os.pipe()
    with open(reading, "rb") as number:
        # Xvfb takes the first free display and writes its number when it is ready.
        process = subprocess.Popen(
            [
                "Xvfb",
                "-displayfd",
                str(writing),
                "-screen",
                "0",
                "640x480x24",
                "-nolisten",
                "tcp",
                "-noreset",
            ],
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        try:
            display = number.readline().decode().strip()
            assert display, "Xvfb did not start"
            # The number comes before the first connection is taken.
            look = ["xdotool", "getdisplaygeometry"]
            env = {**os.environ, "DISPLAY": f":{display}"}
            eventually(
                lambda: subprocess.run(look, env=env, capture_output=True).returncode == 0,
                "Xvfb takes no connection",
            )
            yield f":{display}"
        finally:
            process.terminate()
            process.wait()


class Person:
    """Somebody at the screen, with a keyboard."""

    def __init__(self, display: str) -> None:
        self._env = {**os.environ, "DISPLAY": display}

    def sees_a_window(self) -> bool:
        return bool(self._xdotool("search", "--onlyvisible", "--class", "."))

    def sees_it_close(self) -> None:
        """Waits until there is no window: an answered one is gone a moment after its answer."""
        eventually(lambda: not self.sees_a_window(), "a prompt stays on the screen")

    def types(self, *texts: str) -> None:
        """A text for each field of the window, then Return."""
        self.looks()
        for number, text in enumerate(texts):
            if number:
                self._xdotool("key", "Tab")
            self._xdotool("type", "--delay", "20", text)
        self._xdotool("key", "Return")

    def presses(self, key: str) -> None:
        self.looks()
        self._xdotool("key", key)

    def looks(self) -> None:
        """Waits until there is a window, and until it takes the keyboard."""
        eventually(self.sees_a_window, "no prompt was shown", seconds=15.0)
        time.sleep(0.5)  # a window takes the keyboard after it is shown

    def _xdotool(self, *arguments: str) -> str:
        answer = subprocess.run(
            ["xdotool", *arguments], env=self._env, capture_output=True, text=True, timeout=20
        )
        return answer.stdout
