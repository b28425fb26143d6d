"""What every kind of vault key offers. Only types: nothing imports this to run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault.format import Slot


class Key(Protocol):
    """One way to open a vault's slots of one kind.

    Attributes:
        kind: the word in the slots that it opens; `ANY_SLOT` if it may open any.
        protection: the name of a `Protection`: what stands before the root key in such a slot.
        may_prompt: it may ask a person, which it must not do where the call forbids it.

    A key that keeps something elsewhere for each of its slots also has
    `forget(slot, vault_id, call)`, which erases that once the slot is gone.

    What is true of a vault's store hangs on its keys, so each may have the facts of that name,
    `readable_when_locked`, `locked_after_boot` and `opens_elsewhere`, and `stays`: the name of the
    `Persistence` of what opens its slots, where that has an end. What is not said, nobody knows.
    """

    # Properties, so that a constant of the class and an attribute of the object both will do.
    @property
    def kind(self) -> str:  # noqa: D102
        ...

    @property
    def protection(self) -> str:  # noqa: D102
        ...

    @property
    def may_prompt(self) -> bool:  # noqa: D102
        ...

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """What a new slot must keep for this key, such as a wrapping key the platform sealed.

        The fields survive in the header (`Slot.extra`) and are not secret. What was kept elsewhere
        before this fails is taken back here; afterwards `forget` does so.
        """
        ...

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What gives a slot's wrapping key (32 bytes); None if the slot is not this key's.

        Whatever costs time or asks a person happens at most once for one opener.

        Raises (both here and in what is returned):
            VaultKeyMissing: the key is not there.
            SecretInvalidated: what sealed the slot is gone for good.
            WrongKey, StoreLocked, StoreTimeout, StoreUnavailable, AccessDenied,
            InteractionDenied: it cannot be used.
        """
        ...
