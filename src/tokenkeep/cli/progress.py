"""How far something long is: a bar on a terminal, nothing anywhere else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STDERR = 2


@contextmanager
def progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """Gives what is to be told how many of how many are done."""
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
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
