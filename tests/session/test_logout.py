"""Sign-out is final: whatever races it, whatever fails, and it always comes to its end."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from support.children import Child, in_child
from support.sessions import SERVICE, Place, Recording, changes_of, refresh_token
from support.small_disk import set_read_only, small_disk
from support.waiting import eventually
from tokenkeep import MemoryStore, State
from tokenkeep.errors import InteractionDenied, LoginRequired, SessionError, StoreLocked
from tokenkeep.item import Call
from tokenkeep.oauth.client import Client
from tokenkeep.secret import Secret
from tokenkeep.session import stored
from tokenkeep.session.logout import LogoutReport
from tokenkeep.session.revocation import revoke_late
from tokenkeep.session.stored import sign_out_stored
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Endpoint,
    Hold,
    Policy,
    RevocationReach,
    Status,
    When,
)
from tokenkeep.testing.faulty import Fails, FaultyStore

TOKEN = Endpoint.TOKEN


def outcomes(report: LogoutReport) -> dict[str, str]:
    return {step.name: step.outcome for step in report.steps}


def test_the_report_says_every_step_in_order(place: Place, server: AuthorizationServer) -> None:
    session = place.signed_in(server)
    done: list[str] = []
    session.track(lambda: done.append("work"))
    stop = session.track(lambda: done.append("finished work"))
    stop()
    session.register_cache(lambda: done.append("cache"))
    report = session.logout()
    assert ["end", "cancel", "erase", "caches", "revoke"] == [step.name for step in report.steps]
    assert {"done"} == set(outcomes(report).values())
    assert report.is_complete
    assert ["work", "cache"] == done
    assert State.SIGNED_OUT is session.state
    assert place.tokens().kept.stored() is None
    assert all(family.revoked for family in server.grants())
    with pytest.raises(LoginRequired) as caught:
        session.access_token()
    assert "absent" == caught.value.reason
    with pytest.raises(KeyError):
        report.step("nothing")


def test_a_cancelled_task_that_fails_is_reported_and_stops_nothing(
    place: Place, server: AuthorizationServer
) -> None:
    session = place.signed_in(server)
    session.track(lambda: 1 / 0)
    session.register_cache(lambda: 1 / 0)
    report = session.logout()
    assert ("failed", "failed", "done") == (
        report.step("cancel").outcome,
        report.step("caches").outcome,
        report.step("revoke").outcome,
    )
    assert not report.is_complete


def test_offline_it_erases_all_the_same(place: Place, server: AuthorizationServer) -> None:
    session = place.signed_in(server)
    server.stop()
    started = time.monotonic()
    report = session.logout()
    assert time.monotonic() - started < 5
    assert {"end": "done", "erase": "done", "revoke": "failed"}.items() <= outcomes(report).items()
    assert place.tokens().kept.stored() is None
    assert State.SIGNED_OUT is session.state is place.session().restore()
    server.start()


def test_a_refused_revocation_is_reported_with_its_retry(
    place: Place, server: AuthorizationServer
) -> None:
    session = place.signed_in(server)
    server.faults.add(Endpoint.REVOKE, Status(503, 9))
    step = session.logout().step("revoke")
    assert "failed" == step.outcome
    assert "503" in step.detail
    assert "9" in step.detail


def test_signing_out_twice_is_harmless(place: Place, server: AuthorizationServer) -> None:
    session = place.signed_in(server)
    session.logout()
    report = session.logout()
    assert "not needed" == report.step("revoke").outcome
    assert report.is_complete


def test_a_process_that_never_restored_revokes_too(
    place: Place, server: AuthorizationServer
) -> None:
    place.signed_in(server)
    report = place.session().logout()
    assert report.is_complete, str(report)
    assert all(family.revoked for family in server.grants())


def test_a_locked_store_is_signed_out_and_says_what_remains(
    place: Place, server: AuthorizationServer
) -> None:
    session = place.signed_in(server)
    inner = place.store
    faulty = FaultyStore(inner, {verb: Fails(StoreLocked) for verb in ("read", "delete")})
    place.store = faulty
    locked = place.session()
    assert State.LOCKED is locked.restore()
    report = locked.logout()
    assert ("done", "failed", "failed") == (
        report.step("end").outcome,
        report.step("erase").outcome,
        report.step("revoke").outcome,
    )
    with pytest.raises(LoginRequired):
        session.access_token()
    place.store = inner
    assert State.SIGNED_OUT is place.session().restore()


def test_a_store_that_deletes_for_nobody_is_left_with_an_empty_item(
    place: Place, server: AuthorizationServer
) -> None:
    """The tokens are not in it any more, the report says what remains, and nothing hangs on it."""
    inner = MemoryStore()
    place.store = FaultyStore(inner, {"delete": Fails(InteractionDenied)})
    session = place.signed_in(server)
    (name,) = inner.names(SERVICE, Call())
    for _turn in range(2):
        report = session.logout()
        erased = report.step("erase")
        assert ("pending", True) == (erased.outcome, erased.detail.startswith("emptied"))
        assert {"done", "not needed"} >= {
            step.outcome for step in report.steps if step is not erased
        }
        assert not report.is_complete
        assert Secret(b"") == inner.read(name, Call())
    again = place.session()
    assert State.SIGNED_OUT is again.restore()
    again.begin(server.login("notes"))
    assert [name] == inner.names(SERVICE, Call())
    assert State.ACTIVE is place.session().restore()


def test_a_person_who_said_no_is_not_asked_once_more(
    place: Place, server: AuthorizationServer
) -> None:
    """Emptying asks for nothing: what then cannot be emptied stays, and the first no is said."""
    inner = MemoryStore()
    place.store = faulty = FaultyStore(inner)
    session = place.signed_in(server)
    faulty.faults = {"delete": Fails(InteractionDenied("no")), "write": Fails(StoreLocked)}
    erased = session.logout().step("erase")
    assert "failed" == erased.outcome
    assert "interaction-denied: no" in erased.detail
    (name,) = inner.names(SERVICE, Call())
    assert Secret(b"") != inner.read(name, Call())


@pytest.mark.requires("full disk")
@pytest.mark.parametrize("by", ["who signed in", "who restored", "who never looked"])
def test_a_log_that_cannot_be_written_has_its_record_erased_and_revoked(
    tmp_path: Path, server: AuthorizationServer, by: str
) -> None:
    """The log still says that the session lives: that is nobody's new login."""
    with small_disk(tmp_path / "disk") as disk:
        place = Place(disk, server.issuer, store=MemoryStore())
        session = place.signed_in(server)
        if by != "who signed in":
            session = place.session()
        if by == "who restored":
            session.restore()
        set_read_only(disk, True)
        report = session.logout()
        assert "failed" == report.step("end").outcome
        assert "done" == report.step("erase").outcome
        assert "done" == report.step("revoke").outcome
        assert "revoked at the provider" == report.step("revoke").detail
        assert all(family.revoked for family in server.grants())
        assert not report.is_complete
        assert State.SIGNED_OUT is session.state is place.session().restore()
        with pytest.raises(LoginRequired):
            session.access_token()


def test_a_log_that_cannot_be_read_does_not_keep_the_provider_from_being_told(
    place: Place, server: AuthorizationServer
) -> None:
    """The record is read before it is erased, so that its token can be revoked."""
    session = place.signed_in(server)
    held = session.access_token().reveal()
    log = Path(session.tokens.kept.log.path)
    log.unlink()
    log.mkdir()  # what no permission of root's can open as a file
    report = place.session().logout()
    assert "failed" == report.step("end").outcome
    assert "done" == report.step("erase").outcome
    assert "done" == report.step("revoke").outcome
    assert not server.accepts(held)


@pytest.mark.requires("fork")
def test_a_frozen_holder_of_the_fence_does_not_keep_anybody_signed_in(
    tmp_path: Path, server: AuthorizationServer
) -> None:
    place = Place(tmp_path, server.issuer)
    session = place.signed_in(server)

    def freeze() -> None:
        with place.tokens().kept.hold("refresh"):
            time.sleep(60)

    with Child(freeze) as child:
        eventually(lambda: f"pid {child.pid} " in (session.tokens.kept.fence.holder() or ""))
        child.signal(signal.SIGSTOP)
        started = time.monotonic()
        report = session.logout()
        assert time.monotonic() - started < 6
        assert "pending" == report.step("erase").outcome
        assert f"pid {child.pid} " in report.step("erase").detail
        assert ("done", "done") == (report.step("end").outcome, report.step("revoke").outcome)
        assert State.SIGNED_OUT is place.session().restore()
    assert place.tokens().clear_session(), "the next one erases"


def test_others_notice_on_their_next_call(place: Place, server: AuthorizationServer) -> None:
    session, other = place.signed_in(server), place.session()
    cancelled: list[str] = []
    token = other.access_token()
    other.track(lambda: cancelled.append("work"))
    other.register_cache(lambda: cancelled.append("cache"))
    assert other.is_current(token)
    session.logout()
    assert not other.is_current(token)
    with pytest.raises(LoginRequired) as caught:
        other.access_token()
    assert "ended elsewhere" == caught.value.reason
    assert ["work", "cache"] == cancelled
    assert State.SIGNED_OUT is other.state


@pytest.mark.requires("fork")
def test_another_process_notices_on_its_next_call(
    tmp_path: Path, server: AuthorizationServer
) -> None:
    place = Place(tmp_path, server.issuer)
    session = place.signed_in(server)
    token = session.access_token()
    assert in_child(lambda: place.session().logout().step("end").outcome) == "done"
    with pytest.raises(LoginRequired):
        session.access_token()
    assert not session.is_current(token)


@pytest.mark.parametrize("when", When)
def test_a_refresh_in_flight_here_is_dropped_and_its_token_revoked(
    place: Place, server: AuthorizationServer, when: When
) -> None:
    session = place.signed_in(server)
    server.faults.add(TOKEN, Hold(when))
    future = session.refresh_in_flight(min_ttl=10**6)
    assert server.faults.wait_held()
    threading.Timer(0.2, server.faults.release).start()
    report = session.logout()
    assert "done" == report.step("end").outcome
    with pytest.raises(SessionError):
        future.result(10)
    assert State.SIGNED_OUT is session.state
    assert place.tokens().kept.stored() is None
    assert all(family.revoked for family in server.grants())


@pytest.mark.parametrize("when", When)
def test_a_refresh_in_flight_elsewhere_is_dropped_and_its_token_revoked_and_told(
    place: Place, server: AuthorizationServer, when: When
) -> None:
    place.provider["timeout"] = 10.0
    session, other = place.signed_in(server), place.session()
    heard = changes_of(session)
    server.faults.add(TOKEN, Hold(when))
    future = session.refresh_in_flight(min_ttl=10**6)
    assert server.faults.wait_held()
    report = other.logout()
    assert "pending" == report.step("erase").outcome
    server.faults.release()
    with pytest.raises(LoginRequired):
        future.result(10)
    eventually(lambda: place.tokens().kept.stored() is None)
    assert all(family.revoked for family in server.grants())
    assert State.SIGNED_OUT is session.state is other.restore()
    if when is When.AFTER:
        assert any("late token was revoked" in change.reason for change in heard)


@pytest.mark.parametrize("unnamed", ["nobody", "the old one", "the new one", "both"])
def test_revocation_spares_a_newer_session_of_the_same_grant(
    place: Place, server: AuthorizationServer, unnamed: str
) -> None:
    """Some servers end every grant of a client and person with one of their tokens.

    A login without an ID token does not say whose it is: it may be the same person's.
    """
    reach = RevocationReach.CLIENT_AND_USER
    server.policy = Policy(access_token_seconds=300, revocation_reach=reach)

    def answer(is_named: bool) -> dict[str, object]:
        return {k: v for k, v in server.login("notes").items() if is_named or k != "id_token"}

    session = place.session()
    session.begin(answer(unnamed in ("nobody", "the new one")))
    old = session.tokens.kept.load()
    assert old is not None
    session.begin(answer(unnamed in ("nobody", "the old one")))
    assert "newer session" in revoke_late(session.tokens.kept, session._client, old)
    assert server.is_alive(refresh_token(place))
    session.logout()
    assert "was revoked" in revoke_late(session.tokens.kept, session._client, old)


def test_somebody_else_s_newer_session_keeps_no_token_from_being_revoked(
    place: Place, server: AuthorizationServer
) -> None:
    """Another person's grant is another one, whatever the server revokes together."""
    session = place.signed_in(server)
    old = session.tokens.kept.load()
    assert old is not None
    session.begin(server.login("notes", user="bob"))
    assert "was revoked" in revoke_late(session.tokens.kept, session._client, old)
    assert server.is_alive(refresh_token(place))


def test_the_state_stays_signed_out_whatever_other_threads_were_doing(
    place: Place, server: AuthorizationServer
) -> None:
    for _ in range(20):
        session = place.signed_in(server)
        stop = threading.Event()

        def ask(session: Any = session, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                try:
                    session.restore()
                    session.access_token()
                except LoginRequired:
                    return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.005)
        session.logout()
        assert State.SIGNED_OUT is session.state
        assert session.fresh_token() is None
        stop.set()
        for thread in threads:
            thread.join()
        assert State.SIGNED_OUT is session.state


def test_a_session_that_has_begun_and_is_not_written_yet_is_spared(
    place: Place, server: AuthorizationServer
) -> None:
    """Another process's login is between its two steps when our sign-out comes to the provider."""
    session = place.signed_in(server)
    log = place.tokens().kept.log
    session.register_cache(lambda: log.begin("ab" * 16, 0.0))
    revoke = session.logout().step("revoke")
    assert ("failed", True) == (revoke.outcome, "may share its grant" in revoke.detail)
    assert [False] == [family.revoked for family in server.grants()]


def test_a_sign_out_of_two_records_asks_for_the_secret_once_and_closes_its_clients(
    place: Place, server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe gives it once; what somebody else began and ended meanwhile is revoked with it."""
    place.signed_in(server)
    tokens = place.tokens()
    given = iter([None])

    def meanwhile(_: str) -> None:
        place.signed_in(server).tokens.kept.log.end("logout", tokens.kept.now().wall)

    tokens.kept.fence = Recording(tokens.kept.fence, {"acquire": ""}, meanwhile)  # type: ignore[assignment]

    clients: list[Client] = []

    class Closing(Client):
        def close(self) -> None:
            super().close()
            clients.append(self)

    monkeypatch.setattr(stored, "Client", Closing)
    report = sign_out_stored(tokens, lambda: next(given))
    assert 2 == len(clients)
    assert "done" == report.step("revoke").outcome
    assert [True, True] == [family.revoked for family in server.grants()]
