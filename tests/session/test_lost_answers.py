"""A refresh token that was sent, and nobody knows whether it is spent: it is not sent again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from support.sessions import Place, changes_of, expire
from tokenkeep import MemoryStore, Session, State
from tokenkeep.errors import (
    LoginRequired,
    ProviderRefused,
    RefreshUnavailable,
    SessionUncertain,
    StoreFull,
)
from tokenkeep.oauth.transport import HttpRequest, HttpResponse, Httpx2Transport, NotSent
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Delay,
    Drop,
    Endpoint,
    Fault,
    Grace,
    Html,
    HugeBody,
    IdTokenClaims,
    OAuthError,
    Policy,
    RedirectTo,
    ScopeGrown,
    Status,
    TruncatedJson,
    When,
    WithFields,
    WithoutFields,
)
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, FaultyStore

TOKEN = Endpoint.TOKEN

LOST: list[Fault] = [
    Drop(When.AFTER),
    Drop(When.AFTER, reset=True),
    Status(500, when=When.AFTER),
    Status(502, when=When.AFTER),
    Html(when=When.AFTER),
    HugeBody(when=When.AFTER),
    TruncatedJson(),
    TruncatedJson(cut=True),
    WithoutFields(("access_token",)),
    WithFields({"access_token": 7}),
    WithFields({"expires_in": {}}),
    ScopeGrown(),
    IdTokenClaims({"sub": "mallory"}),
    IdTokenClaims({"iss": "https://other.example"}),
    IdTokenClaims({"aud": "other"}),
    RedirectTo("http://127.0.0.1:1/token", when=When.AFTER),
    Delay(When.AFTER, 4.0),
]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def uncertain(
    place: Place,
    server: AuthorizationServer,
    clock: FakeClock,
    when: When = When.AFTER,
    times: int = 1,
) -> Session:
    """A session whose refresh was cut off, before or after the provider had done it."""
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Drop(when), times=times)
    with pytest.raises(SessionUncertain):
        session.access_token()
    return session


@pytest.mark.parametrize("fault", LOST, ids=repr)
def test_a_sent_token_without_a_usable_answer_is_uncertain_and_not_sent_again(
    place: Place, server: AuthorizationServer, clock: FakeClock, fault: Fault
) -> None:
    place.provider["timeout"] = 1.0 if isinstance(fault, Delay) else 3.0
    session = place.signed_in(server)
    heard = changes_of(session)
    expire(clock)
    server.faults.add(TOKEN, fault)
    with pytest.raises(SessionUncertain) as caught:
        session.access_token()
    assert caught.value.hint is not None
    assert State.UNCERTAIN is session.state is heard[-1].state
    for other in (session, place.session()):
        assert State.UNCERTAIN is other.restore()
        with pytest.raises(SessionUncertain):
            other.access_token()
    assert 1 == server.token_requests
    session.begin(server.login("notes"))
    assert State.ACTIVE is session.state
    assert 1 == session.access_token().generation
    assert 0 == server.reuse_detected


def test_an_uncertain_session_still_serves_the_valid_token(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session = place.signed_in(server, share_access_tokens=True)
    server.faults.add(TOKEN, Drop(When.AFTER))
    clock.advance(150)
    with pytest.raises(SessionUncertain):
        session.access_token(min_ttl=200)
    assert 1 == session.access_token().generation
    assert 1 == place.session().access_token(min_ttl=60).generation
    expire(clock)
    with pytest.raises(SessionUncertain):
        session.access_token()
    assert 1 == server.token_requests


def test_one_confirmed_attempt_that_succeeds_mends_an_uncertain_session(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session = uncertain(place, server, clock, When.BEFORE)
    assert 2 == session.redeem_uncertain().generation
    assert State.ACTIVE is session.state is place.session().restore()
    assert 2 == session.redeem_uncertain().generation, "there is nothing uncertain any more"
    assert 2 == server.token_requests


def test_a_confirmed_attempt_that_is_taken_for_theft_ends_the_session(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session = uncertain(place, server, clock)
    with pytest.raises(LoginRequired) as caught:
        session.redeem_uncertain()
    assert "reused" == caught.value.reason
    other = place.session()
    assert State.LOGIN_REQUIRED is session.state is other.restore()
    with pytest.raises(LoginRequired) as caught:
        other.access_token()
    assert "reused" == caught.value.reason
    assert place.tokens().kept.stored() is None


def test_a_replay_whose_client_is_refused_stays_uncertain(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """An answer that did not judge the grant says nothing of the attempt before it."""
    session = uncertain(place, server, clock)
    server.faults.add(TOKEN, OAuthError("invalid_client"))
    with pytest.raises(ProviderRefused):
        session.redeem_uncertain()
    assert State.UNCERTAIN is place.session().restore()
    with pytest.raises(SessionUncertain):
        place.session().access_token()
    assert 2 == server.token_requests


@pytest.mark.parametrize("grace", Grace)
def test_within_the_replay_window_a_lost_answer_costs_nothing(
    place: Place, server: AuthorizationServer, clock: FakeClock, grace: Grace
) -> None:
    server.policy = Policy(access_token_seconds=300, grace_seconds=30, grace=grace)
    place.provider["replay_window"] = 30.0
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Drop(When.AFTER))
    assert 2 == session.access_token().generation
    assert 2 == server.token_requests
    assert 0 == server.reuse_detected
    expire(clock)
    assert 3 == session.access_token().generation


def test_after_the_replay_window_nothing_is_sent_again(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    server.policy = Policy(access_token_seconds=300, grace_seconds=30)
    place.provider["replay_window"] = 30.0
    uncertain(place, server, clock, times=3)
    assert 3 == server.token_requests
    clock.advance(31)
    with pytest.raises(SessionUncertain):
        place.session().access_token()
    assert 3 == server.token_requests


def test_a_clock_set_back_across_a_reboot_opens_no_replay_window(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    place.provider["replay_window"] = 30.0
    uncertain(place, server, clock, times=3)
    clock.jump_wall(-86_400)
    clock.reboot()
    with pytest.raises(SessionUncertain):
        place.session().access_token()
    assert 3 == server.token_requests


class Cable:
    """Sends for real, except what the script says of the next request to the token endpoint."""

    def __init__(self, *script: Callable[[], object]) -> None:
        self.sent = 0
        self._script = list(script)
        self._wire = Httpx2Transport()

    def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
        if not request.url.endswith("/token"):
            return self._wire.send(request, timeout)
        if self._script:
            self._script.pop(0)()
        self.sent += 1
        return self._wire.send(request, timeout)

    def close(self) -> None:
        self._wire.close()


def test_a_note_that_was_void_says_nothing_of_the_next_one(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """Unsent, and the note could not be taken back; then sent, and the answer lost: that is it."""
    place.store = store = FaultyStore(MemoryStore())

    def unplugged() -> None:
        store.faults["replace"] = Fails(StoreFull)
        raise NotSent("the cable is out")

    cable = Cable(unplugged)
    session = place.signed_in(server, transport=cable)
    expire(clock)
    with pytest.raises(RefreshUnavailable):
        session.access_token()
    store.faults.clear()
    clock.advance(20)
    server.faults.add(TOKEN, Drop(When.AFTER))
    for _ in range(2):
        with pytest.raises(SessionUncertain):
            session.access_token()
        clock.advance(20)
    assert 1 == cable.sent
    assert 0 == server.reuse_detected


class Moved(Httpx2Transport):
    """The token endpoint is at another address now; `said` is what its old one answers."""

    def __init__(self, said: HttpResponse) -> None:
        super().__init__()
        self.said = said
        self.posted: list[str] = []

    def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
        place = request.url.rpartition("/")[2]
        if place in ("token", "token2"):
            self.posted.append(place)
        if place == "token":
            return self.said
        return super().send(replace(request, url=request.url.replace("token2", "token")), timeout)


def moved(server: AuthorizationServer, **fields: str) -> None:
    """What the provider says of itself from now on."""
    said = {"token_endpoint": f"{server.issuer}/token2", **fields}
    server.faults.add(Endpoint.METADATA, WithFields(said), times=None)


GONE = [
    HttpResponse(404, {}, b"nothing here"),
    HttpResponse(405, {}, b""),
    HttpResponse(410, {}, b""),
    HttpResponse(302, {"location": "https://elsewhere.example/"}, b""),
    HttpResponse(308, {"location": "https://elsewhere.example/"}, b""),
]


@pytest.mark.parametrize("said", GONE, ids=repr)
def test_the_confirmed_attempt_goes_where_the_endpoint_is_now(
    place: Place, server: AuthorizationServer, clock: FakeClock, said: HttpResponse
) -> None:
    """An answer without an OAuth error proves nothing: whatever is behind it may have redeemed."""
    place.signed_in(server)
    moved(server)
    expire(clock)
    wire = Moved(said)
    session = place.session(transport=wire)
    with pytest.raises(SessionUncertain):
        session.access_token()
    assert ["token"] == wire.posted
    other = place.session(transport=wire)
    with pytest.raises(SessionUncertain):
        other.access_token()
    assert 2 == other.redeem_uncertain().generation
    expire(clock)
    assert 3 == place.session(transport=wire).access_token().generation, "the record knows it now"
    assert ["token", "token2", "token2"] == wire.posted


def test_a_replay_goes_where_the_endpoint_is_now(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """Within the replay window nobody has to confirm it."""
    place.provider["replay_window"] = 30.0
    place.signed_in(server)
    moved(server)
    expire(clock)
    wire = Moved(GONE[0])
    assert 2 == place.session(transport=wire).access_token().generation
    assert ["token", "token2"] == wire.posted


def test_an_endpoint_that_moved_a_day_ago_costs_nothing(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """What was discovered is asked for again before anything is sent."""
    place.signed_in(server)
    moved(server)
    clock.advance(86_400)
    wire = Moved(GONE[0])
    assert 2 == place.session(transport=wire).access_token().generation
    assert ["token2"] == wire.posted


def test_another_issuer_s_metadata_moves_nothing(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """The issuer is compared exactly; what is known goes on serving."""
    place.signed_in(server)
    moved(server, issuer="https://other.example")
    clock.advance(86_400)
    wire = Moved(GONE[0])
    session = place.session(transport=wire)
    for obtain in (session.access_token, session.redeem_uncertain):
        with pytest.raises(SessionUncertain):
            obtain()
    assert ["token", "token"] == wire.posted


def test_old_metadata_serves_while_the_provider_is_away(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """Restore and logout work offline however old what is known."""
    place.signed_in(server)
    clock.advance(86_400)
    server.stop()
    session = place.session()
    assert State.ACTIVE is session.restore()
    with pytest.raises(RefreshUnavailable):
        session.access_token()
    report = session.logout()
    assert ("done", "failed") == (report.step("erase").outcome, report.step("revoke").outcome)


def test_a_stale_intent_says_nothing(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """An intent of another generation or token is a leftover of a redemption that was written."""
    uncertain(place, server, clock, When.BEFORE)
    tokens = place.tokens()
    record = tokens.kept.load()
    assert record is not None
    tokens.kept.write(record.changed(generation=2))
    assert State.ACTIVE is place.session().restore()
    assert 3 == place.session().access_token().generation
