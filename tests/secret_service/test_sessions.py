"""A session whose record lies in a real keyring: login, restore, refresh, logout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secret_service.daemons import EACH, running
from support.desktop import items
from support.keyring_daemon import KeyringDaemon
from support.sessions import Place
from tokenkeep import State
from tokenkeep.backends.secret_service import SecretServiceOptions
from tokenkeep.testing.authorization_server import AuthorizationServer


@pytest.fixture(params=EACH)
def daemon(request: pytest.FixtureRequest) -> Iterator[KeyringDaemon]:
    with running(request.param) as daemon:
        yield daemon


def test_life_of_a_session(daemon: KeyringDaemon, tmp_path: Path) -> None:
    """Restored after a restart, rotated by a refresh, and signed out at the end."""
    with AuthorizationServer() as server:
        place = Place(tmp_path, server.issuer, store=SecretServiceOptions())
        place.signed_in(server).close()
        assert 1 == len(items(daemon.bus))

        session = place.session()
        assert State.ACTIVE is session.restore()
        first = session.access_token().reveal()
        assert first != session.access_token(min_ttl=10**6).reveal()
        session.close()

        again = place.session()
        assert State.ACTIVE is again.restore()
        assert again.access_token().reveal()
        again.logout()
        assert State.SIGNED_OUT is again.state
        again.close()

        last = place.session()
        assert State.SIGNED_OUT is last.restore()
        last.close()
    if daemon.name != "keepassxc":  # which erases only what a person agrees to
        assert [] == items(daemon.bus)
