"""A screen that nobody looks at."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def screen() -> Iterator[str]:
    """Starts Xvfb; gives the display's name. Ended by its id."""
    reading, writing = os.pipe()
    with open(reading, "rb") as number:
        # Xvfb takes the first free display and writes its number when it is ready.
        process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", "640x480x24", "-nolisten", "tcp"],
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        try:
            display = number.readline().decode().strip()
            assert display, "Xvfb did not start"
            yield f":{display}"
        finally:
            process.terminate()
            process.wait()
