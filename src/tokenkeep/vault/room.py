"""Room for deletions on a full disk: a file in the vault that is given up for them.

What a deletion needs is little: the pages of one item, or of a small batch, written to the log. The
room is kept again by the first writer who finds it missing. Nothing is read from it.
"""

from __future__ import annotations

import os

from tokenkeep.vault import files

#: Two deletions of the largest item that `SecureStorage` keeps by default: each its 64 KiB, which
#: are overwritten, and a leaf of the table and of each index.
ROOM_BYTES = 256 * 1024


def keep(directory: str) -> None:
    """Keeps the room unless it is there; a disk without it is left as it was."""
    path = os.path.join(directory, files.ROOM)
    if os.path.lexists(path):
        return
    try:
        # Nothing that a file system could keep in less room.
        files.write_new(path, os.urandom(ROOM_BYTES))
    except FileExistsError:
        return
    except OSError:
        files.remove(path)


def give_up(directory: str) -> None:
    """Lets whoever is quickest have the room."""
    files.remove(os.path.join(directory, files.ROOM))
