"""SIGKILL while a key is replaced: the database opens afterwards, with everything in it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenkeep.backends.vault import VaultOptions
from tokenkeep.database import DatabaseKey
from tokenkeep.storage import SecureStorage
from tokenkeep.vault.key_file import KeyFile

ROWS = 2000

REKEYING = """
import sys
from database.test_kills import key_in
key = key_in(sys.argv[1])
key.connect().close()
print("ready", flush=True)
while True:
    key.rekey()
"""

KILLED = """
import os, signal, sys
from database.test_kills import key_in
def step(name):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
key_in(sys.argv[1], step).rekey()
"""


def key_in(directory: str, step: Callable[[str], None] = lambda _name: None) -> DatabaseKey:
    """The key in a vault on disk, of a database beside it."""
    place = Path(directory)
    storage = SecureStorage(
        "org.example.notes",
        VaultOptions(place / "vault", KeyFile(place / "key")),
        state_directory=str(place / "state"),
        timeout=30.0,
    )
    return DatabaseKey(storage, place / "notes.db", step=step)


def filled(directory: Path, mode: str) -> None:
    """A database with many rows, in this journal mode."""
    connection = key_in(str(directory)).connect()
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE note (text)")
    connection.executemany("INSERT INTO note VALUES (?)", [("x" * 500,)] * ROWS)
    connection.commit()
    connection.close()


def assert_whole(directory: Path) -> None:
    """Every row is there, by a key in the store."""
    connection = key_in(str(directory)).connect()
    assert (ROWS,) == connection.execute("SELECT count(*) FROM note").fetchone()
    assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()


@pytest.mark.load
@pytest.mark.requires("fork")
@pytest.mark.parametrize("is_connected", [False, True])
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_killed_at_any_moment_of_a_rekey(tmp_path: Path, mode: str, is_connected: bool) -> None:
    """Ten kills, with others connected or not: every row is there each time."""
    filled(tmp_path, mode)
    dice = random.Random(7)
    for _ in range(10):
        others = [key_in(str(tmp_path)).connect()] if is_connected else []
        child = subprocess.Popen(
            [sys.executable, "-c", REKEYING, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        assert child.stdout is not None
        assert b"ready\n" == child.stdout.readline()
        time.sleep(dice.uniform(0.0, 0.15))
        child.kill()
        child.wait()
        child.stdout.close()
        assert_whole(tmp_path)
        for other in others:
            other.close()
        assert_whole(tmp_path)


@pytest.mark.requires("fork")
@pytest.mark.parametrize("step", ["store next", "re-encrypt", "settle", "store key", "erase next"])
@pytest.mark.parametrize("is_connected", [False, True])
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_killed_before_a_step_of_a_rekey(
    tmp_path: Path, mode: str, is_connected: bool, step: str
) -> None:
    """With others connected or not, before they go and after: every row is there."""
    filled(tmp_path, mode)
    others = [key_in(str(tmp_path)).connect()] if is_connected else []
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), step], cwd=Path(__file__).parents[1]
    )
    assert -signal.SIGKILL == child.returncode
    assert_whole(tmp_path)
    for other in others:
        other.close()
    assert_whole(tmp_path)
    key_in(str(tmp_path)).rekey()
    assert_whole(tmp_path)
    assert ["database key"] == key_in(str(tmp_path))._storage.names()
