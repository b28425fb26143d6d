"""Fixtures for applications that use tokenkeep; pytest finds them where it is installed.

Nothing heavy is loaded before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tokenkeep.storage import SecureStorage
    from tokenkeep.testing.authorization_server import AuthorizationServer
    from tokenkeep.testing.clock import FakeClock
    from tokenkeep.testing.faulty import FaultyStore

pytest.register_assert_rewrite("tokenkeep.testing.contract", "tokenkeep.testing.abilities")

SERVICE = "org.example.tests"


@pytest.fixture
def tokenkeep_clock() -> FakeClock:
    """A clock that the test moves."""
    from tokenkeep.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture
def tokenkeep_faulty() -> FaultyStore:
    """The store under `tokenkeep_storage`, to break: `.faults["write"] = Fails(StoreFull)`."""
    from tokenkeep.backends.memory import MemoryStore
    from tokenkeep.testing.faulty import FaultyStore

    return FaultyStore(MemoryStore())


@pytest.fixture
def tokenkeep_storage(
    tokenkeep_faulty: FaultyStore, tokenkeep_clock: FakeClock, tmp_path: Path
) -> Iterator[SecureStorage]:
    """A storage in memory, on the test's clock, with session logs in the test's directory."""
    from tokenkeep.storage import SecureStorage

    with SecureStorage(
        SERVICE,
        tokenkeep_faulty,
        clock=tokenkeep_clock,
        state_directory=str(tmp_path / "tokenkeep-state"),
    ) as storage:
        yield storage


@pytest.fixture
def tokenkeep_authorization_server(tokenkeep_clock: FakeClock) -> Iterator[AuthorizationServer]:
    """An authorization server on loopback: rotation, reuse detection, faults on demand."""
    from tokenkeep.testing.authorization_server import AuthorizationServer

    with AuthorizationServer(clock=tokenkeep_clock.wall) as server:
        yield server
