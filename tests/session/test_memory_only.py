"""A session that could not be saved: held, said, retried, guarded, and given up when it is over."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from support.children import Child, in_child
from support.sessions import Place, changes_of, refresh_token
from support.small_disk import fill, set_read_only, small_disk
from support.unsaved import memory_only, stored_generation
from support.waiting import eventually
from tokenkeep import MemoryStore, State
from tokenkeep.errors import (
    AccessDenied,
    LoginRequired,
    RefreshUnavailable,
    SessionUncertain,
    StoreFull,
    StoreLocked,
)
from tokenkeep.session.redemption import Wanted
from tokenkeep.session.unsaved import Unsaved
from tokenkeep.testing.authorization_server import AuthorizationServer, Drop, Endpoint, When
from tokenkeep.testing.faulty import Fails, FaultyStore

TOKEN = Endpoint.TOKEN
REFUSALS = [StoreFull, AccessDenied, StoreLocked]


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


@pytest.fixture
def place(tmp_path: Path, server: AuthorizationServer, store: FaultyStore) -> Place:
    return Place(tmp_path, server.issuer, store=store)


def refuse_writes(store: FaultyStore, error: type[Exception] = StoreFull) -> None:
    store.faults.update({verb: Fails(error) for verb in ("write", "replace")})  # type: ignore[arg-type]


@pytest.mark.parametrize("error", REFUSALS)
def test_a_login_that_cannot_be_saved_is_signed_in_and_says_so(
    place: Place, server: AuthorizationServer, store: FaultyStore, error: type[Exception]
) -> None:
    session = place.session()
    heard = changes_of(session)
    refuse_writes(store, error)
    assert State.MEMORY_ONLY is session.begin(server.login("notes"))
    assert session.state.is_signed_in
    assert [State.MEMORY_ONLY] == [change.state for change in heard]
    assert "not saved" in heard[0].reason
    assert 1 == session.access_token().generation
    store.faults.clear()
    eventually(lambda: session.state is State.ACTIVE)
    assert State.ACTIVE is place.session().restore()


@pytest.mark.parametrize("error", REFUSALS)
def test_an_intent_that_cannot_be_written_sends_nothing(
    place: Place, server: AuthorizationServer, store: FaultyStore, error: type[Exception]
) -> None:
    session = place.signed_in(server)
    refuse_writes(store, error)
    with pytest.raises(error):
        session.access_token(min_ttl=10**6)
    assert 0 == server.token_requests
    store.faults.clear()
    assert 2 == session.access_token(min_ttl=10**6).generation


def test_a_redemption_that_the_saver_overtakes_holds_nothing_afterwards(
    place: Place, server: AuthorizationServer
) -> None:
    """Saved between the answer and its being taken: it is saved, and the fence is for others."""
    session, store = memory_only(place, server)
    known, obtainer = session._known, session._obtainer
    unsaved = known.unsaved
    assert unsaved is not None
    wanted = Wanted(known.session_id, 2, 0.0, must_be_newer=True)
    got = obtainer._redeemed(wanted, place.clock.monotonic() + 20)
    store.refuses = None
    assert unsaved.save() or unsaved.is_over
    store.refuses = StoreFull
    token = obtainer.take(got, known.epoch, "refreshed")
    assert token is not None
    assert 3 == token.generation
    assert State.ACTIVE is session.state
    assert session.tokens.kept.fence.holder() is None
    store.refuses = None
    other = place.session()
    other.restore()
    assert 4 == other.access_token(min_ttl=10**6).generation
    session.close()
    assert 4 == stored_generation(place)


def test_saving_at_last_never_overwrites_a_newer_generation(
    place: Place, server: AuthorizationServer
) -> None:
    session, store = memory_only(place, server)
    record = session._known.record
    assert record is not None
    store.refuses = None
    place.tokens().kept.write(record.changed(generation=9))
    session.close()
    assert 9 == stored_generation(place)
    assert session.tokens.kept.fence.holder() is None


def test_a_rotated_token_that_cannot_be_saved_is_held_and_saved_later(
    place: Place, server: AuthorizationServer
) -> None:
    session, store = memory_only(place, server)
    assert 2 == session.access_token().generation
    store.refuses = None
    eventually(lambda: session.state is State.ACTIVE)
    assert server.is_alive(refresh_token(place))
    assert 2 == place.tokens().kept.load().generation  # type: ignore[union-attr]


def test_others_are_told_who_holds_it_and_send_nothing(
    place: Place, server: AuthorizationServer
) -> None:
    session, _ = memory_only(place, server)
    other = place.session()
    assert State.ACTIVE is other.restore()
    started = time.monotonic()
    with pytest.raises(RefreshUnavailable) as caught:
        other.access_token()
    assert time.monotonic() - started < 4
    assert f"pid {os.getpid()} " in str(caught.value.holder)
    assert "unsaved" in str(caught.value.holder)
    assert 1 == server.token_requests
    session.logout()


def test_it_refreshes_while_it_is_unsaved(place: Place, server: AuthorizationServer) -> None:
    session, store = memory_only(place, server)
    token = session.access_token()
    assert 3 == session.token_after_401(token).generation  # type: ignore[union-attr]
    assert State.MEMORY_ONLY is session.state
    store.refuses = None
    eventually(lambda: session.state is State.ACTIVE)
    assert 3 == place.tokens().kept.load().generation  # type: ignore[union-attr]
    assert 0 == server.reuse_detected


def test_a_lost_answer_while_unsaved_is_uncertain_and_not_sent_again(
    place: Place, server: AuthorizationServer
) -> None:
    """The intent is noted in memory where the store refuses it."""
    session, store = memory_only(place, server)
    server.faults.add(TOKEN, Drop(When.AFTER))
    for _ in range(2):
        with pytest.raises(SessionUncertain):
            session.refresh_in_flight(min_ttl=10**7).result(10)
    assert 2 == server.token_requests
    store.refuses = None
    eventually(lambda: session._known.unsaved is None)
    assert State.UNCERTAIN is session.state is place.session().restore()
    assert 0 == server.reuse_detected


def test_a_refusal_while_unsaved_ends_the_session_for_its_reason(
    place: Place, server: AuthorizationServer, store: FaultyStore
) -> None:
    session = place.session()
    refuse_writes(store)
    session.begin(server.login("notes"))
    for family in server.grants():
        server.revoke(next(iter(family.refresh_tokens)))
    with pytest.raises(LoginRequired) as caught:
        session.access_token(min_ttl=10**6)
    assert "revoked" == caught.value.reason
    time.sleep(0.6)
    assert State.LOGIN_REQUIRED is session.state
    assert 1 == server.token_requests
    assert place.tokens().kept.fence.holder() is None


def test_without_a_refresh_token_it_ends_with_its_access_token(
    place: Place, server: AuthorizationServer, store: FaultyStore
) -> None:
    session = place.session()
    refuse_writes(store)
    response = {k: v for k, v in server.login("notes").items() if k != "refresh_token"}
    session.begin({**response, "expires_in": 1})
    assert 1 == session.access_token().generation
    time.sleep(1.1)
    with pytest.raises(LoginRequired):
        session.access_token()


def test_a_sign_out_elsewhere_ends_it_and_revokes_its_token(
    place: Place, server: AuthorizationServer
) -> None:
    session, _ = memory_only(place, server)
    heard = changes_of(session)
    report = place.session().logout()
    assert "done" == report.step("end").outcome
    eventually(lambda: session.state is State.SIGNED_OUT)
    eventually(lambda: all(family.revoked for family in server.grants()))
    with pytest.raises(LoginRequired) as caught:
        session.access_token()
    assert "ended elsewhere" == caught.value.reason
    eventually(lambda: any("revoked" in change.reason for change in heard))
    assert place.tokens().kept.fence.holder() is None


def test_signing_out_here_revokes_the_unsaved_token(
    place: Place, server: AuthorizationServer
) -> None:
    session, _ = memory_only(place, server)
    report = session.logout()
    assert report.is_complete, str(report)
    assert all(family.revoked for family in server.grants())
    assert State.SIGNED_OUT is session.state
    assert place.tokens().kept.fence.holder() is None


def test_closing_tries_once_more(place: Place, server: AuthorizationServer) -> None:
    session, store = memory_only(place, server)
    store.refuses = None
    session.close()
    assert 2 == place.tokens().kept.load().generation  # type: ignore[union-attr]


@pytest.mark.requires("fork")
def test_a_killed_holder_leaves_an_uncertain_session(
    tmp_path: Path, server: AuthorizationServer
) -> None:
    """What the disk has was sent: the intent says so, whoever starts next."""
    place = Place(tmp_path, server.issuer)
    place.signed_in(server).close()

    def hold() -> None:
        session = place.session()
        session.restore()
        inner = session.tokens.storage.store
        wrapped = RefusesAfterIntent(inner)
        session.tokens.storage._store = wrapped  # type: ignore[assignment]
        session.access_token()
        assert State.MEMORY_ONLY is session.state
        os.kill(os.getpid(), signal.SIGKILL)

    with Child(hold) as child:
        assert -signal.SIGKILL == child.wait()
    session = place.session()
    assert State.UNCERTAIN is session.restore()
    with pytest.raises(SessionUncertain):
        session.access_token()
    assert 1 == server.token_requests
    session.close()


class RefusesAfterIntent:
    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._replaced = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def replace(self, *arguments: Any) -> None:
        self._replaced += 1
        if self._replaced > 1:
            raise StoreFull
        self._inner.replace(*arguments)

    def write(self, *arguments: Any) -> None:
        raise StoreFull


@pytest.mark.requires("fork")
def test_a_forked_child_has_neither_the_token_nor_the_fence(
    place: Place, server: AuthorizationServer
) -> None:
    session, _ = memory_only(place, server)

    def in_the_child() -> tuple[str, str]:
        found = session.state.value
        try:
            session.access_token()
        except RefreshUnavailable as exc:
            return found, str(exc.holder)
        return found, "a token"

    state, holder = in_child(in_the_child)
    assert "signed out" == state, "not restored yet"
    assert f"pid {os.getpid()} " in holder
    assert place.tokens().kept.fence.holder() is not None, "the parent still has it"
    assert 2 == session.access_token().generation
    session.logout()


@pytest.mark.requires("full disk", "fork")
@pytest.mark.parametrize("problem", ["full", "read-only"])
def test_a_real_disk_that_refuses_the_login(
    tmp_path: Path, server: AuthorizationServer, problem: str
) -> None:
    """The vault lies on a small file system; the state directory does not."""
    with small_disk(tmp_path / "disk", 2048) as disk:
        place = Place(disk, server.issuer)
        first, second = server.login("notes"), server.login("notes")

        def begun() -> bool:
            session = place.session()
            session.begin(first)
            # A log with room in it would take one more write on a full disk.
            storage = session.tokens.storage
            return bool(storage.store.shred(storage.call()))  # type: ignore[attr-defined]

        assert in_child(begun) is False
        ballast = None
        if problem == "full":
            ballast = fill(disk)
        else:
            set_read_only(disk, True)

        def unsaved() -> str:
            from tokenkeep.tokens import kept

            session = place.session()
            tokens: Any = session.tokens
            tokens.kept.log = kept.SessionLog(str(tmp_path), "org.example.notes", "alice")
            tokens.kept.fence = kept.Fence(tokens.kept.log.fence_path, tokens.storage.clock)
            state = session.begin(second)
            assert session.access_token().generation == 1
            if ballast is None:
                set_read_only(disk, False)
            else:
                ballast.unlink()
            eventually(lambda: session.state is State.ACTIVE, seconds=10.0)
            session.close()
            return state.value

        assert "memory only" == in_child(unsaved)


def test_what_is_over_is_not_used_again(place: Place, server: AuthorizationServer) -> None:
    session, _ = memory_only(place, server)
    unsaved = session._known.unsaved
    assert isinstance(unsaved, Unsaved)
    hold = unsaved.let_go(1.0)
    assert hold is not None
    hold.release()
    assert unsaved.is_over
    assert unsaved.let_go(1.0) is None
    assert unsaved.inside(lambda _hold: 1) is None
    assert not unsaved.save()
