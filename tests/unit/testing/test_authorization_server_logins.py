"""The authorization server lets people and devices in by its policy, over real HTTP."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import pytest

from support.wire import (
    START,
    Reply,
    ask,
    authorization_url,
    claims_of,
    error_of,
    logged_in,
    query_of,
    redeem_code,
    refresh,
    userinfo,
)
from tokenkeep.testing.authorization_server import AuthorizationServer, Client, Policy

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


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
