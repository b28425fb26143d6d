"""A provider on loopback and a client for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tokenkeep.oauth.client import Client
from tokenkeep.oauth.provider import Provider
from tokenkeep.testing.authorization_server import AuthorizationServer


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as running:
        yield running


@pytest.fixture
def client(server: AuthorizationServer) -> Client:
    return Client(Provider(server.issuer, client_id="notes", timeout=5.0))
