"""Every way a refresh can go, and what the session says and keeps after each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.sessions import Place, changes_of, expire, refresh_token
from tokenkeep import MemoryStore, State
from tokenkeep.errors import (
    LoginRequired,
    ProtocolViolation,
    ProviderRefused,
    RefreshUnavailable,
    SecretDamaged,
    SecretInvalidated,
    SessionUncertain,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
    VaultKeyMissing,
)
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Endpoint,
    Fault,
    OAuthError,
    Policy,
    ScopeGrown,
    Status,
    WithFields,
)
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, FaultyStore
from tokenkeep.tokens.record import encode

TOKEN = Endpoint.TOKEN


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


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


# What was granted.


@pytest.mark.parametrize("device", [False, True], ids=["browser", "device"])
@pytest.mark.parametrize(
    ("policy", "fault", "granted"),
    [
        (Policy(withheld_scopes=frozenset({"mail"})), None, ["openid", "offline_access"]),
        (Policy(), ScopeGrown("files"), ["openid", "offline_access", "mail", "files"]),
        (Policy(states_scope=False), None, ["openid", "offline_access", "mail"]),
    ],
    ids=["narrower", "wider", "unsaid"],
)
def test_a_login_keeps_the_scope_that_was_granted(
    place: Place,
    server: AuthorizationServer,
    policy: Policy,
    fault: Fault | None,
    granted: list[str],
    device: bool,
) -> None:
    """Whatever was asked (RFC 6749, section 3.3), for this process and for the next one."""
    server.policy = replace(policy, device_polls_until_approved=1)
    if fault is not None:
        # A device asks once before anybody can have approved.
        server.faults.add(TOKEN, fault, times=None)
    session = place.session()
    session.login(
        ["openid", "offline_access", "mail"],
        device=device,
        on_code=lambda _: None,
        open_browser=server.drive_browser,
        timeout=30.0,
    )
    assert granted == session.scope
    other = place.session()
    other.restore()
    assert granted == other.scope


def test_a_scope_may_be_one_text(place: Place, server: AuthorizationServer) -> None:
    """As the token endpoint itself writes it; not so many letters."""
    session = place.session()
    session.login("openid offline_access", open_browser=server.drive_browser, timeout=30.0)
    assert ["openid", "offline_access"] == session.scope
    answer = server.login("notes")
    del answer["scope"]
    session.begin(answer, scope="openid mail")
    assert ["openid", "mail"] == session.scope
    with pytest.raises(UnsupportedOption):
        session.begin(server.login("notes"), scope=["openid mail"])
    assert ["openid", "mail"] == session.scope


def test_a_refresh_never_grows_the_scope(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """It is dropped; what was granted at the login stays what is granted."""
    session = place.signed_in(server)
    granted = session.scope
    expire(clock)
    server.faults.add(TOKEN, ScopeGrown("admin"))
    with pytest.raises(SessionUncertain, match="a larger scope than was granted"):
        session.access_token()
    record = place.tokens().kept.stored()
    assert record is not None
    assert (1, granted) == (record.generation, record.scope.split())


def test_a_refresh_names_no_scope(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """Which asks for what was granted (RFC 6749, section 6); some providers refuse any other."""
    session = place.session()
    session.begin(server.login("notes", scope="openid offline_access mail"))
    for narrower in ("openid", "openid mail"):
        expire(clock)
        server.faults.add(TOKEN, WithFields({"scope": narrower}))
        session.access_token()
        assert narrower.split() == session.scope
    expire(clock)
    session.access_token()
    assert {"openid", "offline_access", "mail"} == set(session.scope)
    forms = [seen.request.form for seen in server.requests.to(TOKEN)]
    assert 3 == len(forms)
    assert not any("scope" in form for form in forms)


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


@pytest.mark.parametrize("error", [VaultKeyMissing, StoreUnavailable, StoreTimeout])
def test_a_store_that_cannot_tell_changes_no_state(
    place: Place, server: AuthorizationServer, error: type[StoreError]
) -> None:
    """A key that may turn up is not gone: restoring raises it, and nobody is asked to sign in."""
    session, store = place.signed_in(server), place.store
    place.store = faulty = FaultyStore(store, {"read": Fails(error)})
    restored = place.session()
    heard = changes_of(restored)
    with pytest.raises(error):
        restored.restore()
    with pytest.raises(error):
        restored.access_token()
    assert [] == heard
    faulty.faults.clear()
    assert State.ACTIVE is restored.restore() is session.state
    faulty.faults["read"] = Fails(error)
    with pytest.raises(error):
        restored.restore()
    assert State.ACTIVE is restored.state


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
