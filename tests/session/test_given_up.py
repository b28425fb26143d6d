"""A login that nobody waits for any more signs nobody in; a sign-out goes on to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from support.sessions import Place, Recording
from support.waiting import eventually
from tokenkeep import AsyncSession, MemoryStore, State, TokenStorage
from tokenkeep.errors import (
    LoginCancelled,
    RefreshUnavailable,
    StoreFull,
    StoreUnavailable,
    TokenkeepError,
)
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Endpoint,
    Hold,
    Policy,
    RevocationReach,
    When,
)
from tokenkeep.testing.faulty import Fails, FaultyStore

BACKENDS = ["asyncio", "trio"]


def test_tokens_that_came_after_it_was_given_up_are_revoked(
    place: Place, server: AuthorizationServer
) -> None:
    """Cancelled between the provider's answer and the save: nothing is saved, nothing lives on."""
    session = place.session()
    with pytest.raises(LoginCancelled) as caught:
        session.login(
            open_browser=server.drive_browser, is_cancelled=lambda: server.token_requests > 0
        )
    assert "a late token was revoked" in str(caught.value)
    assert [True] == [family.revoked for family in server.grants()]
    assert place.tokens().kept.stored() is None
    assert State.SIGNED_OUT is session.state is place.session().restore()


def test_a_session_that_lived_before_lives_on(place: Place, server: AuthorizationServer) -> None:
    """Also where the provider would end it with the tokens of the login that was given up."""
    server.policy = Policy(
        access_token_seconds=300, revocation_reach=RevocationReach.CLIENT_AND_USER
    )
    session = place.signed_in(server)
    before = session.access_token()
    with pytest.raises(LoginCancelled) as caught:
        session.login(
            open_browser=server.drive_browser, is_cancelled=lambda: server.token_requests > 0
        )
    assert "may share its grant" in str(caught.value)
    assert session.is_current(before)
    assert server.accepts(before.reveal())
    assert 2 == session.access_token(min_ttl=10**6).generation


def test_a_session_that_could_not_be_saved_lives_on(
    place: Place, server: AuthorizationServer
) -> None:
    """Only the log knows of one that the store refused."""
    server.policy = Policy(
        access_token_seconds=300, revocation_reach=RevocationReach.CLIENT_AND_USER
    )
    refusing = {verb: Fails(StoreFull) for verb in ("write", "replace")}
    place.store = FaultyStore(MemoryStore(), refusing)
    session = place.signed_in(server)
    assert State.MEMORY_ONLY is session.state
    before = session.access_token()
    with pytest.raises(LoginCancelled) as caught:
        session.login(
            open_browser=server.drive_browser, is_cancelled=lambda: server.token_requests > 0
        )
    assert "may share its grant" in str(caught.value)
    assert State.MEMORY_ONLY is session.state
    assert server.accepts(before.reveal())


def without_a_log(tokens: TokenStorage) -> None:
    def full(_: str) -> None:
        raise StoreFull("no room for the log")

    tokens.kept.log = Recording(tokens.kept.log, {"begin": ""}, full)  # type: ignore[assignment]


def without_the_fence(tokens: TokenStorage) -> None:
    def busy(_: str) -> None:
        raise StoreUnavailable("the fence cannot be had")

    tokens.kept.fence = Recording(tokens.kept.fence, {"acquire": ""}, busy)  # type: ignore[assignment]


def behind_somebody(tokens: TokenStorage) -> None:
    class Busy:
        def acquire(self, _purpose: str, _timeout: float) -> None:
            return None

        def holder(self) -> str:
            return "somebody else"

    tokens.kept.fence = Busy()  # type: ignore[assignment]


FAILURES = [
    (without_a_log, StoreFull),
    (without_the_fence, StoreUnavailable),
    (behind_somebody, RefreshUnavailable),
]


@pytest.mark.parametrize(("failing", "kind"), FAILURES)
def test_tokens_of_a_login_that_cannot_begin_are_given_back(
    place: Place,
    server: AuthorizationServer,
    failing: Callable[[TokenStorage], None],
    kind: type[TokenkeepError],
) -> None:
    """Nobody has them, so they are not left to live on at the provider; a note says so."""
    tokens = place.tokens()
    failing(tokens)
    with pytest.raises(kind) as caught:
        place.session(tokens=tokens).login(open_browser=server.drive_browser)
    assert ["a late token was revoked: revoked at the provider"] == caught.value.__notes__
    assert [True] == [family.revoked for family in server.grants()]
    assert State.SIGNED_OUT is place.session().restore()


@pytest.mark.parametrize(("failing", "kind"), FAILURES)
def test_an_application_keeps_the_tokens_of_a_login_of_its_own(
    place: Place,
    server: AuthorizationServer,
    failing: Callable[[TokenStorage], None],
    kind: type[TokenkeepError],
) -> None:
    """It may call `begin` again with the same answer."""
    tokens, answer = place.tokens(), server.login("notes")
    failing(tokens)
    with pytest.raises(kind):
        place.session(tokens=tokens).begin(answer)
    assert State.ACTIVE is place.session().begin(answer)
    assert [False] == [family.revoked for family in server.grants()]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["browser", "device"])
def test_a_task_that_is_cancelled_has_cancelled_its_login(
    place: Place, server: AuthorizationServer, backend: str, how: str
) -> None:
    """Whoever comes back from the browser later signs nobody in."""
    server.policy = Policy(device_interval=1, device_polls_until_approved=2)
    template = place.session()
    session = AsyncSession(template.provider, template.tokens)
    urls: list[str] = []
    settings: dict[str, Any] = {"open_browser": urls.append}
    if how == "device":
        settings = {"device": True, "on_code": lambda _code: None}

    async def impatient() -> None:
        with anyio.move_on_after(0.3) as scope:
            await session.login(**settings)
        assert scope.cancelled_caught

    anyio.run(impatient, backend=backend)
    if how == "device":
        time.sleep(2.5)  # by now the person has agreed
    else:
        time.sleep(0.5)
        with pytest.raises(OSError):
            server.drive_browser(urls[0])
        assert 0 == server.token_requests
    assert [] == server.grants()
    assert State.SIGNED_OUT is session.state is place.session().restore()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_login_can_be_given_up_from_outside_of_its_task(
    place: Place, server: AuthorizationServer, backend: str
) -> None:
    template = place.session()
    session = AsyncSession(template.provider, template.tokens)

    async def log_in() -> None:
        with pytest.raises(LoginCancelled):
            await session.login(open_browser=lambda _url: None, is_cancelled=lambda: True)

    anyio.run(log_in, backend=backend)


PROGRAM = """
import sys, time
from pathlib import Path
import anyio
from support.sessions import Place
from tokenkeep import AsyncSession

directory, issuer, backend, what = sys.argv[1:]
template = Place(Path(directory), issuer).session()
session = AsyncSession(template.provider, template.tokens)

async def main():
    await session.restore()
    session.sync.track(lambda: time.sleep(1.0))  # what a sign-out has to cancel, and waits for
    call = session.logout() if what == "logout" else session.login(open_browser=lambda url: None)
    with anyio.move_on_after(0.3) as scope:
        await call
    assert scope.cancelled_caught

anyio.run(main, backend=backend)
"""


def ran(place: Place, backend: str, what: str) -> float:
    """Seconds that a program takes which is cancelled at it and comes to its own end."""
    began = time.monotonic()
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place.directory), place.issuer, backend, what],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ("", 0) == (answer.stderr, answer.returncode)
    return time.monotonic() - began


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_login_that_was_given_up_does_not_keep_a_program_alive(
    tmp_path: Path, server: AuthorizationServer, backend: str
) -> None:
    """Not for the minutes that a person may take."""
    assert ran(Place(tmp_path, server.issuer), backend, "login") < 20


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cancelled_sign_out_is_finished_before_the_program_ends(
    tmp_path: Path, server: AuthorizationServer, backend: str
) -> None:
    """Whoever gave up waiting for it: ended, erased here, and told to the provider."""
    place = Place(tmp_path, server.issuer)
    place.signed_in(server).close()
    ran(place, backend, "logout")
    assert [True] == [family.revoked for family in server.grants()]
    assert place.tokens().kept.stored() is None
    assert "logout" == place.tokens().kept.log.read().end_reason


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cancelled_sign_out_goes_on_in_the_background(
    place: Place, server: AuthorizationServer, backend: str
) -> None:
    """The caller is free at once."""
    place.signed_in(server)
    template = place.session()
    session = AsyncSession(template.provider, template.tokens)
    server.faults.add(Endpoint.REVOKE, Hold(When.BEFORE))

    async def impatient() -> float:
        with anyio.move_on_after(0.3):
            await session.logout()
        return time.monotonic()

    began = time.monotonic()
    assert anyio.run(impatient, backend=backend) - began < 2
    server.faults.release()
    eventually(lambda: all(family.revoked for family in server.grants()))
