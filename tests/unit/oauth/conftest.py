"""A provider on loopback and a client for it."""

from __future__ import annotations

import threading
import time
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


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """A login that is over has no thread of its own."""
    others = set(threading.enumerate())  # other tests' sessions may still be saving themselves
    yield
    until = time.monotonic() + 5
    while any(each.name.startswith("tokenkeep-") for each in {*threading.enumerate()} - others):
        assert time.monotonic() < until
        time.sleep(0.02)
