"""The store of the tests here."""

from __future__ import annotations

import pytest

from tokenkeep.backends.memory import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()
