"""What another user of this machine needs before a test can be played as that user."""

from __future__ import annotations

import os
from pathlib import Path


def let_through(path: Path) -> None:
    """Lets every user pass through the folders above `path`, up to the common one.

    pytest closes the folder of all its runs again whenever a run begins, also one that a test
    began: so every folder that is ours is opened, not only those up to the first open one.
    """
    for folder in path.parents:
        found = folder.stat()
        if found.st_uid == os.geteuid() and not found.st_mode & 0o001:
            folder.chmod(found.st_mode & 0o777 | 0o011)
