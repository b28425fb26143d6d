"""The store of Windows keeps the contract under the limits that Windows documents.

Wine does not keep those limits; `tests/on_windows` holds the same contract to the real calls.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.credential_manager import FolderOfCredentials, maker
from support.machines import at_length
from tokenkeep.backends.windows import WindowsCredentialStore
from tokenkeep.store import Store
from tokenkeep.testing.contract import DurableContract, StoreContract
from tokenkeep.testing.machine import store_machine


class TestWindowsCredentials(StoreContract, DurableContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], Store]:
        return maker(tmp_path)


class StoreInAFolder(WindowsCredentialStore):
    """A store that takes its folder with it when it is closed."""

    __slots__ = ("_folder",)

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tokenkeep-credentials-"))
        manager = FolderOfCredentials(self._folder / "credentials")
        super().__init__(manager=manager, lock_path=str(self._folder / "lock"))

    def close(self) -> None:
        shutil.rmtree(self._folder)


TestMachine = store_machine(StoreInAFolder).TestCase
TestMachine.settings = at_length(20)
