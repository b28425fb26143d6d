"""A login on the command line that comes to nothing: what is said, and nothing is saved."""

from __future__ import annotations

import json
import re

import pytest

from cli.conftest import Server, StartServer, sign_in
from cli.shell import Shell
from support.driven_browser import BROWSER
from tokenkeep.testing.authorization_server import (
    Endpoint,
    Fault,
    ForgedIdToken,
    Html,
    HugeBody,
    IdTokenClaims,
    OAuthError,
    RedirectParameters,
    Status,
    WithFields,
    WithoutFields,
)

pytestmark = pytest.mark.requires("terminal")

AGAIN = "hint: log in again\n"
OWN_CLIENT = "hint: check the issuer and the client id\n"
PROVIDER_S = "hint: log in again; if that does not help, tell whoever runs the provider\n"


@pytest.mark.parametrize(
    ("fault", "said", "hint"),
    [
        (Html(), "something that is not a JSON object", AGAIN),
        (HugeBody(), "larger than 1048576 bytes", AGAIN),
        (Status(500), "the provider answered 500", AGAIN),
        (WithoutFields(("access_token",)), "has no access_token", AGAIN),
        (WithFields({"access_token": 3}), "an access_token that is not text", AGAIN),
        (WithFields({"expires_in": "soon"}), "not a plausible number of seconds", AGAIN),
        (OAuthError("invalid_grant"), "(invalid_grant)", AGAIN),
        (OAuthError("invalid_client"), "(invalid_client)", "the client's secret\n"),
        (OAuthError("invalid_scope"), "(invalid_scope)", "(--scope SCOPE)\n"),
        (WithoutFields(("id_token",)), "sent no ID token", "without the scope openid"),
        (WithFields({"id_token": "opaque"}), "the ID token is not a signed JWT", PROVIDER_S),
        (ForgedIdToken(), "the ID token has a signature that no key", PROVIDER_S),
        (IdTokenClaims({"sub": None}), "the ID token names no usable subject", PROVIDER_S),
        (IdTokenClaims({"iss": "https://e.example"}), "belongs to another issuer", OWN_CLIENT),
        (IdTokenClaims({"aud": "other"}), "was issued for another client", OWN_CLIENT),
        (IdTokenClaims({"nonce": "other"}), "its nonce is another", "only what was begun here\n"),
        (IdTokenClaims({"exp": 1}), "has expired", "hint: check this machine's clock\n"),
    ],
    ids=lambda value: repr(value) if not isinstance(value, str) else "",
)
def test_a_wrong_answer_to_a_login_saves_nothing(
    shell_with_vault: Shell, start_server: StartServer, fault: Fault, said: str, hint: str
) -> None:
    """A page, a flood, missing fields, wrong types, another's token: exit 1, signed out, a hint."""
    server = start_server()
    server.admin.add_fault(Endpoint.TOKEN, fault, times=None)
    answer = shell_with_vault.tokenkeep(
        *("login", "--issuer", server.issuer, "--client-id", "notes"), BROWSER=BROWSER
    )
    assert (1, b"") == (answer.code, answer.out), answer.err
    assert re.search(r"^error: .*" + re.escape(said), answer.err, re.MULTILINE), answer.err
    assert hint in answer.err
    assert 3 == shell_with_vault.tokenkeep("status").code


@pytest.mark.parametrize(
    ("endpoint", "fault", "said", "hint"),
    [
        (
            *(Endpoint.METADATA, WithFields({"issuer": "https://other.example"})),
            *("belongs to another issuer", "it calls itself https://other.example\n"),
        ),
        (
            *(Endpoint.METADATA, WithoutFields(("token_endpoint",))),
            *("names no token endpoint", "hint: check the issuer's address, or "),
        ),
        (
            *(Endpoint.METADATA, WithFields({"token_endpoint": "http://issuer.example/t"})),
            *("the provider's token endpoint ", "hint: check the issuer's address, or "),
        ),
        (Endpoint.METADATA, Html(), "there is no metadata", "hint: check the issuer's address"),
        (Endpoint.JWKS, Html(), "the provider's key set cannot be read", PROVIDER_S),
        (Endpoint.JWKS, Status(404), "the provider's key set cannot be read", PROVIDER_S),
        (Endpoint.JWKS, Status(500), "the ID token could not be checked", AGAIN),
    ],
    ids=repr,
)
def test_wrong_metadata_or_keys_end_a_login(
    shell_with_vault: Shell,
    start_server: StartServer,
    endpoint: Endpoint,
    fault: Fault,
    said: str,
    hint: str,
) -> None:
    """The issuer is compared exactly: nobody is sent where another's metadata says."""
    server = start_server()
    server.admin.add_fault(endpoint, fault, times=None)
    answer = shell_with_vault.tokenkeep(
        *("login", "--issuer", server.issuer, "--client-id", "notes"), BROWSER=BROWSER
    )
    assert 1 == answer.code
    assert said in answer.err
    assert hint in answer.err
    assert ("/authorize" in answer.err) is (endpoint is Endpoint.JWKS)
    assert 3 == shell_with_vault.tokenkeep("status").code


@pytest.mark.parametrize(
    ("parameters", "said", "hint"),
    [
        ({"iss": "https://e.example"}, "comes from another issuer", "only what was begun here\n"),
        ({"iss": None}, "does not name the issuer", PROVIDER_S),
        ({"code": None}, "neither a code nor an error", PROVIDER_S),
        ({"error": "access_denied"}, "the login was declined", AGAIN),
        ({"error": "invalid_scope"}, "(invalid_scope)", "(--scope SCOPE)\n"),
        ({"error": "unauthorized_client"}, "(unauthorized_client)", "this kind of login\n"),
    ],
    ids=repr,
)
def test_a_wrong_redirect_ends_a_login(
    shell_with_vault: Shell,
    start_server: StartServer,
    parameters: dict[str, str | None],
    said: str,
    hint: str,
) -> None:
    """What came back with the browser: exit 1, and what to do about it."""
    server = start_server()
    server.admin.add_fault(Endpoint.AUTHORIZE, RedirectParameters(parameters))
    answer = shell_with_vault.tokenkeep(
        *("login", "--issuer", server.issuer, "--client-id", "notes"), BROWSER=BROWSER
    )
    assert (1, b"") == (answer.code, answer.out)
    assert said in answer.err
    assert hint in answer.err
    assert 0 == server.admin.token_requests


def test_a_browser_that_never_comes_back_ends_the_wait(
    shell_with_vault: Shell, start_server: StartServer
) -> None:
    """The wait for a person has an end, and a wrong state is not an answer."""
    server = start_server()
    words = ("login", "--issuer", server.issuer, "--client-id", "notes", "--timeout", "2")
    ended = (
        "error: nobody came back from the browser in time\n"
        "hint: log in again, if need be with more time (login --timeout SECONDS)\n"
    )
    answer = shell_with_vault.tokenkeep(*words, "--no-browser")
    assert (1, True) == (answer.code, answer.err.endswith(ended))
    server.admin.add_fault(Endpoint.AUTHORIZE, RedirectParameters({"state": "wrong"}))
    answer = shell_with_vault.tokenkeep(*words, BROWSER=BROWSER)
    assert (1, True) == (answer.code, answer.err.endswith(ended))
    assert 0 == server.admin.token_requests


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--client-id", "notes"), "login needs the provider"),
        (("--issuer", "https://issuer.example"), "login needs the client's id"),
        (("--issuer", "http://issuer.example", "--client-id", "notes"), "the issuer "),
        (("--issuer", "issuer.example", "--client-id", "notes"), "the issuer "),
        (("--issuer", "https://i.example", "--client-id", "n", "--timeout", "0"), "--timeout"),
        (("--issuer", "https://i.example", "--client-id", "n", "--replay-window", "-1"), "replay"),
        (("--issuer", "https://i.example", "--client-id", "n", "--scope", 'a"b'), "scope"),
        (("--issuer", "https://i.example", "--client-id", "n", "s3cret"), "unexpected extra"),
    ],
)
def test_a_login_that_cannot_be_is_a_usage_error(
    shell_with_vault: Shell, words: tuple[str, ...], said: str
) -> None:
    """What the command line says wrong is said before anything is asked of anybody."""
    answer = shell_with_vault.tokenkeep("login", *words)
    assert (2, b"") == (answer.code, answer.out), answer.err
    assert said in answer.err
    assert "s3cret" not in answer.err, "it may be the client's"
    assert "\nhint: " in answer.err


def test_another_provider_s_session_is_replaced_by_a_login(
    signed_in: tuple[Shell, Server], start_server: StartServer
) -> None:
    """A login at another provider begins a new session; later commands follow it."""
    shell, _first = signed_in
    second = start_server()
    sign_in(shell, second)
    assert second.issuer == json.loads(shell.tokenkeep("status", "--json").out)["issuer"]
    assert second.admin.accepts(shell.tokenkeep("token").out.decode())
