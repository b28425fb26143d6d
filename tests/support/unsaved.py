"""Sessions that could not be saved, as tests make them."""

from __future__ import annotations

from typing import Any

from support.sessions import Place
from tokenkeep import MemoryStore, Session, State
from tokenkeep.errors import StoreFull
from tokenkeep.testing.authorization_server import AuthorizationServer


class RefusesTheResult(MemoryStore):
    """Takes the intent, and refuses what comes of it, until `refuses` is over."""

    refuses: type[Exception] | None = None
    _replaced = 0

    def replace(self, name: Any, expected: Any, value: Any, call: Any) -> None:
        if self.refuses is not None:
            self._replaced += 1
            if self._replaced > 1:
                raise self.refuses
        super().replace(name, expected, value, call)

    def write(self, name: Any, value: Any, call: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        super().write(name, value, call)


def memory_only(place: Place, server: AuthorizationServer) -> tuple[Session, RefusesTheResult]:
    """A session whose rotated token could not be saved."""
    place.store = store = RefusesTheResult()
    session = place.signed_in(server)
    store.refuses = StoreFull
    assert 2 == session.access_token(min_ttl=10**6).generation
    assert State.MEMORY_ONLY is session.state
    return session, store


def stored_generation(place: Place) -> int:
    """Which redemption the record in the store is of."""
    record = place.tokens().kept.stored()
    assert record is not None
    return record.generation
