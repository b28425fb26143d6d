"""Any sequence of calls gives the same answers on every store as on the memory store."""

from __future__ import annotations

import shutil
import tempfile

from hypothesis import settings

from contract.places import options_with_key_file
from support.machines import at_length
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.backends.vault import VaultStore
from tokenkeep.testing.faulty import FaultyStore
from tokenkeep.testing.machine import store_machine

SETTINGS = at_length(as_profile_says=True)


class VaultInADirectory(VaultStore):
    """A vault store that takes its directory with it when it is closed."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="tokenkeep-machine-")
        super().__init__(options_with_key_file(self.directory))

    def reopened(self) -> VaultInADirectory:
        super().close()
        super().__init__(options_with_key_file(self.directory))
        return self

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.directory)


TestMemory = store_machine(MemoryStore).TestCase
TestMemory.settings = SETTINGS

TestFaulty = store_machine(lambda: FaultyStore(MemoryStore())).TestCase
TestFaulty.settings = settings(SETTINGS, max_examples=20)

TestVault = store_machine(VaultInADirectory, VaultInADirectory.reopened).TestCase
TestVault.settings = SETTINGS
