"""A screen that nobody looks at."""

from __future__ import annotations

import contextlib
import os
import subprocess
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
