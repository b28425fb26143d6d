"""A log that cannot be read for a moment: no session is lost, and none comes back."""

from __future__ import annotations

from typing import Any

import pytest

from support.sessions import Place, refresh_token
from tokenkeep import Session, State, TokenStorage
from tokenkeep.errors import LoginRequired, RefreshUnavailable, StoreError, StoreUnavailable
from tokenkeep.testing.authorization_server import AuthorizationServer
from tokenkeep.testing.clock import FakeClock

#: More looks at the log than any of the verbs takes.
_ENOUGH = 40


class FailingLog:
    """A session log whose nth look, counted from `fail_at`, cannot be read."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._left = 0

    def fail_at(self, look: int) -> None:
        self._left = look

    @property
    def has_failed(self) -> bool:
        return self._left <= 0

    def read(self) -> Any:
        self._left -= 1
        if self._left == 0:
            raise StoreUnavailable("too many open files")
        return self._inner.read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def with_failing_log(place: Place, account: str = "alice") -> tuple[TokenStorage, FailingLog]:
    tokens = place.tokens(account)
    log = FailingLog(tokens.kept.log)
    tokens.kept.log = log  # type: ignore[assignment]
    return tokens, log


def test_a_login_that_was_saved_is_a_login(place: Place, server: AuthorizationServer) -> None:
    for look in range(1, _ENOUGH):
        tokens, log = with_failing_log(place)
        session = place.session(tokens=tokens)
        answer = server.login("notes")
        log.fail_at(look)
        assert State.ACTIVE is session.begin(answer), look
        assert session.access_token().reveal() == answer["access_token"], look
        assert answer["refresh_token"] == refresh_token(place)
        assert State.ACTIVE is place.session().restore(), look
        if not log.has_failed:
            break
    assert look > 2, "no look at the log was met"


def test_a_token_that_was_saved_is_saved(place: Place) -> None:
    for look in range(1, _ENOUGH):
        tokens, log = with_failing_log(place)
        log.fail_at(look)
        tokens.save_refresh_token(f"token {look}")
        saved = place.tokens().read_refresh_token()
        assert saved is not None
        assert f"token {look}" == saved.reveal()
        if not log.has_failed:
            break
    assert look > 1, "no look at the log was met"


def test_a_refresh_never_loses_the_rotated_token(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """Before the wire nothing is sent; after it, what came is kept."""
    stopped = 0
    for look in range(1, _ENOUGH):
        tokens, log = with_failing_log(place)
        session = place.session(tokens=tokens)
        session.begin(server.login("notes"))
        requests = server.token_requests
        clock.advance(301)
        log.fail_at(look)
        try:
            session.access_token()
        except StoreError:
            stopped += 1
            assert requests == server.token_requests, look
        failed = log.has_failed
        log.fail_at(0)
        assert 2 == session.access_token().generation, look
        assert 1 == server.token_requests - requests, look
        assert server.is_alive(refresh_token(place)), look
        assert State.ACTIVE is place.session().restore(), look
        if not failed:
            break
    assert 0 < stopped < look - 1, "looks before the wire and after it were met"


def test_a_failure_of_the_provider_is_told_as_what_it_is(
    place: Place, server: AuthorizationServer, clock: FakeClock
) -> None:
    """Nothing was spent: an unreadable log must not leave the token uncertain."""
    for look in range(1, _ENOUGH):
        tokens, log = with_failing_log(place)
        session = place.session(tokens=tokens)
        session.begin(server.login("notes"))
        clock.advance(301)
        server.stop()
        log.fail_at(look)
        with pytest.raises((RefreshUnavailable, StoreUnavailable)):
            session.access_token()
        failed = log.has_failed
        server.start()
        assert State.ACTIVE is place.session().restore(), look
        if not failed:
            break
    assert look > 2, "no look at the log was met"


def test_a_sign_out_is_final_and_reports_what_it_could_not_do(
    place: Place, server: AuthorizationServer
) -> None:
    for look in range(1, _ENOUGH):
        tokens, log = with_failing_log(place)
        answer = server.login("notes")
        place.session().begin(answer)
        session: Session = place.session(tokens=tokens)
        session.restore()
        log.fail_at(look)
        report = session.logout()
        failed = log.has_failed
        log.fail_at(0)
        family = server.family_of(str(answer["refresh_token"]))
        assert family is not None
        assert "done" == report.step("end").outcome, look
        assert family.revoked or "failed" == report.step("revoke").outcome, look
        is_erased = place.tokens().kept.stored() is None
        assert is_erased or "failed" == report.step("erase").outcome, look
        assert State.SIGNED_OUT is place.session().restore(), look
        with pytest.raises(LoginRequired):
            session.access_token()
        if not failed:
            break
    assert look > 2, "no look at the log was met"
