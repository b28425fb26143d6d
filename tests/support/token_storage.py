"""TokenStorage over a store in memory, as tests make it."""

from __future__ import annotations

from typing import Any

from tokenkeep.backends.memory import MemoryStore
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Store
from tokenkeep.testing.clock import FakeClock
from tokenkeep.tokens.storage import TokenStorage

SERVICE = "org.example.notes"


def tokens_in(
    store: Store, account: str = "alice", service: str = SERVICE, **more: Any
) -> TokenStorage:
    """An account's record in the store, by a clock that stands still."""
    return TokenStorage(SecureStorage(service, store, clock=FakeClock()), account=account, **more)


def revealed(secret: Secret | None) -> str | None:
    """A secret's text; None if there is none."""
    return None if secret is None else secret.reveal()


def keys(store: MemoryStore) -> list[str]:
    """The names of everything in the store, records included."""
    return [name.name for name in store.names(SERVICE, Call())]
