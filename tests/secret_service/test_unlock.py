"""Real keyrings, locked and unlocked again: noticed when it happens, by storage and sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from secret_service.daemons import EACH, running
from support.keyring_daemon import KeyringDaemon
from support.sessions import Place, changes_of
from support.waiting import eventually
from tokenkeep import SecureStorage, State
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore
from tokenkeep.errors import StoreLocked
from tokenkeep.item import Call
from tokenkeep.testing.authorization_server import AuthorizationServer
from tokenkeep.unlock import LONGEST_HEARING

SERVICE = "org.example.notes"


@pytest.fixture(params=EACH)
def daemon(request: pytest.FixtureRequest) -> Iterator[KeyringDaemon]:
    with running(request.param) as daemon:
        yield daemon


@pytest.fixture
def storage(daemon: KeyringDaemon) -> Iterator[SecureStorage]:
    with SecureStorage(SERVICE, SecretServiceOptions(), timeout=5.0) as storage:
        storage.write("api_key", "s3cret")
        yield storage


def soon(work: object, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, work)  # type: ignore[arg-type]
    timer.start()
    return timer


def test_a_locked_keyring_is_waited_for(storage: SecureStorage, daemon: KeyringDaemon) -> None:
    """False while it stays locked, True right after it was unlocked, and the item is there."""
    assert storage.wait_until_unlocked(5.0) is True
    daemon.lock()
    with pytest.raises(StoreLocked):
        storage.read("api_key")
    began = time.monotonic()
    assert storage.wait_until_unlocked(0.5) is False
    assert 0.5 <= time.monotonic() - began < 1.0
    unlocked = []
    timer = soon(lambda: (daemon.unlock(), unlocked.append(time.monotonic())), 0.5)
    assert storage.wait_until_unlocked(20.0) is True
    noticed = time.monotonic()
    timer.join()
    assert noticed - unlocked[0] < 0.5
    assert "s3cret" == (storage.read("api_key") or pytest.fail("it is gone")).reveal()


def test_a_daemon_that_restarts_is_waited_for(
    storage: SecureStorage, daemon: KeyringDaemon
) -> None:
    """A keyring that was locked, went away and came back open is open."""
    daemon.lock()
    timer = soon(daemon.restart, 0.5)
    assert storage.wait_until_unlocked(20.0) is True
    timer.join()
    assert storage.contains("api_key")


def test_unlocking_is_a_hint_while_nothing_else_is(
    storage: SecureStorage, daemon: KeyringDaemon
) -> None:
    """A keyring tells that it was opened, so nobody has to look in the meantime."""
    daemon.lock()
    store = storage.store
    assert isinstance(store, SecretServiceStore)
    signals = store.unlock_signals(Call())
    try:
        signals.wait(0.2)  # of the locking itself
        assert signals.wait(0.3) is False
        timer = soon(daemon.unlock, 0.2)
        assert signals.wait(LONGEST_HEARING) is True
        timer.join()
    finally:
        signals.close()


def test_a_session_is_restored_when_the_keyring_is_unlocked(
    daemon: KeyringDaemon, tmp_path: Path
) -> None:
    """Locked at start is not signed out, and nobody has to call again."""
    with AuthorizationServer() as server:
        place = Place(tmp_path, server.issuer, store=SecretServiceOptions())
        place.signed_in(server).close()
        daemon.lock()
        session = place.session()
        heard = changes_of(session)
        assert State.LOCKED is session.restore()
        daemon.unlock()
        eventually(lambda: session.state is State.ACTIVE, "the session was not looked at")
        eventually(lambda: len(heard) == 2, "the listener was not told")
        assert [State.LOCKED, State.ACTIVE] == [change.state for change in heard]
        assert session.access_token().reveal()
        session.close()
