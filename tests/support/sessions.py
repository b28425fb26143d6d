"""Sessions for tests: one place, a vault with a key file or a memory store, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenkeep import KeyFile, Provider, SecureStorage, Session, TokenStorage, VaultOptions
from tokenkeep.clock import SystemClock
from tokenkeep.session.state import Change
from tokenkeep.testing.authorization_server import AuthorizationServer
from tokenkeep.testing.clock import FakeClock

SERVICE = "org.example.notes"


@dataclass
class Place:
    """One machine and one person: where sessions of the same account meet.

    Args:
        store: a store for every session; a vault below `directory` if None.
    """

    directory: Path
    issuer: str
    store: Any = None
    clock: Any = field(default_factory=SystemClock)
    provider: dict[str, Any] = field(default_factory=dict)

    def tokens(self, account: str = "alice", **more: Any) -> TokenStorage:
        store = self.store
        if store is None:
            store = VaultOptions(path=self.directory / "v", key=KeyFile(self.directory / "key"))
        storage = SecureStorage(
            SERVICE, store, clock=self.clock, state_directory=str(self.directory / "state")
        )
        return TokenStorage(storage, account=account, **more)

    def session(self, *, tokens: TokenStorage | None = None, **more: Any) -> Session:
        provider = Provider(self.issuer, client_id="notes", **{"timeout": 3.0, **self.provider})
        return Session(provider, self.tokens() if tokens is None else tokens, **more)

    def signed_in(self, server: AuthorizationServer, **more: Any) -> Session:
        session = self.session(**more)
        session.begin(server.login("notes"))
        return session


def changes_of(session: Session) -> list[Change]:
    """What the session's listeners are told from now on."""
    heard: list[Change] = []
    session.on_change(heard.append)
    return heard


def expire(clock: FakeClock) -> None:
    """Takes as long as an access token of the provider in `session/conftest.py` is good for."""
    clock.advance(301)


def refresh_token(place: Place) -> str:
    record = place.tokens().kept.stored()
    assert record is not None
    assert record.refresh_token is not None
    return record.refresh_token.reveal()


class Recording:
    """Wraps an object so that `before(name)` is called ahead of each of the named methods."""

    def __init__(self, inner: Any, names: dict[str, str], before: Callable[[str], None]) -> None:
        self._inner = inner
        self._names = names
        self._before = before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        def wrapped(*arguments: Any, **more: Any) -> Any:
            self._before(self._names[name])
            return found(*arguments, **more)

        return wrapped
