"""Which access token is handed out: by the clock, by what was asked for, and after a 401."""

from __future__ import annotations

import pytest

from support.sessions import Place, changes_of, expire
from tokenkeep import Session
from tokenkeep.session.state import AccessToken
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Delay,
    Endpoint,
    Policy,
    When,
)
from tokenkeep.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_min_ttl_beyond_the_grant_refreshes_once(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session = place.signed_in(server)
    assert 2 == session.access_token(min_ttl=10**6).generation
    for _ in range(3):
        assert 2 == session.access_token(min_ttl=10**6).generation
    assert 1 == server.token_requests
    clock.advance(160)
    assert 3 == session.access_token(min_ttl=10**6).generation


def test_a_shared_token_that_is_too_short_is_renewed(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """Somebody else's newer token counts only if it is good for as long as was asked."""
    one, two = (place.session(share_access_tokens=True) for _ in range(2))
    one.begin(server.login("notes"))
    two.access_token()
    clock.advance(100)
    one.access_token(min_ttl=250)
    clock.advance(200)
    token = two.access_token(min_ttl=150)
    assert token.expires - clock.monotonic() >= 150
    assert 2 == server.token_requests


def test_the_advisory_window_renews_once_and_serves_meanwhile(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session = place.signed_in(server)
    clock.advance(260)
    server.faults.add(Endpoint.TOKEN, Delay(When.BEFORE, 0.2))
    assert {1} == {session.access_token().generation for _ in range(50)}
    assert 2 == session.refresh_in_flight(min_ttl=100).result(5).generation
    assert 2 == session.access_token().generation
    assert 1 == server.token_requests


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_jump_of_the_wall_clock_changes_nothing_within_a_boot(
    place: Place, server: AuthorizationServer, clock: FakeClock, jump: float
) -> None:
    session = place.signed_in(server, share_access_tokens=True)
    clock.jump_wall(jump)
    assert 1 == session.access_token().generation
    assert 1 == place.session().access_token().generation
    expire(clock)
    assert 2 == session.access_token().generation
    assert 1 == server.token_requests


def test_after_a_reboot_with_the_clock_set_back_the_token_is_tried_anew(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    place.signed_in(server, share_access_tokens=True)
    clock.jump_wall(-86_400)
    clock.reboot()
    assert 2 == place.session(share_access_tokens=True).access_token().generation


def test_suspend_counts(place: Place, server: AuthorizationServer, clock: FakeClock) -> None:
    session = place.signed_in(server)
    clock.suspend(3600)
    assert 2 == session.access_token().generation


def rejected(session: Session, token: AccessToken) -> AccessToken:
    found = session.token_after_401(token)
    assert found is not None
    return found


def test_a_401_refreshes_the_current_generation_once(
    place: Place, server: AuthorizationServer
) -> None:
    session = place.signed_in(server)
    first = session.access_token()
    second = rejected(session, first)
    assert 2 == second.generation
    assert 2 == rejected(session, first).generation
    assert session.token_after_401(second) is None
    assert 1 == server.token_requests


def test_a_provider_that_kills_old_tokens_makes_the_session_share(
    place: Place, server: AuthorizationServer
) -> None:
    server.policy = Policy(access_token_seconds=300, refresh_kills_access_tokens=True)
    one, two = place.signed_in(server), place.session()
    heard = changes_of(one)
    first = one.access_token()
    two.access_token()
    assert not server.accepts(first.reveal())
    token = rejected(one, first)
    assert server.accepts(token.reveal())
    assert "shared" in heard[-1].reason
    assert token.reveal() == place.session().access_token().reveal()
    requests = server.token_requests
    assert token.reveal() == place.session().access_token().reveal()
    assert requests == server.token_requests


def test_a_token_from_a_401_that_a_peer_s_rotation_killed_is_not_the_end(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    server.policy = Policy(access_token_seconds=300, refresh_kills_access_tokens=True)
    one, two = place.signed_in(server), place.session()
    second = rejected(one, one.access_token())
    two.access_token()
    third = rejected(one, second)
    assert server.accepts(third.reveal())
