"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(
    condition: Callable[[], object],
    complaint: str = "it did not come to that",
    *,
    seconds: float = 10.0,
) -> None:
    """Waits for a condition, looking often.

    Raises:
        AssertionError: it did not come true in time; the message is the complaint.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.01)
