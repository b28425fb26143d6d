"""Waiting for a locked store: until it can be read again, never with a prompt.

A store that is told of its unlocking waits for that itself (`Unlockable`); any other one is looked
at again and again, with pauses that grow up to a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenkeep.errors import StoreError, StoreLocked, StoreTimeout, StoreUnavailable
from tokenkeep.item import Call, Interaction
from tokenkeep.store import Unlockable

if TYPE_CHECKING:
    from tokenkeep.store import Store

#: The first pause between two looks, by how much each is longer than the one before, the longest.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.05, 1.5, 1.0
#: Seconds for one look: a store that does not answer is asked again.
LOOK_SECONDS = 2.0


def wait_until_unlocked(store: Store, service: str, call: Call) -> bool:
    """True once the store can be read; False if it is still locked at the call's deadline.

    Raises:
        StoreTimeout: the store has not answered at all.
        StoreUnavailable: it is not there, or went away and has not come back.
        AccessDenied, UnsupportedOption: unlocking would not help.
    """
    if isinstance(store, Unlockable):
        return store.wait_until_unlocked(call)
    return poll_until_unlocked(store, service, call)


def poll_until_unlocked(store: Store, service: str, call: Call) -> bool:
    """As `wait_until_unlocked`, for a store that cannot tell: by looking again and again."""
    pause, was_locked = FIRST_PAUSE, False
    while True:
        problem = _problem(store, service, call)
        if problem is None:
            return True
        if isinstance(problem, StoreLocked):
            was_locked = True
        elif isinstance(problem, StoreUnavailable):
            if not was_locked:
                raise problem
        elif not isinstance(problem, StoreTimeout):
            raise problem
        left = call.remaining()
        call.clock.sleep(pause if left is None else min(pause, left))
        if call.remaining() == 0.0:
            break
        pause = min(pause * GROWTH, LONGEST_PAUSE)
    if isinstance(problem, StoreUnavailable) or not was_locked:
        raise problem
    return False


def _problem(store: Store, service: str, call: Call) -> StoreError | None:
    """Why the store cannot be read now; None if it can, whatever may be wrong with an item."""
    left = call.remaining()
    seconds = LOOK_SECONDS if left is None else min(LOOK_SECONDS, left)
    look = Call(seconds, Interaction.NEVER, call.clock)
    try:
        items = store.names(service, look)
    except StoreError as exc:
        return exc.with_traceback(None)
    if not items:
        return None
    # Some stores list their items while they are locked: only a value tells.
    try:
        value = store.read(items[0], look)
    except (StoreLocked, StoreTimeout, StoreUnavailable) as exc:
        return exc.with_traceback(None)
    except StoreError:
        return None  # that item's own trouble
    if value is not None:
        value.wipe()
    return None
