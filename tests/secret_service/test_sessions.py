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
        report = again.logout()
        assert State.SIGNED_OUT is again.state
        again.close()

        last = place.session()
        assert State.SIGNED_OUT is last.restore()
        last.close()
        # KeePassXC deletes only what a person agrees to: there the item stays, and is empty.
        is_deleted = daemon.name != "keepassxc"
        outcomes = {step.name: step.outcome for step in report.steps}
        assert ("done" if is_deleted else "pending") == outcomes["erase"]
        assert ("done", "done") == (outcomes["end"], outcomes["revoke"])
        assert ([] if is_deleted else [b""]) == _values(place)
        assert len(_values(place)) == len(items(daemon.bus))

        place.signed_in(server).close()
        assert 1 == len(items(daemon.bus))
        once_more = place.session()
        assert State.ACTIVE is once_more.restore()
        once_more.close()


def _values(place: Place) -> list[bytes]:
    """What the store has for the application, of both kinds."""
    with place.tokens().storage as storage:
        names = storage.store.names(storage.service, storage.call())
        values = [storage.store.read(name, storage.call()) for name in names]
        return [value.reveal_bytes() for value in values if value is not None]
