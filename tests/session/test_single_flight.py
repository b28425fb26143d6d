"""However many callers meet an expired token: one redemption, and every caller served."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from support.children import Child, in_child
from support.sessions import Place, refresh_token
from tokenkeep import AsyncSession, Session, State
from tokenkeep.errors import LoginRequired, RefreshUnavailable
from tokenkeep.session.state import AccessToken
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Delay,
    Endpoint,
    Hold,
    Policy,
    When,
)

TOKEN = Endpoint.TOKEN


@pytest.fixture
def place(tmp_path: Path, server: AuthorizationServer) -> Place:
    return Place(tmp_path, server.issuer)


def expire(session: Session) -> None:
    """The token in memory is of no use any more, and neither is a shared one."""
    held = session._known.held
    if held is not None:
        held.expires = held.unusable = held.renew = held.halfway = 0.0


def test_threads_share_one_redemption(place: Place, server: AuthorizationServer) -> None:
    session = place.signed_in(server)
    expire(session)
    server.faults.add(TOKEN, Delay(When.AFTER, 0.2))
    got: list[int] = []
    threads = [
        threading.Thread(target=lambda: got.append(session.access_token().generation))
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [2] * 50 == got
    assert 1 == server.token_requests


def test_event_loops_and_threads_share_one_redemption(
    place: Place, server: AuthorizationServer
) -> None:
    """3 event loops x 50 tasks and 20 threads, on one session."""
    template = place.session()
    face = AsyncSession(template.provider, template.tokens)
    face.sync.begin(server.login("notes"))
    expire(face.sync)
    server.faults.add(TOKEN, Delay(When.AFTER, 0.3))
    got: list[int] = []

    async def caller() -> None:
        got.append((await face.access_token()).generation)

    async def callers() -> None:
        await asyncio.gather(*(caller() for _ in range(50)))

    threads = [threading.Thread(target=lambda: asyncio.run(callers())) for _ in range(3)]
    threads += [
        threading.Thread(target=lambda: got.append(face.sync.access_token().generation))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [2] * 170 == got
    assert 1 == server.token_requests


def test_cancelled_caller_does_not_lose_the_rotated_token(
    place: Place, server: AuthorizationServer
) -> None:
    session = place.signed_in(server)
    before = refresh_token(place)
    server.faults.add(TOKEN, Hold(When.AFTER))

    async def impatient() -> None:
        waiting = asyncio.wrap_future(session.refresh_in_flight(min_ttl=10**6))
        await asyncio.to_thread(server.faults.wait_held)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(impatient())
    server.faults.release()
    assert 2 == session.access_token(min_ttl=10**6).generation
    assert before != refresh_token(place)
    assert server.is_alive(refresh_token(place))
    assert 1 == server.token_requests


def test_a_caller_who_waits_no_longer_loses_nothing(
    place: Place, server: AuthorizationServer
) -> None:
    session = place.signed_in(server)
    server.faults.add(TOKEN, Hold(When.AFTER))
    with pytest.raises(RefreshUnavailable):
        session.access_token(min_ttl=10**6, timeout=0.1)
    assert server.faults.wait_held()
    server.faults.release()
    assert 2 == session.refresh_in_flight(min_ttl=10**6).result(10).generation
    assert 1 == server.token_requests


def test_a_caller_may_wait_for_ever(place: Place, server: AuthorizationServer) -> None:
    """Which is no time that the system could wait for."""
    session = place.signed_in(server)
    assert 2 == session.access_token(min_ttl=10**6, timeout=float("inf")).generation


def test_nobody_can_cancel_the_future(place: Place, server: AuthorizationServer) -> None:
    session = place.signed_in(server)
    server.faults.add(TOKEN, Hold(When.AFTER))
    future = session.refresh_in_flight(min_ttl=10**6)
    assert server.faults.wait_held()
    assert not future.cancel()
    server.faults.release()
    assert 2 == future.result(10).generation


def test_a_caller_with_another_wish_gets_it_after_the_flight_under_way(
    place: Place, server: AuthorizationServer
) -> None:
    """A 401 that joins a flight for something else is not answered with the rejected token."""
    session = place.signed_in(server)
    first = session.access_token()
    server.faults.add(TOKEN, Hold(When.BEFORE))
    under_way = session.refresh_in_flight(min_ttl=10**6)
    assert server.faults.wait_held()
    answers: list[AccessToken | None] = []
    thread = threading.Thread(target=lambda: answers.append(session.token_after_401(first)))
    thread.start()
    time.sleep(0.1)
    server.faults.release()
    thread.join()
    assert 2 == under_way.result(10).generation
    assert [2] == [token.generation for token in answers if token is not None]
    assert 1 == server.token_requests


def test_every_waiter_gets_an_exception_of_its_own(
    place: Place, server: AuthorizationServer
) -> None:
    session = place.signed_in(server)
    server.faults.add(TOKEN, Hold(When.BEFORE))
    server.revoke(refresh_token(place))
    caught: list[LoginRequired] = []

    def ask() -> None:
        try:
            session.access_token(min_ttl=10**6)
        except LoginRequired as exc:
            caught.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert server.faults.wait_held()
    time.sleep(0.05)
    server.faults.release()
    for thread in threads:
        thread.join()
    assert 5 == len({id(exc) for exc in caught})
    assert {"revoked"} == {exc.reason for exc in caught}
    assert 1 == server.token_requests


def test_an_interpreter_s_exit_waits_for_the_flight(
    place: Place, server: AuthorizationServer
) -> None:
    """The rotated token is on disk although nobody waited for it."""
    place.signed_in(server).close()
    server.faults.add(TOKEN, Delay(When.AFTER, 0.5))
    code = f"""
from pathlib import Path
from support.sessions import Place
session = Place(Path({str(place.directory)!r}), {place.issuer!r}).session()
session.restore()
session.refresh_in_flight()
"""
    tests = Path(__file__).resolve().parents[1]
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tests)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ("", 0) == (answer.stderr, answer.returncode)
    assert 1 == server.token_requests
    assert server.is_alive(refresh_token(place))


@pytest.mark.requires("fork")
def test_an_answer_that_came_while_its_reader_was_frozen_is_taken(
    place: Place, server: AuthorizationServer
) -> None:
    """SIGSTOP beyond every deadline costs time, and not the session."""
    place.provider["timeout"] = 1.0

    def in_the_child() -> tuple[int, str]:
        session = place.session()
        return session.access_token().generation, session.state.value

    for attempt in range(3):  # which thread wakes up first is chance
        place.signed_in(server)
        server.faults.add(TOKEN, Delay(When.AFTER, 0.2))
        with Child(in_the_child) as child:
            until = time.monotonic() + 10
            while server.requests.count(TOKEN) == attempt:
                assert time.monotonic() < until
                time.sleep(0.01)
            child.signal(signal.SIGSTOP)
            time.sleep(1.5)
            child.signal(signal.SIGCONT)
            assert (2, "active") == child.result()
    assert 3 == server.token_requests


# Forks.


@pytest.mark.requires("fork")
def test_a_child_forked_while_a_refresh_is_in_flight_starts_anew(
    place: Place, server: AuthorizationServer
) -> None:
    session = place.signed_in(server)
    server.faults.add(TOKEN, Hold(When.AFTER))
    future: Future[AccessToken] = session.refresh_in_flight(min_ttl=10**6)
    assert server.faults.wait_held()

    def in_the_child() -> tuple[str, int]:
        return session.state.value, session.access_token().generation

    with Child(in_the_child) as child:
        time.sleep(0.2)
        server.faults.release()
        assert ("signed out", 3) == child.result()
    assert 2 == future.result(10).generation
    assert 2 == server.token_requests
    assert 0 == server.reuse_detected


@pytest.mark.requires("fork")
def test_a_child_keeps_listeners_and_caches_and_drops_the_parent_s_work(
    place: Place, server: AuthorizationServer
) -> None:
    session = place.signed_in(server)
    done: list[str] = []
    session.register_cache(lambda: done.append("cache"))
    session.track(lambda: done.append("work"))
    session.on_change(lambda change: done.append(change.state.value))

    def in_the_child() -> list[str]:
        session.restore()
        session.logout()
        return done

    assert ["active", "cache", "signed out"] == in_child(in_the_child)
    with pytest.raises(LoginRequired):
        session.access_token()
    assert ["work", "cache", "signed out"] == done


@pytest.mark.requires("fork")
def test_forked_workers_share_one_login(place: Place, server: AuthorizationServer) -> None:
    session = place.signed_in(server, share_access_tokens=True)
    expected = session.access_token().reveal()

    def work() -> bool:
        return session.access_token().reveal() == expected

    assert [True] * 4 == [in_child(work) for _ in range(4)]
    assert 0 == server.token_requests


# Processes.


def herd(
    place: Place, shares: bool, processes: int, threads: int, loops: int = 0
) -> list[list[str]]:
    """Every process restores and all its threads ask at once; the tokens by process.

    With `loops` there is one more process, with that many event loops of 50 tasks each.
    """
    gate_reading, gate_writing = os.pipe()

    def process() -> list[str]:
        os.close(gate_writing)
        session = place.session(share_access_tokens=shares)
        session.restore()
        session.tokens.kept.load()
        os.read(gate_reading, 1)  # until the parent opens the gate
        got: list[str] = []

        def ask() -> None:
            try:
                got.append(session.access_token().reveal())
            except Exception as exc:
                got.append(f"{type(exc).__name__}: {exc}")

        asking = [threading.Thread(target=ask) for _ in range(threads)]
        for each in asking:
            each.start()
        for each in asking:
            each.join()
        session.close()
        return got

    def process_of_loops() -> list[str]:
        os.close(gate_writing)
        template = place.session()
        face = AsyncSession(template.provider, template.tokens, share_access_tokens=shares)
        face.sync.restore()
        os.read(gate_reading, 1)
        got: list[str] = []

        async def ask() -> None:
            try:
                got.append((await face.access_token()).reveal())
            except Exception as exc:
                got.append(f"{type(exc).__name__}: {exc}")

        async def ask_often() -> None:
            await asyncio.gather(*(ask() for _ in range(50)))

        asking = [threading.Thread(target=asyncio.run, args=(ask_often(),)) for _ in range(loops)]
        for each in asking:
            each.start()
        for each in asking:
            each.join()
        face.sync.close()
        return got

    children = [Child(process) for _ in range(processes)]
    if loops:
        children.append(Child(process_of_loops))
    os.close(gate_reading)
    time.sleep(0.05)
    os.close(gate_writing)
    return [child.result(60) for child in children]


@pytest.mark.requires("fork")
@pytest.mark.parametrize("shares", [True, False], ids=["shared", "memory only"])
@pytest.mark.parametrize(
    ("processes", "threads", "rounds"),
    [(3, 4, 3), pytest.param(12, 8, 20, marks=pytest.mark.load)],
)
@pytest.mark.timeout(300)
def test_processes_that_meet_an_expired_token(
    tmp_path: Path, shares: bool, processes: int, threads: int, rounds: int
) -> None:
    """Shared: one redemption a round. In memory only: one per process, in turn. All are served."""
    with AuthorizationServer(Policy(access_token_seconds=3600)) as server:
        place = Place(tmp_path, server.issuer)
        first = server.login("notes")
        in_child(lambda: place.session(share_access_tokens=shares).begin(first).value)
        for _ in range(rounds):
            in_child(lambda: age_the_record(place))
            requests = server.token_requests
            tokens = herd(place, shares, processes, threads)
            told = [each for got in tokens for each in got]
            assert processes * threads == len(told)
            assert all(server.accepts(token) for token in set(told)), set(told)
            spent = server.token_requests - requests
            assert (1 if shares else processes) == spent
            assert (1 if shares else processes) == len(set(told))
            assert all(len(set(got)) == 1 for got in tokens)
        assert 0 == server.reuse_detected
        assert State.ACTIVE.value == in_child(lambda: place.session().restore().value)


@pytest.mark.requires("fork")
@pytest.mark.load
@pytest.mark.parametrize("shares", [True, False], ids=["shared", "memory only"])
@pytest.mark.timeout(300)
def test_processes_of_threads_and_of_event_loops_that_meet_an_expired_token(
    tmp_path: Path, shares: bool
) -> None:
    """12 processes of 8 threads, and one of 3 event loops with 50 tasks each: 246 callers."""
    with AuthorizationServer(Policy(access_token_seconds=3600)) as server:
        place = Place(tmp_path, server.issuer)
        first = server.login("notes")
        in_child(lambda: place.session(share_access_tokens=shares).begin(first).value)
        for _ in range(20):
            in_child(lambda: age_the_record(place))
            requests = server.token_requests
            tokens = herd(place, shares, 12, 8, loops=3)
            told = [each for got in tokens for each in got]
            assert [8] * 12 + [150] == [len(got) for got in tokens]
            assert all(server.accepts(token) for token in set(told)), set(told)
            assert (1 if shares else 13) == server.token_requests - requests
            assert (1 if shares else 13) == len(set(told))
            assert all(len(set(got)) == 1 for got in tokens)
        assert 0 == server.reuse_detected


def age_the_record(place: Place) -> None:
    """As if the access token had expired an hour ago."""
    tokens = place.tokens()
    record = tokens.kept.load()
    assert record is not None
    moment = record.obtained
    old = type(moment)(moment.wall - 7200, moment.monotonic - 7200, moment.boot)
    tokens.kept.write(record.changed(obtained=old))
