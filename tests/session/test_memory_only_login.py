"""A login in place of a session that could not be saved: one of the two is left, never both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.sessions import Place, refresh_token
from support.unsaved import memory_only, stored_generation
from support.waiting import eventually
from tokenkeep import Session, State
from tokenkeep.errors import LoginFailed, StoreFull
from tokenkeep.testing.authorization_server import AuthorizationServer


def test_a_login_in_its_place_takes_over_the_fence(
    place: Place, server: AuthorizationServer
) -> None:
    session, store = memory_only(place, server)
    store.refuses = None
    assert State.ACTIVE is session.begin(server.login("notes"))
    assert State.ACTIVE is place.session().restore()
    assert place.tokens().kept.fence.holder() is None
    assert 2 == session.access_token(min_ttl=10**6).generation


class BusyLog:
    """A log at whose next `begin` something else happens, which may end in an exception."""

    def __init__(self, session: Session, happens: Callable[[], object]) -> None:
        self._inner: Any = session.tokens.kept.log
        self._kept: Any = session.tokens.kept
        self._kept.log = self
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def begin(self, session_id: str, now: float) -> None:
        self._kept.log = self._inner
        self._happens()
        self._inner.begin(session_id, now)


def asking(session: Session, answers: list[object]) -> threading.Thread:
    """A thread that wants a fresher token than there is, and is at it when this returns."""

    def ask() -> None:
        try:
            answers.append(session.access_token(min_ttl=10**7))
        except Exception as exc:
            answers.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: session._obtainer._flight.is_in_progress())
    time.sleep(0.1)
    return thread


@pytest.mark.parametrize("somebody_asks", [False, True])
def test_a_login_that_cannot_begin_leaves_the_unsaved_session_alive(
    place: Place, server: AuthorizationServer, somebody_asks: bool
) -> None:
    """The disk that refused the record may refuse the log as well, whatever other threads want."""
    session, store = memory_only(place, server)
    threads: list[threading.Thread] = []
    answers: list[Any] = []

    def is_full() -> None:
        if somebody_asks:
            threads.append(asking(session, answers))
        raise StoreFull

    BusyLog(session, is_full)
    with pytest.raises(StoreFull):
        session.begin(server.login("notes"))
    for thread in threads:
        thread.join()
    generation = 3 if somebody_asks else 2
    assert [3] * len(threads) == [answer.generation for answer in answers]
    assert State.MEMORY_ONLY is session.state
    assert generation == session.access_token().generation
    store.refuses = None
    eventually(lambda: session.state is State.ACTIVE)
    assert generation == stored_generation(place)
    assert server.is_alive(refresh_token(place))
    assert 0 == server.reuse_detected


@pytest.mark.parametrize("is_saved", [True, False])
def test_who_asks_during_a_login_gets_its_token(
    place: Place, server: AuthorizationServer, is_saved: bool
) -> None:
    """A refresh for the unsaved session waits until it is known what takes its place."""
    session, store = memory_only(place, server)
    threads: list[threading.Thread] = []
    answers: list[Any] = []
    BusyLog(session, lambda: threads.append(asking(session, answers)))
    if is_saved:
        store.refuses = None
    begun = session.begin(server.login("notes"))
    threads[0].join()
    assert (State.ACTIVE if is_saved else State.MEMORY_ONLY) is begun
    assert begun is session.state
    assert [session._known.session_id] == [answer.session_id for answer in answers]
    assert 0 == server.reuse_detected
    session.logout()


def test_a_sign_out_during_a_login_ends_both(place: Place, server: AuthorizationServer) -> None:
    """Neither the session that was begun nor the unsaved one before it is left at the provider."""
    session, store = memory_only(place, server)
    store.refuses = None
    kept = session.tokens.kept
    inner = store.write

    def write(*arguments: Any) -> None:
        inner(*arguments)
        kept.log.end("logout", time.time())

    store.write = write  # type: ignore[method-assign]
    with pytest.raises(LoginFailed):
        session.begin(server.login("notes"))
    eventually(lambda: all(family.revoked for family in server.grants()))
    eventually(lambda: kept.fence.holder() is None)
    assert State.SIGNED_OUT is session.restore()
    assert kept.stored() is None
