"""The health of a service's items: each is read once, nothing is changed.

One item that does not open says nothing about the next, so every one is asked. A store that cannot
list them, or stops answering, is reported, not raised, and not asked again for every item.
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
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.store import Inspectable
from tokenkeep.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """What `check` found.

    `state` is the store's own: "ok", or why its items cannot be listed or read any more; then
    `not_looked_at` says of how many nothing is known.
    """

    items: tuple[ItemHealth, ...]
    state: str = "ok"
    problem: str | None = None
    hint: str | None = None
    not_looked_at: int = 0

    @property
    def is_healthy(self) -> bool:
        """Whether the store lists its items and every one of them opens."""
        return self.state == "ok" and all(item.state == "ok" for item in self.items)


def check(store: Store, service: str, call: Callable[[], Call]) -> HealthReport:
    """Reads every item of the service, each under a deadline of its own, until the store fails."""
    listing, items = _listed(store, service, call)
    found: list[ItemHealth] = []
    known: set[str] = set()  # states that were an item's own, while the store was well
    for number, item in in_turns(enumerate(items)):
        try:
            value = store.read(item, call())
        except StoreError as exc:
            state = state_of(exc)
            if state not in known and is_the_stores(exc, store, service, call()):
                left = len(items) - number + listing.not_looked_at
                return HealthReport(tuple(found), state, str(exc), exc.hint, left)
            known.add(state)
            found.append(ItemHealth(item.name, item.kind, state, None, exc.hint))
            continue
        if value is not None:  # else deleted meanwhile
            with value:
                found.append(ItemHealth(item.name, item.kind, "ok", value.size))
    return replace(listing, items=tuple(found))


def is_the_stores(problem: TokenkeepError, store: Store, service: str, call: Call) -> bool:
    """Whether reading an item failed for a reason that every other item would fail for.

    A store that does not answer is asked nothing more. One that can be listed without a prompt is
    there and open: then an item is locked, refused or out of reach by itself.
    """
    if isinstance(problem, StoreTimeout):
        return True
    if not isinstance(problem, (StoreLocked, StoreUnavailable, InteractionDenied, AccessDenied)):
        return False
    try:
        store.names(service, Call(call.remaining(), Interaction.NEVER, call.clock))
    except StoreError:
        return True
    return False


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
            return replace(failed, not_looked_at=unnamed), names
    return failed, []
