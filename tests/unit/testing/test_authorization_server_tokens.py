"""The authorization server rotates, shapes and revokes tokens by its policy, over real HTTP."""

from __future__ import annotations

import pytest

from support.wire import (
    START,
    Reply,
    ask,
    claims_of,
    error_of,
    logged_in,
    refresh,
    userinfo,
)
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Grace,
    Policy,
    RevocationReach,
)

# Refresh: rotation, reuse, grace.


def test_rotation_spends_the_token_and_returns_its_successor(server: AuthorizationServer) -> None:
    """The old one is dead, the new one lives, the generation grows, the family is the same."""
    first, _ = logged_in(server)
    second = refresh(server.issuer, first).json["refresh_token"]
    assert (False, True) == (server.is_alive(first), server.is_alive(second))
    family = server.family_of(second)
    assert family is not None
    assert family == server.family_of(first)
    assert (1, "notes", "alice") == (family.generation, family.client_id, family.user)


def test_reuse_ends_the_family_and_its_access_tokens_and_no_other(
    server: AuthorizationServer,
) -> None:
    """RFC 9700 section 4.14.2: a spent token that comes again is a theft."""
    first, first_access = logged_in(server)
    other, other_access = logged_in(server)
    second = refresh(server.issuer, first).json
    assert 0 == server.reuse_detected
    assert (400, "invalid_grant") == error_of(refresh(server.issuer, first))
    assert 1 == server.reuse_detected
    assert (400, "invalid_grant") == error_of(refresh(server.issuer, second["refresh_token"]))
    for access in (first_access, second["access_token"]):
        reply = userinfo(server.issuer, access)
        assert 401 == reply.status
        assert 'Bearer error="invalid_token"' == reply.headers["WWW-Authenticate"]
    assert (True, True) == (server.is_alive(other), server.accepts(other_access))
    assert [True, False] == [family.revoked for family in server.grants()]


def test_without_reuse_detection_the_family_survives() -> None:
    """The replay is refused and counted, nothing else happens."""
    with AuthorizationServer(Policy(reuse_detection=False)) as server:
        first, _ = logged_in(server)
        second = refresh(server.issuer, first).json["refresh_token"]
        assert (400, "invalid_grant") == error_of(refresh(server.issuer, first))
        assert (1, True) == (server.reuse_detected, server.is_alive(second))


def test_idempotent_grace_returns_the_same_successor() -> None:
    """A lost answer can be asked for again, and gives the same tokens."""
    with AuthorizationServer(Policy(grace_seconds=10), clock=lambda: START) as server:
        first, _ = logged_in(server)
        answers = [refresh(server.issuer, first).json for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        assert 1 == server.grants()[0].generation
        assert server.is_alive(answers[0]["refresh_token"])


def test_branching_grace_returns_a_sibling_each_time() -> None:
    """Each replay makes another token, and all of them work."""
    policy = Policy(grace_seconds=10, grace=Grace.BRANCHING)
    with AuthorizationServer(policy, clock=lambda: START) as server:
        first, _ = logged_in(server)
        siblings = [refresh(server.issuer, first).json["refresh_token"] for _ in range(3)]
        assert 3 == len(set(siblings))
        assert [200, 200, 200] == [refresh(server.issuer, each).status for each in siblings]


@pytest.mark.parametrize("grace", list(Grace))
def test_grace_ends_with_its_window(grace: Grace) -> None:
    """After the window a replay is a theft again."""
    with AuthorizationServer(Policy(grace_seconds=10, grace=grace), clock=lambda: START) as server:
        first, _ = logged_in(server)
        second = refresh(server.issuer, first).json["refresh_token"]
        server.advance(10)
        assert (400, "invalid_grant") == error_of(refresh(server.issuer, first))
        assert (1, False) == (server.reuse_detected, server.is_alive(second))


@pytest.mark.parametrize("grace", list(Grace))
def test_grace_ends_when_a_successor_was_used(grace: Grace) -> None:
    """Only the second-to-last generation may come again."""
    with AuthorizationServer(Policy(grace_seconds=10, grace=grace), clock=lambda: START) as server:
        first, _ = logged_in(server)
        second = refresh(server.issuer, first).json["refresh_token"]
        third = refresh(server.issuer, second).json["refresh_token"]
        assert (400, "invalid_grant") == error_of(refresh(server.issuer, first))
        assert not server.is_alive(third)


def test_idempotent_grace_replaces_an_access_token_that_died_meanwhile() -> None:
    """The refresh token is the same one, the access token a good one."""
    policy = Policy(grace_seconds=100, access_token_seconds=5)
    with AuthorizationServer(policy, clock=lambda: START) as server:
        first, _ = logged_in(server)
        once = refresh(server.issuer, first).json
        server.advance(6)
        again = refresh(server.issuer, first).json
        assert once["refresh_token"] == again["refresh_token"]
        assert (False, True) == tuple(
            server.accepts(each["access_token"]) for each in (once, again)
        )


@pytest.mark.parametrize("kills", [False, True])
def test_a_refresh_may_kill_the_earlier_access_token(kills: bool) -> None:
    """Some providers do; then every other holder of the old one meets a 401."""
    with AuthorizationServer(Policy(refresh_kills_access_tokens=kills)) as server:
        token, access = logged_in(server)
        new = refresh(server.issuer, token).json["access_token"]
        assert (not kills, True) == (server.accepts(access), server.accepts(new))


@pytest.mark.parametrize("returns", [False, True])
def test_without_rotation_the_refresh_token_stays(returns: bool) -> None:
    """The answer repeats it or leaves it out; both mean keep it."""
    policy = Policy(rotation=False, returns_refresh_token=returns)
    with AuthorizationServer(policy) as server:
        token, _ = logged_in(server)
        answers = [refresh(server.issuer, token).json for _ in range(2)]
        expected = token if returns else None
        assert [expected, expected] == [each.get("refresh_token") for each in answers]
        assert (0, True) == (server.reuse_detected, server.is_alive(token))


def test_rotation_without_returning_the_token_is_no_policy() -> None:
    """It would end every session with its first refresh."""
    with pytest.raises(ValueError, match="rotation"):
        Policy(returns_refresh_token=False)


def test_tokens_expire_by_the_servers_clock() -> None:
    """Lifetimes are counted from the issue of each token."""
    policy = Policy(access_token_seconds=5, refresh_token_seconds=20)
    with AuthorizationServer(policy, clock=lambda: START) as server:
        token, access = logged_in(server)
        server.advance(5)
        assert 401 == userinfo(server.issuer, access).status
        second = refresh(server.issuer, token).json["refresh_token"]
        server.advance(19)
        assert server.is_alive(second)
        server.advance(1)
        assert not server.is_alive(second)
        assert (400, "invalid_grant") == error_of(refresh(server.issuer, second))
        assert 0 == server.reuse_detected


def test_scope_may_shrink_and_never_grows(server: AuthorizationServer) -> None:
    """RFC 6749 section 6; a refused scope does not spend the refresh token."""
    token, _ = logged_in(server)
    grown = refresh(server.issuer, token, scope="notes admin")
    assert (400, "invalid_scope") == error_of(grown)
    assert server.is_alive(token)
    assert "notes" == refresh(server.issuer, token, scope="notes").json["scope"]


def test_a_refresh_token_belongs_to_its_client(server: AuthorizationServer) -> None:
    """Another client cannot redeem it, nor end the family by trying."""
    token, _ = logged_in(server)
    assert (400, "invalid_grant") == error_of(refresh(server.issuer, token, "other"))
    assert server.is_alive(token)


def test_the_answer_is_shaped_by_the_policy() -> None:
    """What a provider leaves out, adds or narrows."""
    policy = Policy(
        omit_expires_in=True,
        states_scope=False,
        token_type="DPoP",
        extra_fields={"tenant": {"id": 7}},
        offline_access_required=True,
    )
    with AuthorizationServer(policy) as server:
        plain = server.login(scope="notes")
        assert {"access_token", "token_type", "tenant"} == set(plain)
        assert ("DPoP", {"id": 7}) == (plain["token_type"], plain["tenant"])
        assert "refresh_token" in server.login(scope="notes offline_access")
        server.policy = Policy(withheld_scopes=frozenset({"admin"}))
        assert "notes" == server.login(scope="notes admin")["scope"]


@pytest.mark.parametrize("returned", [False, True])
def test_a_refresh_may_return_an_id_token_without_a_nonce(returned: bool) -> None:
    """OpenID Connect Core section 12.2: same subject, original auth_time, no nonce."""
    with AuthorizationServer(Policy(id_token_on_refresh=returned), clock=lambda: START) as server:
        login = server.login(nonce="n-1")
        server.advance(100)
        answer = refresh(server.issuer, str(login["refresh_token"])).json
        assert returned == ("id_token" in answer)
        if returned:
            claims = claims_of(server, answer["id_token"])
            assert ("alice", int(START), int(START) + 100) == (
                claims["sub"],
                claims["auth_time"],
                claims["iat"],
            )
            assert "nonce" not in claims


# Revocation.


def revoke(server: AuthorizationServer, token: str, client_id: str = "notes") -> Reply:
    return ask(f"{server.issuer}/revoke", {"token": token, "client_id": client_id})


def test_revoking_a_refresh_token_ends_its_family_and_is_idempotent(
    server: AuthorizationServer,
) -> None:
    """RFC 7009: 200 also for a token that is unknown or gone already; other logins go on."""
    token, access = logged_in(server)
    other, _ = logged_in(server)
    assert [200, 200, 200] == [revoke(server, each).status for each in (token, token, "unknown")]
    assert (False, False) == (server.is_alive(token), server.accepts(access))
    assert server.is_alive(other)
    assert (400, "invalid_grant") == error_of(refresh(server.issuer, token))
    assert 0 == server.reuse_detected


def test_revocation_may_reach_every_login_of_the_client_and_user() -> None:
    """Some servers end the whole grant; other users and clients are not touched."""
    policy = Policy(revocation_reach=RevocationReach.CLIENT_AND_USER)
    with AuthorizationServer(policy) as server:
        mine = [logged_in(server)[0] for _ in range(2)]
        others = [logged_in(server, user="bob")[0], logged_in(server, client_id="mail")[0]]
        revoke(server, mine[0])
        assert [False, False] == [server.is_alive(each) for each in mine]
        assert [True, True] == [server.is_alive(each) for each in others]


def test_revoking_an_access_token_keeps_the_login(server: AuthorizationServer) -> None:
    """Only that access token dies."""
    token, access = logged_in(server)
    assert 200 == revoke(server, access).status
    assert (True, False) == (server.is_alive(token), server.accepts(access))


def test_a_client_cannot_revoke_anothers_token(server: AuthorizationServer) -> None:
    """RFC 7009 section 2.1: the request is refused."""
    token, _ = logged_in(server)
    assert 400 == revoke(server, token, "other").status
    assert server.is_alive(token)


def test_ending_the_browser_session_leaves_the_tokens(server: AuthorizationServer) -> None:
    """RP-initiated logout is no revocation; the redirect goes to loopback only."""
    token, _ = logged_in(server)
    back = "http%3A%2F%2F127.0.0.1%3A9%2Fbye"
    reply = ask(f"{server.issuer}/end_session?post_logout_redirect_uri={back}&state=s")
    assert "http://127.0.0.1:9/bye?state=s" == reply.headers["Location"]
    elsewhere = "https%3A%2F%2Fattacker.example"
    assert 400 == ask(f"{server.issuer}/end_session?post_logout_redirect_uri={elsewhere}").status
    assert server.is_alive(token)
