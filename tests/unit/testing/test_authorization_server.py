"""The authorization server keeps the rules that its policy names, over real HTTP."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from support.wire import (
    Reply,
    ask,
    authorization_url,
    query_of,
    redeem_code,
    refresh,
    userinfo,
)
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Client,
    Endpoint,
    Grace,
    Policy,
    RevocationReach,
)

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
START = 1_800_000_000.0


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as running:
        yield running


def logged_in(server: AuthorizationServer, **options: str) -> tuple[str, str]:
    """A login without an ID token: its refresh token and its access token."""
    answer = server.login(**{"scope": "notes offline_access", **options})
    return str(answer["refresh_token"]), str(answer["access_token"])


def error_of(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["error"]


def claims_of(server: AuthorizationServer, id_token: object) -> dict[str, object]:
    keys = KeySet.import_key_set(ask(f"{server.issuer}/jwks").json)
    return dict(jwt.decode(str(id_token), keys, algorithms=["ES256"]).claims)


# Metadata and the life of the server.


def test_both_metadata_addresses_name_the_issuer_exactly(server: AuthorizationServer) -> None:
    """RFC 8414 and OpenID discovery serve one document whose endpoints all answer."""
    openid = ask(f"{server.issuer}/.well-known/openid-configuration").json
    assert openid == ask(f"{server.issuer}/.well-known/oauth-authorization-server").json
    assert server.issuer == openid["issuer"]
    assert ["S256"] == openid["code_challenge_methods_supported"]
    assert True is openid["authorization_response_iss_parameter_supported"]
    addresses = [value for name, value in openid.items() if name.endswith(("_endpoint", "_uri"))]
    assert 7 == len(addresses)
    assert 404 not in {ask(address).status for address in addresses}


def test_start_up_takes_less_than_fifty_milliseconds() -> None:
    """A server per test has to be affordable; the best of five, other work on the machine aside."""
    durations = []
    for _ in range(5):
        begin = time.perf_counter()
        with AuthorizationServer() as server:
            server.login(scope="notes")
            durations.append(time.perf_counter() - begin)
    assert min(durations) < 0.05


def test_a_stopped_server_refuses_connections_and_remembers_everything() -> None:
    """Offline means refused, also on connections that were open; online again is the same port."""
    with AuthorizationServer() as server:
        token, _ = logged_in(server)
        for _ in range(3):
            server.stop()
            with pytest.raises(ConnectionRefusedError):
                refresh(server.issuer, token)
            server.start()
            token = refresh(server.issuer, token).json["refresh_token"]
        assert 3 == server.token_requests
        assert server.is_alive(token)


def test_a_closed_server_gives_its_port_back() -> None:
    """After `close` somebody else can listen there."""
    with AuthorizationServer() as server:
        port = int(server.issuer.rsplit(":", 1)[1])
    with AuthorizationServer(port=port) as again:
        assert server.issuer == again.issuer


def test_no_thread_is_left_behind() -> None:
    """A test suite that makes a thousand servers ends with the threads it began with."""
    before = threading.active_count()
    with AuthorizationServer() as server:
        refresh(server.issuer, logged_in(server)[0])
        assert threading.active_count() > before
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert before == threading.active_count()


@pytest.mark.parametrize("path", ["/token", "/revoke", "/device"])
def test_back_channel_endpoints_want_a_post(server: AuthorizationServer, path: str) -> None:
    """Parameters of these never belong into an address."""
    assert 405 == ask(f"{server.issuer}{path}").status


def test_a_defect_of_the_server_is_not_passed_off_as_a_fault() -> None:
    """A policy that cannot be served fails the test that uses it, at the end of the block."""
    server = AuthorizationServer(Policy(extra_fields={"hint": object()}))
    server.start()
    token, _ = logged_in(server)
    with pytest.raises(ConnectionError):
        refresh(server.issuer, token)
    with pytest.raises(AssertionError, match="the server failed"):
        server.close()


# Logins.


def test_the_browser_flow_ends_in_tokens_for_the_client(server: AuthorizationServer) -> None:
    """Code with PKCE: the redirect carries code, state and issuer; the ID token verifies."""
    location = query_of(server.approve(authorization_url(server.issuer)))
    assert {"code", "state", "iss"} == set(location)
    assert ("the-state", server.issuer) == (location["state"], location["iss"])
    tokens = redeem_code(server.issuer, location["code"]).json
    assert ("Bearer", 300) == (tokens["token_type"], tokens["expires_in"])
    assert "openid offline_access" == tokens["scope"]
    claims = claims_of(server, tokens["id_token"])
    assert (server.issuer, "alice", "notes", "the-nonce") == (
        claims["iss"],
        claims["sub"],
        claims["aud"],
        claims["nonce"],
    )
    assert "alice" == userinfo(server.issuer, tokens["access_token"]).json["sub"]


def test_a_code_works_once_and_a_second_use_ends_what_the_first_obtained(
    server: AuthorizationServer,
) -> None:
    """RFC 6749 section 4.1.2: somebody else had the code."""
    code = query_of(server.approve(authorization_url(server.issuer)))["code"]
    tokens = redeem_code(server.issuer, code).json
    assert (400, "invalid_grant") == error_of(redeem_code(server.issuer, code))
    assert not server.is_alive(tokens["refresh_token"])
    assert not server.accepts(tokens["access_token"])


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "w" * 43},
        {"redirect_uri": "http://127.0.0.1:1235/callback"},
        {"client_id": "other"},
        {"code": "code-unknown"},
    ],
)
def test_a_code_is_bound_to_verifier_redirect_and_client(
    server: AuthorizationServer, changes: dict[str, str]
) -> None:
    """Each binding alone refuses the code."""
    code = query_of(server.approve(authorization_url(server.issuer)))["code"]
    assert (400, "invalid_grant") == error_of(
        redeem_code(server.issuer, **{"code": code, **changes})
    )


def test_a_code_expires(server: AuthorizationServer) -> None:
    """A code is good for `Policy.code_seconds`."""
    code = query_of(server.approve(authorization_url(server.issuer)))["code"]
    server.advance(60)
    assert (400, "invalid_grant") == error_of(redeem_code(server.issuer, code))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "please"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
    ],
)
def test_a_bad_authorization_request_is_sent_back_with_its_error(
    server: AuthorizationServer, changes: dict[str, str | None], error: str
) -> None:
    """The client learns what was wrong, with its state and the issuer."""
    location = query_of(server.approve(authorization_url(server.issuer, **changes)))
    assert error == location["error"]
    assert server.issuer == location["iss"]
    assert "code" not in location


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://attacker.example/callback",
        "http://localhost:1234/callback",
        "http://127.0.0.1@attacker.example/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:1234/callback#fragment",
        "myapp://callback",
        None,
    ],
)
def test_nobody_is_redirected_to_an_address_that_is_not_loopback(
    server: AuthorizationServer, redirect_uri: str | None
) -> None:
    """RFC 8252: a page instead, because the redirect itself would be the harm."""
    reply = ask(authorization_url(server.issuer, redirect_uri=redirect_uri))
    assert 400 == reply.status
    assert "Location" not in reply.headers


@pytest.mark.parametrize("redirect_uri", ["http://127.0.0.1:1/x", "http://[::1]:65535/y?keep=me"])
def test_any_loopback_port_will_do(server: AuthorizationServer, redirect_uri: str) -> None:
    """RFC 8252 section 7.3; the query of the redirect address stays."""
    location = server.approve(authorization_url(server.issuer, redirect_uri=redirect_uri))
    assert location.startswith(redirect_uri.partition("?")[0])
    assert ("keep" in redirect_uri) == ("keep" in query_of(location))


def test_the_person_may_say_no_or_be_somebody_else(server: AuthorizationServer) -> None:
    """`deny` gives access_denied, `user` signs in under another name."""
    denied = query_of(server.approve(authorization_url(server.issuer), deny=True))
    assert "access_denied" == denied["error"]
    approved = query_of(server.approve(authorization_url(server.issuer), user="bob"))
    token = redeem_code(server.issuer, approved["code"]).json["access_token"]
    assert "bob" == userinfo(server.issuer, token).json["sub"]


def test_without_auto_approval_a_page_asks_and_prompt_none_fails() -> None:
    """A person has to decide; a request that forbids asking gets login_required."""
    with AuthorizationServer(Policy(auto_approve=False)) as server:
        reply = ask(authorization_url(server.issuer))
        assert 200 == reply.status
        assert b'rel="approve"' in reply.body
        silent = ask(authorization_url(server.issuer, prompt="none"))
        assert "login_required" == query_of(silent.headers["Location"])["error"]
        assert "code" in query_of(server.approve(authorization_url(server.issuer)))


def test_unknown_clients_and_wrong_secrets_are_refused() -> None:
    """With `Policy.clients` only those exist; a confidential one has to prove itself."""
    clients = (Client("notes"), Client("web", secret="s3:cret"))
    with AuthorizationServer(Policy(clients=clients)) as server:
        assert 400 == ask(authorization_url(server.issuer, client_id="stranger")).status
        token, _ = logged_in(server, client_id="web")
        assert (401, "invalid_client") == error_of(refresh(server.issuer, token, "stranger"))
        wrong = refresh(server.issuer, token, "web", client_secret="guess")
        assert (401, "invalid_client") == error_of(wrong)
        assert "WWW-Authenticate" in wrong.headers
        by_post = refresh(server.issuer, token, "web", client_secret="s3:cret")
        basic = base64.b64encode(b"web:s3%3Acret").decode()
        by_header = ask(
            f"{server.issuer}/token",
            {"grant_type": "refresh_token", "refresh_token": by_post.json["refresh_token"]},
            headers={"Authorization": f"Basic {basic}"},
        )
        assert (200, 200) == (by_post.status, by_header.status)


def test_a_repeated_parameter_is_refused(server: AuthorizationServer) -> None:
    """RFC 6749 section 3.2: parameters must not be included more than once."""
    token, _ = logged_in(server)
    url = f"{server.issuer}/token?refresh_token={token}"
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "notes"}
    twice = ask(f"{url}&refresh_token={token}", form)
    assert (400, "invalid_request") == error_of(twice)
    assert server.is_alive(token)


def test_a_login_without_a_browser_gives_what_the_token_endpoint_would() -> None:
    """`login` is for clients that begin with a token response."""
    with AuthorizationServer(clock=lambda: START) as server:
        tokens = server.login("notes", user="bob", nonce="n-1")
        assert ("bob", "n-1", "notes", int(START)) == tuple(
            claims_of(server, tokens["id_token"])[name] for name in ("sub", "nonce", "aud", "iat")
        )
        assert server.is_alive(str(tokens["refresh_token"]))
        assert 0 == server.token_requests


# Device flow.


def start_device(server: AuthorizationServer) -> dict[str, Any]:
    reply = ask(f"{server.issuer}/device", {"client_id": "notes", "scope": "notes"})
    started: dict[str, Any] = reply.json
    return started


def poll(server: AuthorizationServer, started: dict[str, Any]) -> Reply:
    form = {
        "grant_type": DEVICE_GRANT,
        "device_code": started["device_code"],
        "client_id": "notes",
    }
    return ask(f"{server.issuer}/token", form)


def test_a_device_waits_until_its_person_approves(server: AuthorizationServer) -> None:
    """Pending, then tokens for whoever approved, and only once."""
    started = start_device(server)
    assert 1 == started["interval"]
    assert (400, "authorization_pending") == error_of(poll(server, started))
    assert server.approve_device(started["user_code"].lower().replace("-", ""), user="bob")
    server.advance(1)
    tokens = poll(server, started)
    assert "bob" == userinfo(server.issuer, tokens.json["access_token"]).json["sub"]
    assert (400, "invalid_grant") == error_of(poll(server, started))


def test_the_driven_browser_approves_a_device(server: AuthorizationServer) -> None:
    """Visiting verification_uri_complete and saying yes is all a person does."""
    started = start_device(server)
    assert 200 == server.drive_browser(started["verification_uri_complete"])
    assert 200 == poll(server, started).status


def test_a_denied_or_late_device_is_told_so(server: AuthorizationServer) -> None:
    """access_denied and expired_token end the polling."""
    denied, late = start_device(server), start_device(server)
    assert server.deny_device(denied["user_code"])
    assert (400, "access_denied") == error_of(poll(server, denied))
    server.advance(600)
    assert (400, "expired_token") == error_of(poll(server, late))
    assert not server.approve_device("NONE-SUCH")


def test_polling_too_fast_slows_down_for_good() -> None:
    """RFC 8628 section 3.5: 5 seconds more, from then on; without an interval it is 5 at first."""
    with AuthorizationServer(Policy(device_interval=None)) as server:
        started = start_device(server)
        assert "interval" not in started
        errors = []
        for moment in (0.0, 1.0, 8.0, 23.0):
            server.clock = partial(float, moment)
            errors.append(poll(server, started).json["error"])
        pending, slow = "authorization_pending", "slow_down"
        assert [pending, slow, slow, pending] == errors


def test_a_device_can_approve_itself_at_a_given_poll() -> None:
    """For a story without a second program."""
    policy = Policy(device_polls_until_approved=2, enforce_device_interval=False)
    with AuthorizationServer(policy) as server:
        started = start_device(server)
        assert [400, 200] == [poll(server, started).status for _ in range(2)]


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


# What tests look at.


def test_requests_are_counted_and_kept_with_their_outcome(server: AuthorizationServer) -> None:
    """Counts by endpoint and grant, and the parameters that were really sent."""
    token, access = logged_in(server)
    refresh(server.issuer, token, resource="https://api.example")
    refresh(server.issuer, token)
    userinfo(server.issuer, access)
    assert 2 == server.token_requests
    assert 2 == server.requests.count(Endpoint.TOKEN, grant_type="refresh_token")
    assert 0 == server.requests.count(Endpoint.TOKEN, grant_type="authorization_code")
    seen = server.requests.to(Endpoint.TOKEN)
    assert [200, 400] == [each.status for each in seen]
    assert "https://api.example" == seen[0].request.form["resource"]
    assert 1 == server.requests.counts()["userinfo"]
    server.requests.clear()
    assert (0, []) == (server.token_requests, server.requests.all())


def test_an_administrator_can_end_a_login(server: AuthorizationServer) -> None:
    """Revoked behind the client's back."""
    token, access = logged_in(server)
    server.revoke(token)
    assert (False, False) == (server.is_alive(token), server.accepts(access))


def test_what_inspection_returns_is_a_copy(server: AuthorizationServer) -> None:
    """Looking at a family cannot change it."""
    token, _ = logged_in(server)
    family = server.family_of(token)
    assert family is not None
    family.revoke()
    family.refresh_tokens[token].spent_at = 1.0
    assert server.is_alive(token)
    assert server.family_of("unknown") is None


# Atomicity.


@pytest.mark.parametrize(
    ("policy", "answered", "reuses"),
    [
        (Policy(), 1, 15),
        (Policy(reuse_detection=False), 1, 15),
        (Policy(grace_seconds=60), 16, 0),
        (Policy(grace_seconds=60, grace=Grace.BRANCHING), 16, 0),
    ],
)
def test_sixteen_threads_with_one_token_are_answered_one_after_another(
    policy: Policy, answered: int, reuses: int
) -> None:
    """Exactly one request rotates; the fifteen others see that it did."""
    with AuthorizationServer(policy) as server:
        for _ in range(5):
            token, _ = logged_in(server)
            before = server.reuse_detected
            barrier = threading.Barrier(16)

            def redeem(token: str = token, barrier: threading.Barrier = barrier) -> Reply:
                barrier.wait()
                return refresh(server.issuer, token)

            with ThreadPoolExecutor(16) as pool:
                replies = [job.result() for job in [pool.submit(redeem) for _ in range(16)]]
            good = [reply.json["refresh_token"] for reply in replies if reply.status == 200]
            assert answered == len(good)
            # Once a family has been revoked for reuse, later replays are plain refusals.
            assert (1 if policy.reuse_detection and reuses else reuses) == (
                server.reuse_detected - before
            )
            branches = policy.grace is Grace.BRANCHING
            assert (16 if branches else 1) == len(set(good))
        assert 5 * 16 == server.token_requests
