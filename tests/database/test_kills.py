"""SIGKILL while a key is replaced: the database opens afterwards, with everything in it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tokenkeep.backends.vault import VaultOptions
from tokenkeep.database import DatabaseKey
from tokenkeep.storage import SecureStorage
from tokenkeep.vault.slots import KeyFile

ROWS = 2000

CHILD = """
import sys
from database.test_kills import key_in
key = key_in(sys.argv[1])
key.connect().close()
print("ready", flush=True)
while True:
    key.rekey()
"""


def key_in(directory: str) -> DatabaseKey:
    """The key in a vault on disk, of a database beside it."""
    place = Path(directory)
    storage = SecureStorage(
        "org.example.notes",
        VaultOptions(place / "vault", KeyFile(place / "key")),
        state_directory=str(place / "state"),
        timeout=30.0,
    )
    return DatabaseKey(storage, place / "notes.db")


@pytest.mark.load
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_at_any_moment_of_a_rekey(tmp_path: Path) -> None:
    """Twenty kills: every row is there each time, by the key in the store."""
    connection = key_in(str(tmp_path)).connect()
    connection.execute("CREATE TABLE note (text)")
    connection.executemany("INSERT INTO note VALUES (?)", [("x" * 500,)] * ROWS)
    connection.commit()
    connection.close()
    dice = random.Random(7)
    for _ in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        assert child.stdout is not None
        assert b"ready\n" == child.stdout.readline()
        time.sleep(dice.uniform(0.0, 0.15))
        child.kill()
        child.wait()
        child.stdout.close()
        connection = key_in(str(tmp_path)).connect()
        assert (ROWS,) == connection.execute("SELECT count(*) FROM note").fetchone()
        assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()
        connection.close()
