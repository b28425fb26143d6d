"""The client's requests over real HTTP: metadata, refresh, revocation; every way they go wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from support.captured import assert_nothing_leaks, raised_in_library
from tokenkeep.errors import ProtocolViolation, ProviderRefused, RefreshUnavailable
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.outcome import (
    Answered,
    Misconfigured,
    Refused,
    TryLater,
    Unanswered,
    Unsent,
)
from tokenkeep.oauth.provider import Provider
from tokenkeep.oauth.transport import NoAnswer, NotSent
from tokenkeep.oauth.wire import HttpRequest, HttpResponse
from tokenkeep.secret import Secret
from tokenkeep.testing import authorization_server as broken
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Endpoint,
    Policy,
    When,
)
from tokenkeep.testing.clock import FakeClock


class Scripted:
    """A transport that answers from a table of addresses; what is not in it is 404."""

    def __init__(self, answers: dict[str, HttpResponse | NotSent | NoAnswer]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
        self.asked.append(request.url)
        answer = self.answers.get(request.url, HttpResponse(404, {}, b"not here"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        pass


ISSUER = "https://issuer.example/tenant"
OPENID = "https://issuer.example/tenant/.well-known/openid-configuration"
OAUTH = "https://issuer.example/.well-known/oauth-authorization-server/tenant"


def document(**changes: object) -> HttpResponse:
    said = {"issuer": ISSUER, "token_endpoint": "https://issuer.example/token", **changes}
    return HttpResponse(200, {}, json.dumps(said).encode())


def scripted(
    clock: FakeClock | None = None, **answers: HttpResponse | NotSent | NoAnswer
) -> tuple[Client, Scripted]:
    places = {"openid": OPENID, "oauth": OAUTH}
    transport = Scripted({places[name]: answer for name, answer in answers.items()})
    return Client(Provider(ISSUER, client_id="notes"), transport, clock), transport


def refresh_token(server: AuthorizationServer) -> Secret:
    token = server.login()["refresh_token"]
    assert isinstance(token, str)
    return Secret(token)


def test_metadata_is_fetched_once(client: Client, server: AuthorizationServer) -> None:
    """Lazily, and then remembered."""
    assert server.requests.count(Endpoint.METADATA) == 0
    first = client.metadata()
    assert client.metadata() is first
    assert server.requests.count(Endpoint.METADATA) == 1
    assert first.iss_in_response


def test_metadata_of_the_record_serves_without_a_network() -> None:
    """Restore and logout work offline; another issuer's is not used."""
    client, transport = scripted()
    cached = Metadata(issuer=ISSUER, token_endpoint="https://issuer.example/cached")
    assert client.metadata(cached) is cached
    assert transport.asked == []
    other = Metadata(issuer="https://other.example", token_endpoint="https://other.example/t")
    with pytest.raises(ProtocolViolation):
        client.metadata(other)


def discovered(clock: FakeClock) -> Metadata:
    """What a record knows of a provider that has moved its token endpoint since."""
    return Metadata(
        issuer=ISSUER,
        token_endpoint="https://issuer.example/old",
        discovered_at=clock.wall(),
    )


def test_what_was_discovered_is_asked_for_again_after_a_day() -> None:
    """Endpoints move; so does the clock, and a time to come says nothing of an age."""
    for moved in (86_400.0, -1.0):
        clock = FakeClock()
        client, transport = scripted(clock, openid=document())
        cached = discovered(clock)
        assert client.metadata(cached) is cached
        clock.jump_wall(86_399)
        assert client.metadata(cached) is cached
        assert [] == transport.asked
        clock.jump_wall(moved - 86_399)
        assert "https://issuer.example/token" == client.metadata(cached).token_endpoint
        assert client.metadata(cached).discovered_at == clock.wall()
        assert [OPENID] == transport.asked


@pytest.mark.parametrize(
    "answer",
    [
        NotSent("the name does not resolve"),
        NoAnswer("no answer in time"),
        HttpResponse(503, {}, b""),
        HttpResponse(404, {}, b""),
        document(issuer="https://evil.example"),
        document(token_endpoint="http://issuer.example/token"),
    ],
    ids=repr,
)
def test_what_is_known_serves_where_nothing_newer_is_to_be_had(
    answer: HttpResponse | NotSent | NoAnswer,
) -> None:
    """Offline, or where the answer is wrong or another issuer's; asked again after a minute."""
    clock = FakeClock()
    client, transport = scripted(clock, openid=answer)
    cached = discovered(clock)
    clock.advance(86_400)
    assert client.metadata(cached) is cached
    transport.answers[OPENID] = document()
    asked = len(transport.asked)
    clock.advance(59)
    assert client.metadata(cached) is cached
    assert asked == len(transport.asked)
    clock.advance(1)
    assert "https://issuer.example/token" == client.metadata(cached).token_endpoint


def test_asking_anew_waits_for_nothing_and_may_fail() -> None:
    """For a token that may have been sent to a place that is no longer there."""
    clock = FakeClock()
    client, transport = scripted(clock, openid=NotSent("the cable is out"))
    cached = discovered(clock)
    assert client.metadata(cached, anew=True) is cached
    transport.answers[OPENID] = document()
    fresh = client.metadata(cached, anew=True)
    assert "https://issuer.example/token" == fresh.token_endpoint
    assert client.metadata(cached) is fresh
    later = replace(cached, discovered_at=clock.wall() + 1)
    clock.advance(1)
    assert client.metadata(later) is later, "another process asked after this one"


def test_metadata_that_the_application_gave_is_never_discovered() -> None:
    """Neither the provider's own nor what a record keeps of it: it may differ on purpose."""
    clock = FakeClock()
    client, transport = scripted(clock, openid=document())
    given = Metadata(issuer=ISSUER, token_endpoint="https://issuer.example/given")
    clock.advance(86_400)
    assert client.metadata(given, anew=True) is given
    known = discovered(clock)
    provider = Provider(ISSUER, client_id="notes", metadata=known)
    clock.advance(86_400)
    assert Client(provider, transport, clock).metadata(anew=True) is known
    assert [] == transport.asked


def test_metadata_given_with_the_provider_skips_discovery() -> None:
    """For providers that publish none."""
    given = Metadata(issuer=ISSUER, token_endpoint="https://issuer.example/token")
    transport = Scripted({})
    client = Client(Provider(ISSUER, client_id="notes", metadata=given), transport)
    assert client.metadata() is given
    assert transport.asked == []


@pytest.mark.parametrize("first", [None, HttpResponse(200, {}, b"<html>app</html>")])
def test_the_second_place_is_looked_at_if_the_first_has_nothing(
    first: HttpResponse | None,
) -> None:
    """404, or the page that some web sites answer everything with (RFC 8414)."""
    client, transport = scripted(oauth=document())
    if first is not None:
        transport.answers[OPENID] = first
    assert client.metadata().token_endpoint == "https://issuer.example/token"
    assert transport.asked == [OPENID, OAUTH]


@pytest.mark.parametrize(
    "answer",
    [
        document(issuer="https://evil.example"),
        document(token_endpoint="http://issuer.example/token"),
        document(token_endpoint=None),
        document(jwks_uri="http://issuer.example/jwks"),
        document(id_token_signing_alg_values_supported="RS256"),
        HttpResponse(302, {"location": "https://evil.example"}, b""),
        HttpResponse(403, {}, b""),
    ],
)
def test_wrong_metadata_is_a_violation(answer: HttpResponse) -> None:
    """Of another issuer, unsafe, elsewhere, or nowhere."""
    client, _ = scripted(openid=answer)
    with pytest.raises(ProtocolViolation) as caught:
        client.metadata()
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        (NotSent("the name does not resolve"), None),
        (NoAnswer("no answer in time"), None),
        (HttpResponse(503, {"retry-after": "9"}, b""), 9.0),
        (HttpResponse(429, {}, b""), None),
        (HttpResponse(500, {}, b""), None),
    ],
)
def test_unreachable_metadata_is_a_passing_failure(
    answer: HttpResponse | NotSent | NoAnswer, retry_after: float | None
) -> None:
    """The network or the provider; the session is not at stake, and the next call tries again."""
    client, transport = scripted(openid=answer)
    with pytest.raises(RefreshUnavailable) as caught:
        client.metadata()
    assert caught.value.retry_after == retry_after
    assert caught.value.__context__ is None
    transport.answers[OPENID] = document()
    assert client.metadata().issuer == ISSUER


def test_a_refresh_rotates_and_says_the_servers_time(
    client: Client, server: AuthorizationServer
) -> None:
    """The successor is alive, the spent token is not."""
    token = refresh_token(server)
    outcome = client.refresh(client.metadata(), token)
    assert isinstance(outcome, Answered)
    assert outcome.response.refresh_token is not None
    assert server.is_alive(outcome.response.refresh_token.reveal())
    assert not server.is_alive(token.reveal())
    assert outcome.server_time is not None
    assert abs(outcome.server_time - server.now()) < 5


def test_reuse_is_refused(client: Client, server: AuthorizationServer) -> None:
    """A strict provider ends the family."""
    token = refresh_token(server)
    client.refresh(client.metadata(), token)
    outcome = client.refresh(client.metadata(), token)
    assert isinstance(outcome, Refused)
    assert outcome.error == "invalid_grant"
    assert server.reuse_detected == 1


def test_a_skewed_date_is_reported_as_it_is(client: Client, server: AuthorizationServer) -> None:
    """The check of an ID token takes it into account."""
    server.faults.add(Endpoint.TOKEN, broken.SkewedDate(-7200))
    outcome = client.refresh(client.metadata(), refresh_token(server))
    assert isinstance(outcome, Answered)
    assert outcome.server_time is not None
    assert abs(outcome.server_time - server.now() + 7200) < 5


FAULTS: list[tuple[broken.Fault, type, bool | None]] = [
    (broken.Drop(When.BEFORE), Unanswered, True),
    (broken.Drop(When.AFTER), Unanswered, False),
    (broken.Drop(When.AFTER, reset=True), Unanswered, False),
    (broken.Delay(When.AFTER, 5.0), Unanswered, False),
    (broken.Delay(When.BEFORE, 5.0), Unanswered, None),
    (broken.SlowBody(0.05), Unanswered, False),
    (broken.Status(500), Unanswered, True),
    (broken.Status(502, when=When.AFTER), Unanswered, False),
    (broken.Status(503, 7), TryLater, True),
    (broken.Status(429, 7, True), TryLater, True),
    (broken.Html(), Unanswered, True),
    (broken.HugeBody(), Unanswered, False),
    (broken.GzipBomb(), Unanswered, False),
    (broken.RedirectTo("http://127.0.0.1:9/"), Unanswered, True),
    (broken.TruncatedJson(), Unanswered, False),
    (broken.TruncatedJson(cut=True), Unanswered, False),
    (broken.WithoutFields(("access_token",)), Unanswered, False),
    (broken.WithFields({"expires_in": -5}), Unanswered, False),
    (broken.WithFields({"token_type": "DPoP"}), Unanswered, False),
    (broken.WithFields({"refresh_token": 7}), Unanswered, False),
    (broken.OAuthError("invalid_client"), Misconfigured, True),
    (broken.OAuthError("invalid_scope"), Misconfigured, True),
    (broken.OAuthError("invalid_grant"), Refused, True),
]


@pytest.mark.parametrize(("fault", "kind", "is_unspent"), FAULTS, ids=lambda each: repr(each))
def test_every_fault_has_its_outcome_in_time(
    client: Client,
    server: AuthorizationServer,
    fault: broken.Fault,
    kind: type,
    is_unspent: bool | None,
) -> None:
    """Never an exception, never a secret; "unspent" is said only where it is so."""
    metadata, token = client.metadata(), refresh_token(server)
    server.faults.add(Endpoint.TOKEN, fault)
    outcome = client.refresh(metadata, token, timeout=0.7)
    server.faults.clear()
    assert type(outcome) is kind
    assert token.reveal() not in repr(outcome)
    if is_unspent is not None:
        assert server.is_alive(token.reveal()) is is_unspent
    if isinstance(outcome, TryLater):
        assert outcome.retry_after == pytest.approx(7, abs=1.5)


def test_an_offline_provider_leaves_the_token_unspent(
    client: Client, server: AuthorizationServer
) -> None:
    """Nothing was sent, and the next time it works."""
    metadata, token = client.metadata(), refresh_token(server)
    server.stop()
    assert isinstance(client.refresh(metadata, token), Unsent)
    assert client.revoke(metadata, token) is not None
    server.start()
    assert isinstance(client.refresh(metadata, token), Answered)


def test_extra_parameters_go_with_every_token_request(server: AuthorizationServer) -> None:
    """Such as `resource` (RFC 8707)."""
    provider = Provider(server.issuer, client_id="notes", token_parameters={"resource": "r"})
    client = Client(provider)
    client.refresh(client.metadata(), refresh_token(server), "openid")
    (seen,) = server.requests.to(Endpoint.TOKEN)
    assert seen.request.form["resource"] == "r"
    assert seen.request.form["scope"] == "openid"


@pytest.mark.parametrize("secret", ["right secret/+", "wrong"])
def test_a_confidential_client_authenticates(secret: str) -> None:
    """A wrong client secret is configuration; the grant lives."""
    known = broken.Client("notes", "right secret/+")
    with AuthorizationServer(Policy(clients=(known,))) as server:
        client = Client(Provider(server.issuer, client_id="notes", client_secret=secret))
        token = refresh_token(server)
        outcome = client.refresh(client.metadata(), token)
        if secret == "wrong":
            assert isinstance(outcome, Misconfigured)
            assert outcome.error == "invalid_client"
            assert server.is_alive(token.reveal())
        else:
            assert isinstance(outcome, Answered)


def test_a_revoked_token_is_dead(client: Client, server: AuthorizationServer) -> None:
    """None says so; again or unknown is fine too (RFC 7009 section 2.2)."""
    token = refresh_token(server)
    assert client.revoke(client.metadata(), token) is None
    assert not server.is_alive(token.reveal())
    assert client.revoke(client.metadata(), token) is None
    assert client.revoke(client.metadata(), Secret("never seen"), "access_token") is None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (broken.Status(503, 7), "the provider answered 503, retry after 7 s"),
        (broken.Status(500), "the provider answered 500"),
        (
            broken.OAuthError("unsupported_token_type"),
            "the provider answered 400 (unsupported_token_type)",
        ),
        (broken.Delay(When.BEFORE, 5), "127.0.0.1 did not answer in time"),
        (broken.RedirectTo("http://127.0.0.1:9/"), "the provider answered 302"),
    ],
    ids=lambda each: repr(each),
)
def test_a_failed_revocation_says_why(
    client: Client, server: AuthorizationServer, fault: broken.Fault, reason: str
) -> None:
    """The report of a logout needs a reason, not an exception."""
    server.faults.add(Endpoint.REVOKE, fault)
    assert client.revoke(client.metadata(), refresh_token(server), timeout=0.7) == reason


def test_a_provider_without_revocation_says_so() -> None:
    """That is a step of the logout's report too."""
    client, transport = scripted()
    metadata = Metadata(issuer=ISSUER, token_endpoint="https://issuer.example/token")
    assert client.revoke(metadata, Secret("t")) == "the provider has no revocation endpoint"
    assert transport.asked == []
    with pytest.raises(ProviderRefused):
        client.logout_url(metadata)


def test_the_logout_address_is_the_providers(client: Client) -> None:
    """With the ID token as a hint."""
    url = client.logout_url(client.metadata(), Secret("a.b.c"), "http://127.0.0.1:1/", "s")
    assert url.startswith(
        f"{client.provider.issuer}/end_session?client_id=notes&id_token_hint=a.b.c&"
    )


def test_no_failure_shows_what_was_sent() -> None:
    """Tokens given as plain text are wrapped before anything can go wrong."""

    class Exploding:
        def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
            request.body()
            raise RuntimeError("a transport of somebody else's")

        def close(self) -> None:
            pass

    client = Client(Provider(ISSUER, client_id="notes", client_secret="cs-98765"), Exploding())
    metadata = Metadata(
        issuer=ISSUER,
        token_endpoint="https://issuer.example/token",
        revocation_endpoint="https://issuer.example/revoke",
    )
    for call in (client.refresh, client.revoke):
        with pytest.raises(RuntimeError) as caught:
            call(metadata, "rt-12345")  # type: ignore[arg-type]
        assert raised_in_library(caught.value)
        assert_nothing_leaks(caught.value, "rt-12345", "cs-98765")
