"""The header's file replaced, in the very directory that has the open database.

Invariant: no header gets into another vault, which somebody may make at the path at any time.
"""

from __future__ import annotations

import os
import sys

from tokenkeep.errors import StoreUnavailable
from tokenkeep.vault import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.vault.engine import Engine


def replace_header(engine: Engine, data: bytes) -> None:
    """Puts a new header in the place of the old one; called inside of `Engine.locked`.

    Raises:
        StoreUnavailable: the vault was moved or replaced meanwhile; nothing changed.
        AccessDenied, StoreFull: it cannot be written; nothing changed.
        StoreUnavailable: also, the disk failed; either header may be there.
    """
    try:
        if sys.platform == "win32":
            # No directory is moved there while a file in it is open, as the database is.
            files.replace_file(os.path.join(engine.directory, files.HEADER), data)
            return
        folder = os.open(engine.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _replace_in(folder, engine, data)
        finally:
            os.close(folder)
    except OSError as exc:
        if isinstance(exc.filename, str):  # the remedy names the whole path
            exc.filename = os.path.join(engine.directory, exc.filename)
        raise files.translated(exc, "the vault's header") from None


def _replace_in(folder: int, engine: Engine, data: bytes) -> None:
    found = os.stat(files.DATABASE, dir_fd=folder, follow_symlinks=False)
    if (found.st_dev, found.st_ino) != engine.identity:
        raise StoreUnavailable("the vault was moved or replaced meanwhile", hint="try again")
    files.replace_file(files.HEADER, data, folder=folder)
