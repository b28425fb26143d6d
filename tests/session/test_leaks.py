"""No failing path of a session leaves a token in an exception, its frames, a listener or a log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from support.captured import assert_nothing_leaks, raised_in_library
from support.sessions import Place
from tokenkeep import MemoryStore, Session
from tokenkeep.errors import (
    AccessDenied,
    SecretDamaged,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    TokenkeepError,
)
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Drop,
    Endpoint,
    Fault,
    Html,
    HugeBody,
    IdTokenClaims,
    OAuthError,
    ScopeGrown,
    Status,
    TruncatedJson,
    When,
    WithFields,
)
from tokenkeep.testing.faulty import Fails, every_step

TOKEN = Endpoint.TOKEN


def secrets_of(server: AuthorizationServer) -> list[str]:
    """Every token that was ever issued."""
    found: list[str] = []
    for family in server.grants():
        found += [*family.refresh_tokens, *family.access_tokens]
    assert found
    return found


FAULTS: list[Fault] = [
    Drop(When.BEFORE),
    Drop(When.AFTER),
    Status(503, 1),
    Status(500, when=When.AFTER),
    Html(when=When.AFTER),
    HugeBody(1 << 21),
    TruncatedJson(),
    WithFields({"access_token": ["x"]}),
    WithFields({"token_type": "mac"}),
    ScopeGrown(),
    IdTokenClaims({"sub": "mallory"}),
    OAuthError("invalid_grant"),
    OAuthError("invalid_client"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("shares", [False, True], ids=["memory", "shared"])
def test_a_refresh_that_fails_shows_no_token(
    tmp_path: Path,
    server: AuthorizationServer,
    fault: Fault,
    shares: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = Place(tmp_path, server.issuer, store=MemoryStore())
    session = place.signed_in(server, share_access_tokens=shares)
    heard: list[str] = []
    session.on_change(lambda change: heard.append(repr(change)))
    token = session.access_token()
    server.faults.add(TOKEN, fault)
    calls: list[Callable[[], object]] = [
        lambda: session.token_after_401(token),
        lambda: session.access_token(min_ttl=10**6),
        lambda: session.refresh_in_flight(min_ttl=10**6).result(10),
        session.redeem_uncertain,
    ]
    failures = 0
    with caplog.at_level(logging.DEBUG):
        for call in calls:
            try:
                call()
            except TokenkeepError as exc:
                failures += 1
                assert_nothing_leaks(exc, *secrets_of(server))
    assert failures
    shown = "\n".join([*heard, caplog.text, repr(session), repr(session.tokens.kept.load())])
    assert not [secret for secret in secrets_of(server) if secret in shown]


BAD_RESPONSES: list[dict[str, object]] = [
    {"access_token": "s3cret-access", "expires_in": "soon"},
    {"access_token": "s3cret-access", "token_type": "mac", "refresh_token": "s3cret-refresh"},
    {"access_token": "s3cret-access\n", "refresh_token": "s3cret-refresh"},
    {"access_token": "s3cret-access", "refresh_token": 7},
    {"access_token": "s3cret-access", "id_token": "s3cret-id"},
    {"access_token": "s3cret-access", "scope": {"s3cret": 1}},
]


@pytest.mark.parametrize("response", BAD_RESPONSES, ids=range(len(BAD_RESPONSES)))
def test_a_login_that_is_refused_shows_no_token(
    tmp_path: Path, server: AuthorizationServer, response: dict[str, object]
) -> None:
    session = Place(tmp_path, server.issuer, store=MemoryStore()).session()
    with pytest.raises(TokenkeepError) as caught:
        session.begin(response, nonce="s3cret-nonce")
    assert raised_in_library(caught.value)
    assert_nothing_leaks(caught.value, "s3cret")


OPERATIONS: dict[str, Callable[[Session], object]] = {
    "restore": lambda session: session.restore(),
    "refresh": lambda session: session.access_token(min_ttl=10**6),
    "401": lambda session: session.token_after_401(session.access_token()),
    "logout": lambda session: session.logout(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_fails_at_any_step_shows_no_token(
    tmp_path: Path, server: AuthorizationServer, operation: str
) -> None:
    errors = [StoreLocked, StoreFull, StoreTimeout, AccessDenied, SecretDamaged]
    shown: list[str] = []
    failures = 0
    places: list[Place] = []

    def make() -> MemoryStore:
        directory = tmp_path / str(len(places))
        directory.mkdir()
        place = Place(directory, server.issuer, store=MemoryStore())
        places.append(place)
        place.signed_in(server, share_access_tokens=True)
        return place.store

    def play(store: object) -> None:
        place = places[-1]
        place.store = store
        session = place.session()
        session.on_change(lambda change: shown.append(repr(change)))
        try:
            session.restore()
            shown.append(str(OPERATIONS[operation](session)))
        finally:
            unsaved = session._known.unsaved
            if unsaved is not None:
                hold = unsaved.let_go(1.0)
                assert hold is not None
                hold.release()

    for run in every_step(make, play, [Fails(error) for error in errors]):
        if run.error is not None:
            failures += 1
            assert_nothing_leaks(run.error, *secrets_of(server))
    assert failures or operation == "logout"
    text = "\n".join(shown)
    assert not [secret for secret in secrets_of(server) if secret in text]


def test_saving_a_token_that_is_none_shows_nothing(tmp_path: Path) -> None:
    tokens = Place(tmp_path, "https://issuer.example", store=MemoryStore()).tokens()
    with pytest.raises((TypeError, ValueError)) as caught:
        tokens.save_refresh_token("s3cret-\ud800")
    assert_nothing_leaks(caught.value, "s3cret")
