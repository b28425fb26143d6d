"""A stored session of another provider: its tokens go to nobody else, whatever is asked of us."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.sessions import Place, refresh_token
from tokenkeep import MemoryStore, Provider, Session, State
from tokenkeep.errors import UnsupportedOption
from tokenkeep.oauth.transport import Httpx2Transport
from tokenkeep.session.revocation import revoke_late
from tokenkeep.testing.authorization_server import AuthorizationServer


class Watched(Httpx2Transport):
    """Keeps what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def send(self, request: Any, timeout: float) -> Any:
        body = b"" if request.form is None else request.body()
        self.sent.append(f"{request.method} {request.url} {body.decode()}")
        return super().send(request, timeout)


@pytest.fixture
def theirs() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, theirs: AuthorizationServer) -> Place:
    return Place(tmp_path, theirs.issuer, store=MemoryStore())


#: Which part of whose provider differs from the one that the stored session belongs to.
OTHERS = ["issuer", "client"]


def other_session(place: Place, ours: AuthorizationServer, other: str) -> tuple[Session, Watched]:
    """The same account, by an application that has another provider or client id."""
    issuer = ours.issuer if other == "issuer" else place.issuer
    provider = Provider(issuer, client_id="notes" if other == "issuer" else "mail", timeout=3.0)
    transport = Watched()
    return Session(provider, place.tokens(), transport=transport), transport


@pytest.mark.parametrize("has_looked", [True, False])
@pytest.mark.parametrize("other", OTHERS)
def test_a_sign_out_sends_nothing_and_says_what_lives_on(
    place: Place,
    theirs: AuthorizationServer,
    server: AuthorizationServer,
    other: str,
    has_looked: bool,
) -> None:
    """RFC 6749, section 10.4: a refresh token goes to the server that issued it, to nobody else."""
    place.signed_in(theirs)
    token = refresh_token(place)
    session, transport = other_session(place, server, other)
    if has_looked:
        with pytest.raises(UnsupportedOption) as caught:
            session.restore()
        assert "sign out with that issuer and client" in str(caught.value.hint)
    report = session.logout()
    assert [] == transport.sent
    assert ("done", "done") == (report.step("end").outcome, report.step("erase").outcome)
    assert "failed" == report.step("revoke").outcome
    assert f"of {theirs.issuer}, client notes, and live on" in report.step("revoke").detail
    assert "own pages" in report.step("revoke").detail
    assert theirs.is_alive(token)
    assert State.SIGNED_OUT is place.session().restore()


@pytest.mark.parametrize("other", OTHERS)
def test_a_late_token_of_another_provider_is_dropped_and_told(
    place: Place, theirs: AuthorizationServer, server: AuthorizationServer, other: str
) -> None:
    """Who buries another's record revokes it, unless it is not theirs to revoke."""
    place.signed_in(theirs)
    record = place.tokens().kept.load()
    assert record is not None
    session, transport = other_session(place, server, other)
    told = revoke_late(session.tokens.kept, session._client, record)
    assert "a late token was dropped: nothing was sent" in told
    assert [] == transport.sent


@pytest.mark.parametrize("other", OTHERS)
def test_a_refresh_that_meets_the_record_of_another_provider_sends_nothing(
    place: Place, theirs: AuthorizationServer, server: AuthorizationServer, other: str
) -> None:
    """Somebody signed in at another provider meanwhile: their token is not ours to redeem."""
    session, transport = other_session(place, server, other)
    mine = server if other == "issuer" else theirs
    session.begin({k: v for k, v in mine.login("notes").items() if k != "id_token"})
    place.signed_in(theirs)
    token = refresh_token(place)
    transport.sent.clear()
    with pytest.raises(UnsupportedOption):
        session.access_token(min_ttl=10**6)
    session.logout()
    assert not any(token in sent for sent in transport.sent)
    assert theirs.is_alive(token)


@pytest.mark.parametrize("other", OTHERS)
def test_the_logout_page_of_another_provider_gets_no_id_token(
    place: Place, theirs: AuthorizationServer, server: AuthorizationServer, other: str
) -> None:
    """An ID token names a person: it is a hint for the provider that issued it."""
    place.signed_in(theirs, keep_id_token=True)
    assert "id_token_hint=" in place.session().logout_url()
    session, _ = other_session(place, server, other)
    assert "id_token_hint=" not in session.logout_url()
