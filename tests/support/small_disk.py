"""A file system that is full, or read-only, for as long as a test needs it."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def small_disk(place: Path, kilobytes: int = 64) -> Iterator[Path]:
    """A small file system mounted at `place`; needs root, see `requires("full disk")`."""
    place.mkdir(exist_ok=True)
    options = f"size={kilobytes}k,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Takes every free block of the file system; delete what is returned to have them back."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def empty_log(vault: Path) -> None:
    """Moves a vault's log into its database, and leaves an empty one; nobody may have it open."""
    path = vault / "vault.db"
    # Who is last and cannot write leaves the log where it is.
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as last:
        last.execute("SELECT * FROM state").fetchone()
        with closing(sqlite3.connect(path)) as database:
            assert (0, 0, 0) == database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def set_read_only(place: Path, read_only: bool) -> None:
    mode = "ro" if read_only else "rw"
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True)
