"""The vault keeps the contract, behind a key file and behind a passphrase."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from contract.places import spoil, with_key_file, with_passphrase
from tokenkeep.backends.vault import VaultStore
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


class TestVaultWithKeyFile(
    StoreContract,
    TrackingContract,
    TransactionalContract,
    IndexedContract,
    VersionedContract,
    ErasingContract,
    DurableContract,
    DamageContract,
):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], VaultStore]:
        return partial(with_key_file, str(tmp_path))

    @pytest.fixture
    def damage(
        self, tmp_path: Path, make_store: Callable[[], VaultStore]
    ) -> Callable[[ItemName], None]:
        return partial(spoil, make_store, str(tmp_path / "vault"))


class TestVaultWithPassphrase(TestVaultWithKeyFile):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], VaultStore]:
        return partial(with_passphrase, str(tmp_path))
