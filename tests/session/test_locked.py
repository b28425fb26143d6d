"""A locked store is not a lost session: it is waited for, looked at again, and told of."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.children import in_child
from support.sessions import Place, changes_of
from support.waiting import eventually
from tokenkeep import MemoryStore, State
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    LoginRequired,
    SecretDamaged,
    SecretInvalidated,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
)
from tokenkeep.session.shared import fresh_shared_token
from tokenkeep.session.state import Change
from tokenkeep.session.stored import look, session_of
from tokenkeep.testing.authorization_server import AuthorizationServer
from tokenkeep.testing.faulty import Fails, FaultyStore

LOCKED = {verb: Fails(StoreLocked) for verb in ("read", "write", "replace", "delete")}


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as server:
        yield server


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


@pytest.fixture
def place(tmp_path: Path, server: AuthorizationServer, store: FaultyStore) -> Place:
    place = Place(tmp_path, server.issuer, store=store)
    place.signed_in(server).close()
    return place


def waiting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tokenkeep-unlock"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    eventually(lambda: not waiting(), seconds=15.0)


def states(heard: list[Change]) -> list[State]:
    return [change.state for change in heard]


def test_a_listener_is_told_when_the_store_was_unlocked(place: Place, store: FaultyStore) -> None:
    """Nobody has to call: the session looks again by itself, and nothing was erased."""
    store.faults = dict(LOCKED)
    session = place.session()
    heard = changes_of(session)
    assert State.LOCKED is session.restore()
    time.sleep(0.3)
    assert State.LOCKED is session.state
    store.faults = {}
    eventually(lambda: session.state is State.ACTIVE)
    eventually(lambda: [State.LOCKED, State.ACTIVE] == states(heard))
    assert session.access_token().reveal()


def test_whoever_begins_to_listen_while_it_is_locked_is_told_too(
    place: Place, store: FaultyStore
) -> None:
    """The order of `restore` and `on_change` does not matter."""
    store.faults = dict(LOCKED)
    session = place.session()
    assert State.LOCKED is session.restore()
    assert [] == waiting()
    heard = changes_of(session)
    assert 1 == len(waiting())
    store.faults = {}
    eventually(lambda: [State.ACTIVE] == states(heard))


def test_without_a_listener_the_next_call_looks(place: Place, store: FaultyStore) -> None:
    """Nothing runs for nobody; `access_token` and `restore` find the store open."""
    store.faults = dict(LOCKED)
    session = place.session()
    assert State.LOCKED is session.restore()
    with pytest.raises(StoreLocked):
        session.access_token()
    steps = len(store.steps)
    time.sleep(0.2)
    assert (steps, []) == (len(store.steps), waiting())
    store.faults = {}
    assert session.access_token().reveal()
    assert State.ACTIVE is session.state


def test_a_session_ended_while_the_store_was_locked_is_signed_out(
    place: Place, store: FaultyStore
) -> None:
    """The log's last word counts, whoever unlocks what afterwards."""
    store.faults = dict(LOCKED)
    session = place.session()
    heard = changes_of(session)
    assert State.LOCKED is session.restore()
    place.session().logout()
    store.faults = {}
    eventually(lambda: [State.LOCKED, State.SIGNED_OUT] == states(heard))


#: Whatever a store may say instead of an answer.
TROUBLES = [
    *(StoreLocked, StoreTimeout, StoreUnavailable, AccessDenied, InteractionDenied),
    *(SecretInvalidated, SecretDamaged),
]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize(
    ("ended", "state", "reason"),
    [
        ("logout", State.SIGNED_OUT, "absent"),
        ("revoked", State.LOGIN_REQUIRED, "revoked"),
    ],
)
def test_who_was_signed_out_is_signed_out_whatever_the_store_says(
    place: Place,
    store: FaultyStore,
    trouble: type[Exception],
    ended: str,
    state: State,
    reason: str,
) -> None:
    """The log alone says that nobody is signed in; the rest is tidying, which can wait."""
    tokens = place.tokens()
    tokens.kept.log.end(ended, place.clock.wall() - 60)
    store.faults = {verb: Fails(trouble) for verb in ("read", "write", "replace", "delete")}
    session = place.session()
    assert state is session.restore() is session.state is look(tokens).state
    for call in (session.access_token, lambda: session_of(tokens)):
        with pytest.raises(LoginRequired) as caught:
            call()
        assert reason == caught.value.reason
    assert tokens.read_refresh_token() is None
    assert fresh_shared_token(tokens) is None
    store.faults = {}
    assert tokens.kept.stored() is not None, "nothing was erased meanwhile"
    assert state is session.restore() is place.session().restore()
    assert tokens.kept.stored() is None


@pytest.mark.parametrize("trouble", TROUBLES)
def test_without_a_log_only_the_store_can_tell(
    place: Place, store: FaultyStore, trouble: type[Exception]
) -> None:
    """A record whose log is missing may be gone on with: its store's trouble is told."""
    Path(place.tokens().kept.log.path).unlink()
    store.faults = {"read": Fails(trouble)}
    with pytest.raises(trouble):
        place.tokens().read_refresh_token()


@pytest.mark.parametrize("trouble", [StoreTimeout, StoreUnavailable])
def test_a_store_that_goes_away_and_comes_back_is_waited_for(
    place: Place, store: FaultyStore, trouble: type[Exception]
) -> None:
    """A daemon that restarts or freezes for a while does not end the waiting."""
    store.faults = dict(LOCKED)
    session = place.session()
    heard = changes_of(session)
    assert State.LOCKED is session.restore()
    store.faults = {"names": Fails(trouble), "read": Fails(trouble)}
    time.sleep(0.4)
    assert State.LOCKED is session.state
    store.faults = {}
    eventually(lambda: [State.LOCKED, State.ACTIVE] == states(heard), seconds=10.0)


def test_a_store_that_locks_again_is_waited_for_again(place: Place, store: FaultyStore) -> None:
    """Each lock is told, and so is each unlocking."""
    session = place.session()
    assert State.ACTIVE is session.restore()
    heard = changes_of(session)
    for _ in range(2):
        store.faults = dict(LOCKED)
        assert State.LOCKED is session.restore()
        store.faults = {}
        eventually(lambda: session.state is State.ACTIVE)
    eventually(lambda: [State.LOCKED, State.ACTIVE] * 2 == states(heard))


def test_nobody_waits_for_a_session_that_nobody_wants(place: Place, store: FaultyStore) -> None:
    """Closed, no longer listened to, dropped or signed out: the threads end soon."""
    store.faults = dict(LOCKED)
    accounts = ("alice", "alice", "bob", "alice")
    sessions: list[Any] = [place.session(tokens=place.tokens(account)) for account in accounts]
    stops = [session.on_change(lambda change: None) for session in sessions]
    assert [State.LOCKED] * 4 == [session.restore() for session in sessions]
    assert 4 == len(waiting())
    sessions[0].close()
    stops[1]()
    sessions[2].logout()
    sessions.pop()
    gc.collect()
    eventually(lambda: not waiting(), seconds=15.0)
    assert State.LOCKED is sessions[0].restore()
    assert [] == waiting()


@pytest.mark.requires("fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_waits_for_itself(place: Place, store: FaultyStore) -> None:
    """The parent's thread is not in the child; the child's own begins with its own look."""
    store.faults = dict(LOCKED)
    session = place.session()
    heard = changes_of(session)
    assert State.LOCKED is session.restore()

    def child() -> bool:
        assert State.LOCKED is session.restore()
        assert 1 == len(waiting())
        store.faults = {}
        eventually(lambda: session.state is State.ACTIVE)
        return True

    assert in_child(child)
    assert State.LOCKED is session.state
    store.faults = {}
    eventually(lambda: [State.LOCKED, State.ACTIVE] == states(heard))
