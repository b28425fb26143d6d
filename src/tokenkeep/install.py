"""Fresh-install detection for an application's plain items.

Some stores outlive the application: a keychain keeps its items when an app is removed, and shows
them to the app that is installed later, perhaps by another person. Sessions are told apart by their
log (`TokenStorage(fresh_install=...)`). An application that wants the same for its other items asks
here, once at every start and before it writes any; a marker of the same kind in the state
directory, which goes with the application, says whether this installation has been here before.

Where the store cannot tell at the first start, the application may go on and write: what it writes
from then on is noted, and never taken for what another installation left.

The first version of an application that asks says "keep", so that it claims the items that its
earlier versions left; later versions say what they mean.
"""

from __future__ import annotations

from enum import Enum

from tokenkeep.item import MIGRATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from tokenkeep.storage import SecureStorage

    Policy = Literal["clear", "keep"] | Callable[[list[str]], bool]


class Installation(Enum):
    """What was found at a start, and what became of the items."""

    KNOWN = "known"  #: the installation has been here before
    FRESH = "fresh"  #: it is new, and nothing was left by another
    CLEARED = "cleared"  #: it is new, and what was left was erased
    KEPT = "kept"  #: it is new, and what was left is its own now


def check_fresh_install(storage: SecureStorage, policy: Policy = "clear") -> Installation:
    """Treats the items of an installation that is gone as `policy` says; once in each installation.

    Session records are left to `TokenStorage`. Killed at any step, the next start goes on. Two
    processes take turns.

    Args:
        policy: "clear" erases what was left, "keep" goes on with it, a function is asked with the
            names and keeps them by answering True; it must not write items itself.

    Raises:
        ValueError: the policy is something else.
        StoreError: the store cannot tell, or an item could not be erased: nothing is settled, the
            next start asks again, about what this installation has not written meanwhile.
    """
    if not (callable(policy) or policy in ("clear", "keep")):
        raise ValueError('a policy is "clear", "keep" or a function')
    marker = storage.marker
    if marker.is_settled():
        return Installation.KNOWN
    with marker.hold(storage.clock, storage.call()):
        if marker.is_settled():
            return Installation.KNOWN
        marker.begin()
        found = _decide(storage, policy, marker.left_over(storage.names()))
        marker.settle()
        return found


def _decide(storage: SecureStorage, policy: Policy, names: list[str]) -> Installation:
    if not names:
        return Installation.FRESH
    if policy(names) if callable(policy) else policy == "keep":
        return Installation.KEPT
    # First: once no item is left, nobody looks here again.
    for item in storage.store.names(storage.service, storage.call()):
        if item.kind == MIGRATION:  # what an import replaced was another person's secret, too
            storage.store.delete(item, storage.call())
    for name in names:
        storage.delete(name)
    return Installation.CLEARED
