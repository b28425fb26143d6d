"""The Android store keeps the contract, over the lab's Keystore."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from contract.places import spoil
from on_android.device import open_store
from tokenkeep.backends.android import AndroidOptions, AndroidStore
from tokenkeep.item import ItemName
from tokenkeep.testing.contract import (
    DamageContract,
    DurableContract,
    ErasingContract,
    IndexedContract,
    StoreContract,
    TrackingContract,
    TransactionalContract,
    VersionedContract,
)


class TestAndroidStore(
    StoreContract,
    TrackingContract,
    TransactionalContract,
    IndexedContract,
    VersionedContract,
    ErasingContract,
    DurableContract,
    DamageContract,
):
    options = AndroidOptions()

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], AndroidStore]:
        return partial(open_store, str(tmp_path), self.options)

    @pytest.fixture
    def damage(
        self, tmp_path: Path, make_store: Callable[[], AndroidStore]
    ) -> Callable[[ItemName], None]:
        vault = os.path.join(tmp_path, "no_backup", "tokenkeep", "vault")
        return partial(spoil, make_store, vault)
