"""Waiting for a locked store: until it can be read again, never with a prompt.

The store is looked at again and again, with pauses that grow. Where it hears of its unlocking
(`Unlockable`), a hint ends a pause, and pauses may be longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenkeep.errors import StoreError, StoreLocked, StoreTimeout, StoreUnavailable
from tokenkeep.item import Call, Interaction
from tokenkeep.store import Unlockable

if TYPE_CHECKING:
    from tokenkeep.store import Store, UnlockSignals

#: The first pause between two looks, by how much each is longer than the one before, the longest.
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.05, 1.5, 1.0
#: The longest pause of a store that hears hints: for what nobody tells of.
LONGEST_HEARING = 15.0
#: Seconds for one look: a store that does not answer is asked again.
LOOK_SECONDS = 2.0


def wait_until_unlocked(store: Store, service: str, call: Call) -> bool:
    """True once the store can be read; False if it is still locked at the call's deadline.

    Raises:
        StoreTimeout: the store has not answered at all.
        StoreUnavailable: it is not there, or went away and has not come back.
        AccessDenied, UnsupportedOption: unlocking would not help.
    """
    problem = _problem(store, service, call)
    if problem is None:
        return True
    was_locked = _is_worth_waiting(problem, was_locked=False)
    # Only now: an open store need not be listened to. The loop looks again before it first waits.
    signals = _signals(store, call)
    try:
        pause = 0.0
        while True:
            heard = _rest(signals, pause, call)
            if call.remaining() == 0.0:
                break
            problem = _problem(store, service, call)
            if problem is None:
                return True
            was_locked = _is_worth_waiting(problem, was_locked)
            longest = LONGEST_PAUSE if signals is None else LONGEST_HEARING
            pause = FIRST_PAUSE if heard or not pause else min(pause * GROWTH, longest)
    finally:
        if signals is not None:
            signals.close()
    if isinstance(problem, StoreUnavailable) or not was_locked:
        raise problem
    return False


def _is_worth_waiting(problem: StoreError, was_locked: bool) -> bool:
    """Whether the store was seen locked; raises what waiting does not mend."""
    if isinstance(problem, StoreLocked):
        return True
    if isinstance(problem, StoreTimeout) or (was_locked and isinstance(problem, StoreUnavailable)):
        return was_locked
    raise problem


def _signals(store: Store, call: Call) -> UnlockSignals | None:
    if not isinstance(store, Unlockable):
        return None
    try:
        return store.unlock_signals(_look(call))
    except StoreError:
        return None  # looking now and then has to do


def _rest(signals: UnlockSignals | None, pause: float, call: Call) -> bool:
    left = call.remaining()
    seconds = pause if left is None else min(pause, left)
    if signals is None:
        call.clock.sleep(seconds)
        return False
    return signals.wait(seconds)


def _look(call: Call) -> Call:
    left = call.remaining()
    seconds = LOOK_SECONDS if left is None else min(LOOK_SECONDS, left)
    return Call(seconds, Interaction.NEVER, call.clock)


def _problem(store: Store, service: str, call: Call) -> StoreError | None:
    """Why the store cannot be read now; None if it can, whatever may be wrong with an item."""
    look = _look(call)
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
