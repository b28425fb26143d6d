"""Processes that are really killed between two vaults; the next one takes over."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from migrate import mover
from migrate.mover import vault_in
from migrate.places import items_of
from tokenkeep.migrate.journal import Phase
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.store import StoreSource

ITEMS = {f"name {number}": f"value {number}" for number in range(3)}


def killed_at_every_step(place: Path, action: str) -> int:
    """Processes one after the other, each killed a step later; how many were."""
    for step in range(1, 50):
        command = [sys.executable, mover.__file__, str(place), action, str(step)]
        done = subprocess.run(command, capture_output=True, timeout=60)
        if done.returncode == 0:
            return step - 1
        assert -signal.SIGKILL == done.returncode, done.stderr
        with vault_in(place, "old") as old, vault_in(place, "new") as new:
            assert ITEMS.items() <= {**items_of(new), **items_of(old)}.items()
    raise AssertionError("it never ended")


@pytest.mark.requires("fork")
def test_processes_killed_at_every_step_move_everything(tmp_path: Path) -> None:
    """Each goes on where the one before was killed; no item is ever in neither vault."""
    with vault_in(tmp_path, "old") as old:
        for name, value in ITEMS.items():
            old.write(name, value)
    assert killed_at_every_step(tmp_path, "run") > 3
    with vault_in(tmp_path, "old") as old, vault_in(tmp_path, "new") as new:
        migration = Migration(StoreSource(old, "old"), new)
        assert Phase.COPIED is migration.status()
        assert ITEMS == items_of(old)
    assert killed_at_every_step(tmp_path, "confirm") > 3
    with vault_in(tmp_path, "old") as old, vault_in(tmp_path, "new") as new:
        assert ({}, ITEMS) == (items_of(old), items_of(new))
        assert Phase.NONE is Migration(StoreSource(old, "old"), new).status()
