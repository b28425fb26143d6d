"""A process that moves one vault's items into another and is killed before a step of its own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tokenkeep.backends.vault import VaultOptions
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.store import StoreSource
from tokenkeep.storage import SecureStorage
from tokenkeep.vault.slots import KeyFile

SERVICE = "org.example.notes"


def vault_in(place: Path, name: str) -> SecureStorage:
    """The vault of a name in the directory, made if it is not there."""
    options = VaultOptions(place / name, KeyFile(place / f"{name}.key"))
    return SecureStorage(SERVICE, options, timeout=60.0, state_directory=str(place / "state"))


def main(place: Path, action: str, last_step: int) -> None:
    """Does it; killed before the step of this number."""
    steps = 0

    def step(_name: str) -> None:
        nonlocal steps
        steps += 1
        if steps == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

    with vault_in(place, "old") as old, vault_in(place, "new") as new:
        getattr(Migration(StoreSource(old, "old"), new, step=step), action)()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
