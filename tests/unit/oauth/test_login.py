"""A login is complete and checked, or it is one of a few typed failures and nothing at all."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from support.captured import assert_nothing_leaks, captured, raised_in_library
from support.driven_browser import BROWSER
from tokenkeep.errors import (
    LoginCancelled,
    LoginFailed,
    ProtocolViolation,
    ProviderRefused,
    SessionError,
    UnsupportedOption,
)
from tokenkeep.oauth.browser_login import browser_login
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.device_login import device_login
from tokenkeep.oauth.login import LoginResult, checked_scope
from tokenkeep.oauth.provider import Provider
from tokenkeep.testing import authorization_server as broken
from tokenkeep.testing.authorization_server import AuthorizationServer, Endpoint, Policy, When
from tokenkeep.testing.clock import FakeClock

SCOPE = ["openid", "offline_access"]

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def log_in(client: Client, server: AuthorizationServer, **options: Any) -> LoginResult:
    options.setdefault("open_browser", server.drive_browser)
    options.setdefault("scope", SCOPE)
    return browser_login(client, timeout=options.pop("timeout", 10.0), **options)


def failed_login(
    client: Client, server: AuthorizationServer, kind: type[SessionError], **options: Any
) -> SessionError:
    """The exception of a login, after looking for every token that was issued in it."""
    with pytest.raises(SessionError) as caught:
        log_in(client, server, **options)
    assert type(caught.value) is kind
    assert caught.value.hint
    assert raised_in_library(caught.value)
    issued = [
        token
        for family in server.grants()
        for token in (*family.refresh_tokens, *family.access_tokens)
    ]
    assert_nothing_leaks(caught.value, *issued)
    shown = captured(caught.value)
    for seen in server.requests.to(Endpoint.TOKEN):
        for name in ("code", "code_verifier"):
            assert seen.request.form[name] not in shown
    return caught.value


def test_a_browser_login_gives_checked_tokens(client: Client, server: AuthorizationServer) -> None:
    """Tokens, who it is, what was granted, and where the provider's endpoints are."""
    result = log_in(client, server)
    assert result.claims is not None
    assert result.claims.subject == "alice"
    assert result.granted_scope == "openid offline_access"
    assert result.response.refresh_token is not None
    assert server.is_alive(result.response.refresh_token.reveal())
    assert result.metadata.issuer == server.issuer
    assert server.token_requests == 1


def test_what_is_sent_is_fresh_every_time(client: Client, server: AuthorizationServer) -> None:
    """State, nonce and challenge are random; the port is the system's choice."""
    urls: list[str] = []
    for _ in range(2):
        log_in(client, server, on_url=urls.append)
    first, second = (dict(parse_qsl(urlsplit(url).query)) for url in urls)
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
    assert first["code_challenge_method"] == "S256"
    assert first["prompt"] == "consent"
    assert first["redirect_uri"].startswith("http://127.0.0.1:")


def test_parameters_of_one_login_go_along(client: Client, server: AuthorizationServer) -> None:
    """And cannot replace the protocol's own."""
    urls: list[str] = []
    log_in(client, server, on_url=urls.append, extra={"login_hint": "alice@example.org"})
    assert dict(parse_qsl(urlsplit(urls[0]).query))["login_hint"] == "alice@example.org"
    with pytest.raises(UnsupportedOption):
        log_in(client, server, extra={"state": "fixed"})


def test_the_grant_may_be_less_than_was_asked() -> None:
    """RFC 6749 section 3.3: the granted scope is what counts."""
    with AuthorizationServer(Policy(withheld_scopes=frozenset({"mail"}))) as server:
        client = Client(Provider(server.issuer, client_id="notes"))
        result = log_in(client, server, scope=[*SCOPE, "mail"])
    assert result.granted_scope == "openid offline_access"


def test_the_grant_may_be_more_than_was_asked(client: Client, server: AuthorizationServer) -> None:
    """RFC 6749 section 3.3, too: some providers add what every client of theirs has."""
    server.faults.add(Endpoint.TOKEN, broken.ScopeGrown("mail"))
    result = log_in(client, server)
    assert result.granted_scope == "openid offline_access mail"


def test_a_provider_that_does_not_state_the_scope_granted_what_was_asked() -> None:
    """RFC 6749 section 5.1."""
    with AuthorizationServer(Policy(states_scope=False)) as server:
        result = log_in(Client(Provider(server.issuer, client_id="notes")), server)
    assert result.granted_scope == "openid offline_access"


def test_a_login_without_openid_has_no_claims(client: Client, server: AuthorizationServer) -> None:
    """Plain OAuth."""
    result = log_in(client, server, scope=["mail"])
    assert result.claims is None
    assert result.granted_scope == "mail"


def test_a_redirect_with_a_wrong_state_is_not_the_answer(
    client: Client, server: AuthorizationServer
) -> None:
    """It gets a plain page; the right one, coming later, logs in."""

    def attacked(url: str) -> None:
        redirect = server.approve(url)
        parts = urlsplit(redirect)
        fields = dict(parse_qsl(parts.query))
        for state in ("", "wrong"):
            forged = urlencode({**fields, "state": state, "code": "injected"})
            assert server.drive_browser(urlunsplit(parts._replace(query=forged))) == 404
        assert server.drive_browser(redirect) == 200

    assert log_in(client, server, open_browser=attacked).claims is not None
    assert server.token_requests == 1


def test_a_wrong_state_from_the_provider_ends_at_the_deadline(
    client: Client, server: AuthorizationServer
) -> None:
    """The right one never comes."""
    server.faults.add(Endpoint.AUTHORIZE, broken.RedirectParameters({"state": "wrong"}))
    problem = failed_login(client, server, LoginCancelled, timeout=1.0)
    assert str(problem) == "nobody came back from the browser in time"
    assert server.token_requests == 0


def test_a_browser_that_never_comes_back_is_a_cancelled_login(
    client: Client, server: AuthorizationServer
) -> None:
    """In time."""
    began = time.monotonic()
    failed_login(client, server, LoginCancelled, timeout=0.6, open_browser=lambda _: True)
    assert time.monotonic() - began < 2


def test_a_person_who_comes_back_in_the_last_moment_is_logged_in(
    client: Client, server: AuthorizationServer
) -> None:
    """What is left to ask the provider is not on the person's account."""
    server.faults.add(Endpoint.TOKEN, broken.Delay(When.BEFORE, 2.0))
    assert log_in(client, server, timeout=1.5).claims is not None


class Gone:
    """Somebody who gives up a login at one of its moments."""

    def __init__(self, moment: str, server: AuthorizationServer) -> None:
        self.moment = moment
        self.server = server
        self.has_gone = moment == "before anything was asked"

    def open_browser(self, url: str) -> None:
        if self.moment == "while the browser is away":
            self.has_gone = True
            return
        self.server.drive_browser(url)

    def is_cancelled(self) -> bool:
        # The browser has been to the provider and is on its way back.
        if self.moment == "as the answer comes" and self.server.requests.to(Endpoint.AUTHORIZE):
            self.has_gone = True
        return self.has_gone


@pytest.mark.parametrize(
    "moment",
    ["before anything was asked", "while the browser is away", "as the answer comes"],
)
def test_a_login_that_is_given_up_redeems_nothing(
    client: Client, server: AuthorizationServer, moment: str
) -> None:
    """It ends within a moment, and nobody listens any more who could sign in late."""
    gone = Gone(moment, server)
    urls: list[str] = []
    began = time.monotonic()
    error = failed_login(
        client,
        server,
        LoginCancelled,
        open_browser=gone.open_browser,
        is_cancelled=gone.is_cancelled,
        on_url=urls.append,
    )
    assert "the login was cancelled" == str(error)
    assert time.monotonic() - began < 3
    assert 0 == server.token_requests
    for url in urls:
        port = urlsplit(dict(parse_qsl(urlsplit(url).query))["redirect_uri"]).port
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port or 0), timeout=5)


def test_a_person_who_says_no_cancelled(client: Client, server: AuthorizationServer) -> None:
    """access_denied."""

    def decline(url: str) -> None:
        server.drive_browser(server.approve(url, deny=True))

    problem = failed_login(client, server, LoginCancelled, open_browser=decline)
    assert str(problem) == "the login was declined"


@pytest.mark.parametrize(
    ("parameters", "kind", "text"),
    [
        ({"iss": "https://evil.example"}, ProtocolViolation, "another issuer"),
        ({"iss": None}, ProtocolViolation, "does not name the issuer"),
        ({"code": None}, ProtocolViolation, "neither a code nor an error"),
        ({"code": ""}, ProtocolViolation, "neither a code nor an error"),
        ({"error": "invalid_scope"}, ProviderRefused, "invalid_scope"),
        ({"error": "unauthorized_client"}, ProviderRefused, "unauthorized_client"),
        ({"error": "<b>call our hotline</b>"}, ProviderRefused, "unknown_error"),
        ({"error": "server_error"}, LoginFailed, "server_error"),
        ({"error": "login_required"}, LoginFailed, "login_required"),
        ({"code": "forged-code"}, LoginFailed, "invalid_grant"),
    ],
    ids=repr,
)
def test_a_wrong_redirect_has_its_failure(
    client: Client,
    server: AuthorizationServer,
    parameters: dict[str, str | None],
    kind: type[SessionError],
    text: str,
) -> None:
    """RFC 9207: the issuer is compared when it is there, and missed when it was promised."""
    server.faults.add(Endpoint.AUTHORIZE, broken.RedirectParameters(parameters))
    problem = failed_login(client, server, kind)
    assert text in str(problem)
    assert "hotline" not in captured(problem)


def test_an_issuer_that_was_not_promised_must_fit_too() -> None:
    """RFC 9207 section 2.4."""
    with AuthorizationServer(Policy(states_iss_in_redirect=False)) as server:
        client = Client(Provider(server.issuer, client_id="notes"))
        assert log_in(client, server).claims is not None
        wrong = broken.RedirectParameters({"iss": "https://evil.example"})
        server.faults.add(Endpoint.AUTHORIZE, wrong)
        failed_login(client, server, ProtocolViolation)


@pytest.mark.parametrize(
    ("endpoint", "fault", "kind"),
    [
        (Endpoint.TOKEN, broken.Drop(When.AFTER), LoginFailed),
        (Endpoint.TOKEN, broken.Status(503, 3), LoginFailed),
        (Endpoint.TOKEN, broken.Html(), LoginFailed),
        (Endpoint.TOKEN, broken.HugeBody(), LoginFailed),
        (Endpoint.TOKEN, broken.WithoutFields(("access_token",)), LoginFailed),
        (Endpoint.TOKEN, broken.WithFields({"token_type": "mac"}), LoginFailed),
        (Endpoint.TOKEN, broken.WithFields({"expires_in": "never"}), LoginFailed),
        (Endpoint.TOKEN, broken.OAuthError("invalid_client"), ProviderRefused),
        (Endpoint.TOKEN, broken.OAuthError("invalid_grant"), LoginFailed),
        (Endpoint.TOKEN, broken.WithoutFields(("id_token",)), ProtocolViolation),
        (Endpoint.TOKEN, broken.WithFields({"id_token": "opaque"}), ProtocolViolation),
        (Endpoint.TOKEN, broken.ForgedIdToken(), ProtocolViolation),
        (Endpoint.TOKEN, broken.IdTokenClaims({"nonce": "other"}), ProtocolViolation),
        (Endpoint.TOKEN, broken.IdTokenClaims({"nonce": None}), ProtocolViolation),
        (Endpoint.TOKEN, broken.IdTokenClaims({"iss": "https://e.example"}), ProtocolViolation),
        (Endpoint.TOKEN, broken.IdTokenClaims({"aud": "other"}), ProtocolViolation),
        (Endpoint.TOKEN, broken.IdTokenClaims({"exp": 1}), ProtocolViolation),
        (Endpoint.JWKS, broken.Status(500), LoginFailed),
        (Endpoint.JWKS, broken.Html(), ProtocolViolation),
        (Endpoint.METADATA, broken.Status(503), LoginFailed),
        (Endpoint.METADATA, broken.Drop(When.BEFORE), LoginFailed),
        (
            Endpoint.METADATA,
            broken.WithFields({"issuer": "https://evil.example"}),
            ProtocolViolation,
        ),
    ],
    ids=repr,
)
def test_every_fault_of_the_provider_has_its_failure(
    client: Client,
    server: AuthorizationServer,
    endpoint: Endpoint,
    fault: broken.Fault,
    kind: type[SessionError],
) -> None:
    """Nothing was issued that anybody could have kept, and no token is in any frame."""
    server.faults.add(endpoint, fault)
    failed_login(client, server, kind)
    server.faults.clear()
    assert log_in(client, server).claims is not None


def test_an_unreachable_provider_is_a_failed_login() -> None:
    """Before any browser is opened."""
    opened: list[str] = []
    client = Client(Provider("http://127.0.0.1:9", client_id="notes"))
    with pytest.raises(LoginFailed) as caught:
        browser_login(client, open_browser=opened.append, timeout=5)
    assert "cannot be reached" in str(caught.value)
    assert opened == []


@pytest.mark.parametrize("kind", ["says no", "raises"])
def test_a_missing_browser_is_noticed_at_once(
    client: Client, server: AuthorizationServer, kind: str
) -> None:
    """With the way that needs none as a hint."""

    def open_browser(url: str) -> bool:
        if kind == "raises":
            raise OSError("no display")
        return False

    began = time.monotonic()
    problem = failed_login(client, server, LoginFailed, open_browser=open_browser, timeout=30)
    assert time.monotonic() - began < 3
    assert problem.hint == "log in with a device code instead"


def test_a_person_who_was_shown_the_address_needs_no_browser_of_ours(
    client: Client, server: AuthorizationServer
) -> None:
    """They open it themselves."""
    shown: list[threading.Thread] = []

    def show(url: str) -> None:
        shown.append(threading.Timer(0.6, server.drive_browser, (url,)))
        shown[0].start()

    result = log_in(client, server, open_browser=lambda _: False, on_url=show)
    shown[0].join()
    assert result.claims is not None


def test_a_browser_in_the_terminal_does_not_hold_up_the_answer(
    client: Client, server: AuthorizationServer
) -> None:
    """It returns only when the person leaves it."""
    left = threading.Event()

    def w3m(url: str) -> None:
        server.drive_browser(url)
        left.wait(10)

    try:
        assert log_in(client, server, open_browser=w3m).claims is not None
    finally:
        left.set()


def test_the_systems_browser_is_the_default(
    client: Client, server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what `BROWSER` says."""
    monkeypatch.setenv("BROWSER", BROWSER)
    assert browser_login(client, scope=SCOPE, timeout=30).claims is not None


def test_a_clock_that_is_a_day_slow_logs_in_all_the_same(server: AuthorizationServer) -> None:
    """The provider's Date says that the ID token is in time."""
    clock = FakeClock(wall=time.time() - 86400)
    client = Client(Provider(server.issuer, client_id="notes"), None, clock)
    assert log_in(client, server).claims is not None


@pytest.mark.parametrize("wrong", [["a b"], [""], ['a"b'], ["a\n"], ["ä"], ["a" * 300], [7]])
def test_a_scope_that_cannot_be_is_refused_at_once(client: Client, wrong: list[Any]) -> None:
    """Before anything is sent."""
    with pytest.raises(UnsupportedOption):
        browser_login(client, scope=wrong)
    with pytest.raises(UnsupportedOption):
        device_login(client, scope=wrong, on_code=lambda _: None)


def test_a_scope_names_each_word_once() -> None:
    """Text with spaces is a scope as the standard writes it."""
    assert checked_scope("openid mail openid") == ("openid", "mail")
