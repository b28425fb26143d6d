"""The client against a provider that nobody here wrote: npm's oidc-provider."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path

import httpx2
import pytest
import requests

from tokenkeep import KeyFile, SecureStorage, Session, State, TokenStorage, VaultOptions
from tokenkeep.errors import LoginCancelled, LoginFailed, ProtocolViolation, ProviderRefused
from tokenkeep.integrations.httpx2 import SessionAuth
from tokenkeep.integrations.requests import SessionAuth as RequestsAuth
from tokenkeep.oauth.browser_login import browser_login
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.device_login import device_login
from tokenkeep.oauth.dpop import DpopKey
from tokenkeep.oauth.login import LoginResult
from tokenkeep.oauth.messages import DeviceCode
from tokenkeep.oauth.outcome import Answered, Misconfigured, Refused
from tokenkeep.oauth.provider import Provider
from tokenkeep.secret import Secret

pytestmark = pytest.mark.requires("node")

SCOPE = ["openid", "offline_access"]
SERVER = Path(__file__).with_name("server.mjs")


@pytest.fixture(scope="module")
def issuer(
    node: Path, oidc_provider_modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    log = tmp_path_factory.mktemp("oidc-provider") / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [node, SERVER, oidc_provider_modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        try:
            yield json.loads(line)["issuer"]
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture
def client(issuer: str) -> Client:
    return Client(Provider(issuer, client_id="notes"))


class Forms(HTMLParser):
    """The first form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._is_inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self.action, self._is_inside = named.get("action", ""), True
        elif tag == "input" and self._is_inside and "name" in named:
            self.fields[named["name"]] = named.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_inside = False


class Person:
    """Somebody with a browser of their own: fills in every form until there is none."""

    def __init__(self, login: str = "alice", *, aborts: bool = False) -> None:
        self.login = login
        self.aborts = aborts
        self.pages: list[str] = []
        self._browser = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )

    def visit(self, url: str) -> str:
        body: bytes | None = None
        for _ in range(10):
            with self._browser.open(url, body, timeout=10) as answer:
                page, url = answer.read().decode(), answer.url
            self.pages.append(page)
            if self.aborts and "/interaction/" in url:
                url, body = f"{url}/abort", None
                continue
            forms = Forms()
            forms.feed(page)
            if forms.action is None:
                return page
            answers = {**forms.fields, "login": self.login, "password": "any"}
            if "user_code" in forms.fields:
                answers["confirm"] = "yes"
            url = urllib.parse.urljoin(url, forms.action)
            body = urllib.parse.urlencode(answers).encode()
        raise AssertionError("the forms do not end")


def log_in(client: Client, person: Person | None = None) -> LoginResult:
    who = person or Person()
    return browser_login(client, scope=SCOPE, open_browser=who.visit, timeout=20)


def token_of(result: LoginResult) -> Secret:
    assert result.response.refresh_token is not None
    return result.response.refresh_token


def userinfo_status(client: Client, access_token: Secret) -> int:
    endpoint = client.metadata().userinfo_endpoint
    assert endpoint is not None
    asked = urllib.request.Request(
        endpoint, headers={"Authorization": f"Bearer {access_token.reveal()}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


def test_its_metadata_is_understood(client: Client, issuer: str) -> None:
    """Every endpoint that the session needs, and RFC 9207."""
    metadata = client.metadata()
    assert metadata.issuer == issuer
    assert metadata.iss_in_response
    assert metadata.revocation_endpoint == f"{issuer}/token/revocation"
    assert metadata.device_authorization_endpoint == f"{issuer}/device/auth"
    assert metadata.end_session_endpoint == f"{issuer}/session/end"
    assert "S256" in metadata.code_challenge_methods


def test_a_browser_login_is_confirmed(client: Client, issuer: str) -> None:
    """Code, PKCE, state, issuer, nonce, signature, at_hash: all real."""
    result = log_in(client)
    assert result.claims is not None
    assert result.claims.issuer == issuer
    assert result.claims.subject == "alice"
    assert result.claims.nonce is not None
    assert result.granted_scope == "openid offline_access"
    assert result.response.expires_in == 300.0
    assert userinfo_status(client, result.response.access_token) == 200


def test_a_refresh_rotates_and_reuse_ends_the_family(client: Client) -> None:
    """The same person in the new ID token; after reuse every token is dead."""
    result = log_in(client)
    first = token_of(result)
    outcome = client.refresh(result.metadata, first)
    assert isinstance(outcome, Answered)
    second = outcome.response.refresh_token
    assert second is not None
    assert second != first
    assert outcome.server_time is not None
    assert outcome.response.id_token is not None
    client.check_refreshed_id_token(outcome.response.id_token, subject="alice")
    assert userinfo_status(client, outcome.response.access_token) == 200

    reused = client.refresh(result.metadata, first)
    assert isinstance(reused, Refused)
    assert reused.error == "invalid_grant"
    assert isinstance(client.refresh(result.metadata, second), Refused)
    assert userinfo_status(client, outcome.response.access_token) == 401


def test_a_scope_can_be_narrowed_and_not_widened(client: Client) -> None:
    """RFC 6749 section 6; a refusal leaves the grant as it is."""
    result = log_in(client)
    wider = client.refresh(result.metadata, token_of(result), "openid offline_access email")
    assert isinstance(wider, Misconfigured)
    assert wider.error == "invalid_scope"
    narrower = client.refresh(result.metadata, token_of(result), "openid")
    assert isinstance(narrower, Answered)
    assert narrower.response.scope == "openid"


def test_a_revoked_token_is_dead_and_revoking_again_is_fine(client: Client) -> None:
    """RFC 7009: the access token dies with it."""
    result = log_in(client)
    assert client.revoke(result.metadata, token_of(result)) is None
    assert isinstance(client.refresh(result.metadata, token_of(result)), Refused)
    assert userinfo_status(client, result.response.access_token) == 401
    assert client.revoke(result.metadata, token_of(result)) is None
    assert client.revoke(result.metadata, Secret("never-issued")) is None


def test_the_logout_address_is_accepted_and_a_look_at_it_ends_nothing(client: Client) -> None:
    """The provider asks the person, who may say no: it does not stand for a revocation."""
    person = Person()
    result = log_in(client, person)
    url = client.logout_url(
        result.metadata, result.response.id_token, "http://127.0.0.1/bye", "some-state"
    )
    with person._browser.open(url, timeout=10) as answer:
        assert answer.status == 200
        page = answer.read().decode()
    assert "/session/end/confirm" in page
    assert isinstance(client.refresh(result.metadata, token_of(result)), Answered)


def test_a_person_who_aborts_cancels_the_login(client: Client) -> None:
    """access_denied comes back through the browser."""
    with pytest.raises(LoginCancelled) as caught:
        log_in(client, Person(aborts=True))
    assert str(caught.value) == "the login was declined"


def test_a_device_login_is_approved_on_another_device(client: Client) -> None:
    """It sends no interval, so five seconds pass between polls (RFC 8628 section 3.2)."""
    shown: list[DeviceCode] = []

    def show(code: DeviceCode) -> None:
        shown.append(code)
        assert code.verification_uri_complete is not None
        Person("bob").visit(code.verification_uri_complete)

    result = device_login(client, scope=SCOPE, on_code=show, timeout=40)
    assert result.claims is not None
    assert result.claims.subject == "bob"
    assert isinstance(client.refresh(result.metadata, token_of(result)), Answered)


def test_a_device_login_that_nobody_approves_ends_in_time(client: Client) -> None:
    """After at least one poll."""
    with pytest.raises(LoginCancelled):
        device_login(client, scope=SCOPE, on_code=lambda _: None, timeout=6)


def test_a_confidential_client_authenticates_with_its_encoded_secret(issuer: str) -> None:
    """RFC 6749 section 2.3.1: spaces, slashes and percent signs survive."""
    provider = Provider(issuer, client_id="confidential", client_secret="a secret/with+signs%")
    client = Client(provider)
    result = log_in(client)
    assert isinstance(client.refresh(result.metadata, token_of(result)), Answered)

    wrong = Client(Provider(issuer, client_id="confidential", client_secret="wrong"))
    outcome = wrong.refresh(result.metadata, token_of(result))
    assert isinstance(outcome, Misconfigured)
    assert outcome.error == "invalid_client"
    with pytest.raises(ProviderRefused):
        log_in(wrong)


def test_an_unknown_client_never_comes_back(issuer: str) -> None:
    """The provider shows its own error page and redirects nobody."""
    stranger = Client(Provider(issuer, client_id="stranger"))
    with pytest.raises(LoginFailed):
        browser_login(stranger, scope=SCOPE, open_browser=Person().visit, timeout=3)


def test_a_session_lives_and_ends_on_it(issuer: str, tmp_path: Path) -> None:
    """Login, a herd of threads on one rotation, logout with revocation."""
    storage = SecureStorage(
        "org.example.notes", VaultOptions(path=tmp_path / "vault", key=KeyFile(tmp_path / "key"))
    )
    provider = Provider(issuer, client_id="notes")
    with Session(provider, TokenStorage(storage, account="alice")) as session:
        session.login(scope=SCOPE, open_browser=Person().visit, timeout=20)
        assert session.state is State.ACTIVE
        assert session.subject == "alice"
        first = session.access_token()
        before = counts(issuer)["/token"]
        with ThreadPoolExecutor(8) as herd:
            served = list(herd.map(lambda _: session.token_after_401(first), range(8)))
        assert counts(issuer)["/token"] == before + 1
        assert None not in served
        assert len({token.reveal() for token in served if token is not None}) == 1
        token = session.access_token()
        assert token.reveal() != first.reveal()
        checker = Client(provider)
        assert userinfo_status(checker, Secret(token.reveal())) == 200
        session.logout()
        assert session.state is State.SIGNED_OUT
        assert userinfo_status(checker, Secret(token.reveal())) == 401


@pytest.fixture
def bound(issuer: str, tmp_path: Path) -> Session:
    """A session whose tokens are bound to its key."""
    storage = SecureStorage(
        "org.example.notes",
        VaultOptions(tmp_path / "vault", KeyFile(tmp_path / "key")),
        state_directory=str(tmp_path),
    )
    return Session(Provider(issuer, client_id="bound", dpop=True), TokenStorage(storage))


def test_a_bound_session_lives_on_nonces_the_provider_asks_for(bound: Session) -> None:
    """Login, resource requests and refreshes by DPoP; a restart goes on with the same key."""
    bound.login(SCOPE, open_browser=Person().visit, timeout=20)
    userinfo = bound._client.metadata().userinfo_endpoint
    assert userinfo is not None
    with httpx2.Client(auth=SessionAuth(bound)) as http:
        assert [200, 200] == [http.get(userinfo).status_code for _ in range(2)]
    first = bound.access_token()
    again = Session(bound.provider, bound.tokens)
    assert again.restore() is State.ACTIVE
    second = again.access_token()
    assert second.reveal() != first.reveal()
    assert second.dpop_key is not None
    assert first.dpop_key is not None
    assert first.dpop_key.thumbprint() == second.dpop_key.thumbprint()
    with requests.Session() as http:
        http.auth = RequestsAuth(again)
        assert 200 == http.get(userinfo, timeout=10).status_code
    assert {"done"} == {step.outcome for step in again.logout().steps} - {"not needed"}
    assert bound.tokens.read_refresh_token() is None


def test_a_bound_token_is_of_no_use_without_its_key(bound: Session) -> None:
    """As a bearer token it is refused; the stolen refresh token, with another key, too."""
    bound.login(SCOPE, open_browser=Person().visit, timeout=20)
    token, client = bound.access_token(), bound._client
    assert 401 == userinfo_status(client, token)
    refresh = bound.tokens.read_refresh_token()
    assert refresh is not None
    outcome = client.refresh(client.metadata(), refresh, dpop_key=DpopKey.generate())
    assert isinstance(outcome, Refused)


def test_a_device_login_is_bound_too(issuer: str) -> None:
    """The polls carry proofs, and nonces where the provider asks."""
    person = Person()
    threads = ThreadPoolExecutor(1)

    def on_code(code: DeviceCode) -> None:
        assert code.verification_uri_complete is not None
        threads.submit(person.visit, code.verification_uri_complete)

    client = Client(Provider(issuer, client_id="bound", dpop=True))
    with threads:
        result = device_login(client, scope=SCOPE, on_code=on_code, timeout=40)
    assert "DPoP" == result.response.token_type
    assert result.dpop_key is not None


def test_bearer_tokens_where_binding_was_asked_for_are_refused(issuer: str, bound: Session) -> None:
    """And a session that was begun without is not taken for a bound one."""
    plain = Session(Provider(issuer, client_id="bound"), bound.tokens)
    with pytest.raises((ProviderRefused, LoginFailed, ProtocolViolation)):
        plain.login(SCOPE, open_browser=Person().visit, timeout=20)
    assert bound.restore() is State.SIGNED_OUT


def counts(issuer: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{issuer}/counts", timeout=10) as answer:
        counted: dict[str, int] = json.load(answer)
        return counted
