"""A whole session in the keychain, over the C stand-in: what a Mac uses unasked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.keychain_stand_in import StandIn, library, security
from tokenkeep import Provider, SecureStorage, Session, State, TokenStorage
from tokenkeep.item import SESSION, ItemName
from tokenkeep.testing.authorization_server import AuthorizationServer

pytestmark = pytest.mark.requires("c compiler")

SERVICE = "org.example.notes"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    made = StandIn(library())
    made.begin(str(tmp_path / "items"), "darwin")
    home = "tokenkeep.backends.apple.store"
    monkeypatch.setattr(f"{home}.sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(f"{home}.security_of", lambda platform: security(library(), platform))
    monkeypatch.setattr("tokenkeep.select.platform", lambda: "darwin")
    yield made
    assert (0, 0, 0, 0) == (made.live, made.misuses, made.violations, made.panels)


def test_session_is_kept_over_a_locked_keychain(stand_in: StandIn, tmp_path: Path) -> None:
    """Chosen without options; locked is not signed out; logging out leaves nothing."""
    storage = SecureStorage(SERVICE, state_directory=str(tmp_path / "state"))
    assert "apple-keychain" == storage.facts.backend
    with AuthorizationServer() as server:
        provider = Provider(server.issuer, client_id="notes")

        def opened() -> Session:
            return Session(provider, TokenStorage(storage))

        with opened() as session:
            session.begin(server.login("notes"))
        assert [ItemName(SERVICE, "default", SESSION)] == storage.store.names(
            SERVICE, storage.call()
        )
        stand_in.is_locked = 1
        with opened() as session:
            session.restore()
            assert State.LOCKED is session.state
            stand_in.is_locked = 0
            session.restore()
            assert State.ACTIVE is session.state
            assert session.access_token().reveal()
            session.logout()
        assert [] == storage.store.names(SERVICE, storage.call())
