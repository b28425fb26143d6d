"""Every way a refresh can go, and what the session says and keeps after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.sessions import Place, changes_of, refresh_token
from tokenkeep import MemoryStore, Session, State
from tokenkeep.errors import (
    LoginRequired,
    ProtocolViolation,
    ProviderRefused,
    RefreshUnavailable,
    SecretDamaged,
    SecretInvalidated,
    SessionUncertain,
    StoreFull,
    StoreLocked,
    UnsupportedOption,
)
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.oauth.transport import HttpRequest, HttpResponse, Httpx2Transport, NotSent
from tokenkeep.secret import Secret
from tokenkeep.session.state import AccessToken
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
from tokenkeep.tokens.record import encode

TOKEN = Endpoint.TOKEN


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> Iterator[AuthorizationServer]:
    """Its time goes by with the client's, and does not jump with the client's wall clock."""
    ahead = clock.wall() - clock.monotonic()
    with AuthorizationServer(
        Policy(access_token_seconds=300), clock=lambda: clock.monotonic() + ahead
    ) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, server: AuthorizationServer, clock: FakeClock) -> Place:
    return Place(tmp_path, server.issuer, store=MemoryStore(), clock=clock)


def expire(clock: FakeClock) -> None:
    clock.advance(301)


# Temporary: nothing was spent.


def test_an_unreachable_provider_is_temporary_and_spends_nothing(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session = place.signed_in(server)
    expire(clock)
    server.stop()
    with pytest.raises(RefreshUnavailable):
        session.access_token()
    assert State.ACTIVE is place.session().restore(), "no intent is left"
    server.start()
    clock.advance(10)
    assert 2 == session.access_token().generation


def test_failures_in_a_row_do_not_put_off_the_next_attempt_for_ever(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """A program that asks every second gets its token soon after the network is back."""
    session = place.signed_in(server)
    expire(clock)
    server.stop()
    for _ in range(30):
        with pytest.raises(RefreshUnavailable):
            session.access_token()
        clock.advance(1)
    server.start()
    clock.advance(6)
    assert 2 == session.access_token().generation


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_retry_after_is_kept_for_every_process(
    place: Place, server: AuthorizationServer, clock: FakeClock, status: int, as_date: bool
) -> None:
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Status(status, 30, as_date))
    with pytest.raises(RefreshUnavailable) as caught:
        session.access_token()
    assert 28 <= (caught.value.retry_after or 0) <= 30
    other = place.session()
    assert State.ACTIVE is other.restore()
    with pytest.raises(RefreshUnavailable) as caught:
        other.access_token()
    assert 25 <= (caught.value.retry_after or 0) <= 30
    assert 1 == server.token_requests
    clock.advance(31)
    assert 2 == other.access_token().generation


def test_a_clock_set_back_does_not_make_the_pause_a_day_longer(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Status(503, 30))
    with pytest.raises(RefreshUnavailable):
        session.access_token()
    clock.jump_wall(-86_400)
    clock.advance(31)
    assert 2 == place.session().access_token().generation


# Uncertain: it was sent, and nobody knows.

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
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Drop(When.BEFORE))
    with pytest.raises(SessionUncertain):
        session.access_token()
    assert 2 == session.redeem_uncertain().generation
    assert State.ACTIVE is session.state is place.session().restore()
    assert 2 == session.redeem_uncertain().generation, "there is nothing uncertain any more"
    assert 2 == server.token_requests


def test_a_confirmed_attempt_that_is_taken_for_theft_ends_the_session(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Drop(When.AFTER))
    with pytest.raises(SessionUncertain):
        session.access_token()
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
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Drop(When.AFTER))
    with pytest.raises(SessionUncertain):
        session.access_token()
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
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Drop(When.AFTER), times=3)
    with pytest.raises(SessionUncertain):
        session.access_token()
    assert 3 == server.token_requests
    clock.advance(31)
    with pytest.raises(SessionUncertain):
        place.session().access_token()
    assert 3 == server.token_requests


def test_a_clock_set_back_across_a_reboot_opens_no_replay_window(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    place.provider["replay_window"] = 30.0
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Drop(When.AFTER), times=3)
    with pytest.raises(SessionUncertain):
        session.access_token()
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


def test_a_stale_intent_says_nothing(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """An intent of another generation or token is a leftover of a redemption that was written."""
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, Drop(When.BEFORE))
    with pytest.raises(SessionUncertain):
        session.access_token()
    tokens = place.tokens()
    record = tokens.kept.load()
    assert record is not None
    tokens.kept.write(record.changed(generation=2))
    assert State.ACTIVE is place.session().restore()
    assert 3 == place.session().access_token().generation


# Definite answers.


def test_a_confirmed_refusal_ends_the_session_everywhere(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session, other = place.signed_in(server), place.session()
    other.restore()
    expire(clock)
    server.revoke(refresh_token(place))
    with pytest.raises(LoginRequired) as caught:
        session.access_token()
    assert "revoked" == caught.value.reason
    with pytest.raises(LoginRequired) as caught:
        other.access_token()
    assert "revoked" == caught.value.reason
    assert State.LOGIN_REQUIRED is session.state is other.state
    assert place.tokens().kept.stored() is None
    assert 1 == server.token_requests


def test_a_refusal_in_the_presence_of_a_newer_generation_takes_the_newer(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """The loser of a race, with another host perhaps, never erases the winner's tokens."""

    class PeerIsQuicker(MemoryStore):
        newer: Secret | None = None

        def read(self, name: ItemName, call: Call) -> Secret | None:
            if self.newer is not None and server.token_requests:
                self.write(name, self.newer, call)
                self.newer = None
            return super().read(name, call)

    place.store = store = PeerIsQuicker()
    session = place.signed_in(server)
    record = place.tokens().kept.load()
    assert record is not None
    expire(clock)
    store.newer = encode(
        record.changed(
            generation=2,
            refresh_token=Secret("theirs"),
            access_token=Secret("their access token"),
            obtained=place.tokens().kept.now(),
        )
    )
    server.faults.add(TOKEN, OAuthError("invalid_grant"))
    assert "their access token" == session.access_token().reveal()
    assert State.ACTIVE is session.state
    assert "theirs" == refresh_token(place)
    assert 1 == server.token_requests


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "invalid_scope"])
def test_a_refused_client_keeps_the_session(
    place: Place, server: AuthorizationServer, clock: FakeClock, error: str
) -> None:
    session = place.signed_in(server)
    expire(clock)
    server.faults.add(TOKEN, OAuthError(error))
    with pytest.raises(ProviderRefused) as caught:
        session.access_token()
    assert error == caught.value.error
    assert State.ACTIVE is place.session().restore()
    assert 2 == place.session().access_token().generation


def test_no_refresh_token_is_a_session_for_as_long_as_the_token(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    session = place.session()
    response = {k: v for k, v in server.login("notes").items() if k != "refresh_token"}
    session.begin(response)
    clock.advance(280)
    assert 1 == place.session().access_token().generation
    token = session.access_token()
    assert session.token_after_401(token) is None, "there is nothing to get a better one with"
    clock.advance(30)
    with pytest.raises(LoginRequired) as caught:
        session.access_token()
    assert "expired" == caught.value.reason
    assert 0 == server.token_requests


def test_unknown_fields_of_the_token_response_are_kept(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    server.policy = Policy(access_token_seconds=300, extra_fields={"tenant": "t-1"})
    session = place.signed_in(server)
    server.policy = Policy(access_token_seconds=300, extra_fields={"plan": "gold"})
    session.access_token(min_ttl=10**6)
    record = place.tokens().kept.load()
    assert record is not None
    assert '{"plan":"gold","tenant":"t-1"}' == record.extra


def test_the_old_refresh_token_stays_where_none_comes_back(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    server.policy = Policy(access_token_seconds=300, rotation=False, returns_refresh_token=False)
    session = place.signed_in(server)
    before = refresh_token(place)
    expire(clock)
    assert 2 == session.access_token().generation
    assert before == refresh_token(place)


def test_a_record_of_another_provider_is_refused_and_kept(
    place: Place, server: AuthorizationServer
) -> None:
    place.signed_in(server)
    other = Place(place.directory, "https://other.example", store=place.store, clock=place.clock)
    with pytest.raises(UnsupportedOption):
        other.session().restore()
    assert State.ACTIVE is place.session().restore()


def test_a_bad_token_response_begins_nothing(place: Place, server: AuthorizationServer) -> None:
    session = place.signed_in(server)
    for bad in ({}, {"access_token": ""}, {**server.login("notes"), "id_token": "rubbish"}):
        with pytest.raises(ProtocolViolation):
            session.begin(bad)
    assert State.ACTIVE is session.state is place.session().restore()


# Time.


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
    server.faults.add(TOKEN, Delay(When.BEFORE, 0.2))
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


# 401.


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


# The store.


def test_locked_at_start_is_not_signed_out(place: Place, server: AuthorizationServer) -> None:
    place.signed_in(server)
    place.store = faulty = FaultyStore(place.store, {"read": Fails(StoreLocked)})
    session = place.session()
    heard = changes_of(session)
    assert State.LOCKED is session.restore()
    with pytest.raises(StoreLocked):
        session.access_token()
    faulty.faults.clear()
    assert State.ACTIVE is session.restore()
    assert [State.LOCKED, State.ACTIVE] == [change.state for change in heard]
    assert 2 == session.access_token().generation


def test_an_invalidated_key_asks_for_a_login(place: Place, server: AuthorizationServer) -> None:
    place.signed_in(server)
    place.store = faulty = FaultyStore(place.store, {"read": Fails(SecretInvalidated)})
    session = place.session()
    assert State.LOGIN_REQUIRED is session.restore()
    with pytest.raises(LoginRequired) as caught:
        session.access_token()
    assert "invalidated" == caught.value.reason
    faulty.faults.clear()
    session.begin(server.login("notes"))
    assert State.ACTIVE is session.state


def test_a_damaged_record_is_reported_and_kept_until_a_login(
    place: Place, server: AuthorizationServer
) -> None:
    place.signed_in(server)
    name = ItemName("org.example.notes", "alice", SESSION)
    place.store.write(name, Secret("rubbish"), Call())
    session = place.session()
    with pytest.raises(SecretDamaged):
        session.restore()
    with pytest.raises(SecretDamaged):
        session.access_token()
    kept = place.store.read(name, Call())
    assert kept is not None
    assert "rubbish" == kept.reveal()
    session.begin(server.login("notes"))
    assert 1 == session.access_token().generation


# Listeners.


def test_a_listener_may_ask_for_a_token_and_gets_an_answer(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """It is called on the thread of the flight, which must not wait for itself."""
    session = place.signed_in(server)
    answers: list[object] = []

    def ask(change: object) -> None:
        try:
            answers.append(session.access_token(timeout=5))
        except Exception as exc:
            answers.append(exc)

    session.on_change(ask)
    expire(clock)
    server.revoke(refresh_token(place))
    with pytest.raises(LoginRequired):
        session.access_token(timeout=5)
    assert [LoginRequired] == [type(answer) for answer in answers]
