"""Taking back what keys keep elsewhere for slots that no vault has, such as an item in a store.

What a vault never had and cannot be taken back is left over, and opens nothing: nobody is told.
"""

from __future__ import annotations

from tokenkeep.errors import MissingExtra, StoreError, TokenkeepError
from tokenkeep.item import Call
from tokenkeep.vault import slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenkeep.vault.format import Slot
    from tokenkeep.vault.slots import Key
    from tokenkeep.vault.vault import Vault

#: Seconds: what a store that answers at all needs for erasing one item, many times over.
_LEAST_SECONDS = 1.0


def moment(call: Call) -> Call:
    """The call's deadline, or a moment if that is over: it may be what ended the making.

    Nobody is asked anything.
    """
    left = call.remaining()
    return Call(None if left is None else max(left, _LEAST_SECONDS), clock=call.clock)


def forget(keys: Sequence[Key], slot: Slot, vault_id: bytes, call: Call) -> None:
    """Lets the keys at hand erase what they keep for a slot that the vault had.

    Raises:
        StoreError, MissingExtra: it is still there.
    """
    problem: StoreError | MissingExtra | None = None
    for key in keys:
        erase = getattr(key, "forget", None)
        if erase is None or not slots.fits(key, slot):
            continue
        try:
            erase(slot, vault_id, call)
        except (StoreError, MissingExtra) as exc:
            problem = exc.with_traceback(None)
    if isinstance(problem, MissingExtra):
        raise problem
    if problem is not None:
        raise type(problem)(
            f"the key slot is removed, and what its key keeps elsewhere is still there: {problem}",
            hint=problem.hint,
        )


def forget_unused(keys: Sequence[Key], made: Sequence[Slot], vault_id: bytes, call: Call) -> None:
    """Lets keys erase what they keep for slots that were made for nothing."""
    for slot in made:
        for key in keys:
            erase = getattr(key, "forget", None)
            if erase is None or not slots.fits(key, slot):
                continue
            try:
                erase(slot, vault_id, moment(call))
            except TokenkeepError:
                continue


def forget_unpublished(vault: Vault, keys: Sequence[Key], made: Sequence[Slot], call: Call) -> None:
    """The same for slots that an existing vault was to get; those that it has got stay."""
    try:
        header = vault.header()
    except StoreError:
        return  # nobody can say what it has got
    if header is not None:
        published = {slot.id for slot in header.slots}
        unused = [slot for slot in made if slot.id not in published]
        forget_unused(keys, unused, header.vault_id, call)
