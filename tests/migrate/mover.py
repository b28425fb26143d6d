"""A process that moves a vault's items elsewhere and is killed before a step of its own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tokenkeep.backends.kernel_keyring import KernelKeyringOptions, Keyring
from tokenkeep.backends.secret_service import SecretServiceOptions
from tokenkeep.backends.vault import VaultOptions
from tokenkeep.migrate.looking import REPLACE
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.store import StoreSource
from tokenkeep.storage import SecureStorage
from tokenkeep.vault.key_file import KeyFile


def storage_of(place: Path, name: str) -> SecureStorage:
    """The platform's store of that name, or else the vault, made if it is not there.

    Each directory has a service of its own, as the platform's store is shared.
    """
    options: object = {
        "kernel-keyring": KernelKeyringOptions(Keyring.SESSION),
        "secret-service": SecretServiceOptions(),
    }.get(name) or VaultOptions(place / name, KeyFile(place / f"{name}.key"))
    return SecureStorage(
        f"org.example.{place.name}", options, timeout=60.0, state_directory=str(place / "state")
    )


def main(place: Path, target: str, action: str, last_step: int) -> None:
    """Does it; killed before the step of this number."""
    steps = 0

    def step(_name: str) -> None:
        nonlocal steps
        steps += 1
        if steps == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

    with storage_of(place, "old") as old, storage_of(place, target) as new:
        source = StoreSource(old, "old")
        getattr(Migration(source, new, existing=REPLACE, step=step), action)()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
