"""How far something long is: a bar on a terminal, nothing anywhere else.

It comes with the first that is told, not before: it would draw over the question for a passphrase,
which opens the vault.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STDERR = 2


@contextmanager
def progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Gives what is to be told how many of how many are done; of 0 where nobody knows."""
    if not os.isatty(_STDERR):
        yield lambda _done, _total: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        # A bar is no reason to fail: `rich` comes with the extra, but `click` alone will do.
        yield lambda _done, _total: None
        return
    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(doing, total=None)

    def told(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total or None)

    try:
        yield told
    finally:
        if bar.live.is_started:
            bar.stop()
