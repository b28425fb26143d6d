"""A provider whose tokens are to be bound by DPoP never gets on with bearer tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import UnsupportedOption
from tokenkeep.oauth.dpop import DpopKey
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.provider import Provider
from tokenkeep.oauth.wire import HttpRequest, HttpResponse
from tokenkeep.session.session import Session
from tokenkeep.storage import SecureStorage
from tokenkeep.tokens.storage import TokenStorage

ISSUER = "https://issuer.example"
ACCESS_ONLY = {"access_token": "at", "token_type": "Bearer", "expires_in": 3600}


class Silence:
    """A provider that nobody has to ask."""

    def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
        raise AssertionError(request.url)

    def close(self) -> None:
        pass


class Account:
    """One account's sessions, with a provider that binds tokens and one that does not."""

    def __init__(self, directory: Path) -> None:
        storage = SecureStorage("org.example.notes", MemoryStore(), state_directory=str(directory))
        self.tokens = TokenStorage(storage, account="ada")

    def session(self, *, dpop: bool) -> Session:
        metadata = Metadata(issuer=ISSUER, token_endpoint=f"{ISSUER}/token")
        provider = Provider(ISSUER, client_id="notes", dpop=dpop, metadata=metadata)
        return Session(provider, self.tokens, transport=Silence())


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


REFRESHABLE = {**ACCESS_ONLY, "refresh_token": "rt"}


@pytest.mark.parametrize("response", [ACCESS_ONLY, REFRESHABLE])
def test_an_applications_own_login_without_a_key_begins_no_session(
    account: Account, response: dict[str, Any]
) -> None:
    """A provider with `dpop` and a forgotten key: an error, and nothing is saved."""
    with pytest.raises(UnsupportedOption, match="no key"):
        account.session(dpop=True).begin(response)
    assert account.tokens.kept.stored() is None


@pytest.mark.parametrize("response", [ACCESS_ONLY, REFRESHABLE])
def test_a_session_begun_with_bearer_tokens_is_not_taken_for_a_bound_one(
    account: Account, response: dict[str, Any]
) -> None:
    """Also where an access token is all there is."""
    account.session(dpop=False).begin(response)
    with pytest.raises(UnsupportedOption, match="not bound"):
        account.session(dpop=True).access_token()


def test_a_bound_session_is_one(account: Account) -> None:
    """Begun with its key, its access token proves possession after a restart."""
    key = DpopKey.generate()
    account.session(dpop=True).begin({**ACCESS_ONLY, "token_type": "DPoP"}, dpop_key=key)
    found = account.session(dpop=True).access_token().dpop_key
    assert found is not None
    assert key.thumbprint() == found.thumbprint()
