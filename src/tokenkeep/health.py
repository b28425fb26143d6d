"""The health of a service's items: each is read once, nothing is changed.

One item that does not open says nothing about the next, so every one is asked; a store that
cannot even list them is reported, not raised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tokenkeep.errors import (
    AccessDenied,
    FormatUnsupported,
    InteractionDenied,
    MissingExtra,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    TokenkeepError,
    WrongKey,
)
from tokenkeep.store import Inspectable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenkeep.item import Call, ItemName
    from tokenkeep.store import Store

#: The first class that matches names the state; subclasses stand before their parents.
_STATES: tuple[tuple[type[TokenkeepError], str], ...] = (
    (MissingExtra, "not installed"),
    (FormatUnsupported, "unsupported"),
    (WrongKey, "wrong key"),
    (SecretDamaged, "damaged"),
    (SecretInvalidated, "invalidated"),
    (StoreLocked, "locked"),
    (StoreTimeout, "timed out"),
    (InteractionDenied, "denied"),
    (AccessDenied, "denied"),
    (StoreUnavailable, "unavailable"),
)


@dataclass(frozen=True, slots=True)
class ItemHealth:
    """One item: `state` is "ok" or why it does not open; `size` in bytes if it does."""

    name: str
    kind: str
    state: str
    size: int | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What `check` found. `state` is the store's own: "ok", or why not all items can be listed.

    `unnamed` is how many items are not among `items`, because their very names do not open.
    """

    items: tuple[ItemHealth, ...]
    state: str = "ok"
    problem: str | None = None
    hint: str | None = None
    unnamed: int = 0

    @property
    def is_healthy(self) -> bool:
        """Whether the store lists its items and every one of them opens."""
        return self.state == "ok" and all(item.state == "ok" for item in self.items)


def check(store: Store, service: str, call: Callable[[], Call]) -> HealthReport:
    """Reads every item of the service, each under a deadline of its own."""
    listing, items = _listed(store, service, call)
    health = (_item_health(store, item, call()) for item in items)
    return replace(listing, items=tuple(each for each in health if each is not None))


def state_of(error: TokenkeepError) -> str:
    """The word for an error, as a report shows it."""
    for kind, state in _STATES:
        if isinstance(error, kind):
            return state
    return "failed"


def _listed(
    store: Store, service: str, call: Callable[[], Call]
) -> tuple[HealthReport, list[ItemName]]:
    """The report without items, and those that can be listed."""
    try:
        return HealthReport(()), sorted(store.names(service, call()))
    except StoreError as exc:
        failed = HealthReport((), state_of(exc), str(exc), exc.hint)
        if isinstance(exc, SecretDamaged) and isinstance(store, Inspectable):
            try:
                names, unnamed = store.inspect(service, call())
            except StoreError:
                return failed, []
            return replace(failed, unnamed=unnamed), names
    return failed, []


def _item_health(store: Store, item: ItemName, call: Call) -> ItemHealth | None:
    try:
        value = store.read(item, call)
    except StoreError as exc:
        return ItemHealth(item.name, item.kind, state_of(exc), None, exc.hint)
    if value is None:  # deleted meanwhile
        return None
    with value:
        return ItemHealth(item.name, item.kind, "ok", value.size)
