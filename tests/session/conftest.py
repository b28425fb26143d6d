"""A place with a memory store, and a provider that lives in the same time.

A file whose tests move the time has a `clock` of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.sessions import Place
from tokenkeep import MemoryStore
from tokenkeep.clock import SystemClock
from tokenkeep.testing.authorization_server import AuthorizationServer, Policy

if TYPE_CHECKING:
    from tokenkeep.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
def server(clock: Clock) -> Iterator[AuthorizationServer]:
    """Its time goes by with the client's, and does not jump with the client's wall clock."""
    ahead = clock.wall() - clock.monotonic()
    with AuthorizationServer(
        Policy(access_token_seconds=300), clock=lambda: clock.monotonic() + ahead
    ) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, server: AuthorizationServer, clock: Clock) -> Place:
    return Place(tmp_path, server.issuer, store=MemoryStore(), clock=clock)
