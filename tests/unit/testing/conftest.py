"""A provider that follows the rules, on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tokenkeep.testing.authorization_server import AuthorizationServer


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as running:
        yield running
