"""The memory store keeps the contract."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.testing.contract import (
    ErasingContract,
    IndexedContract,
    StoreContract,
    TransactionalContract,
    VersionedContract,
)
from tokenkeep.testing.faulty import FaultyStore


class TestMemoryStore(
    StoreContract, TransactionalContract, IndexedContract, VersionedContract, ErasingContract
):
    @pytest.fixture
    def make_store(self) -> Callable[[], MemoryStore]:
        return MemoryStore


class TestMemoryStoreWithLimit(TestMemoryStore):
    @pytest.fixture
    def make_store(self) -> Callable[[], MemoryStore]:
        return partial(MemoryStore, MemoryOptions(max_value_bytes=3_000))


class TestFaultyStoreWithoutFaults(TestMemoryStore):
    @pytest.fixture
    def make_store(self) -> Callable[[], FaultyStore]:
        return lambda: FaultyStore(MemoryStore())
