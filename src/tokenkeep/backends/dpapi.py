"""A vault key slot sealed with Windows' DPAPI: only this user, on this machine, opens it.

The slot holds a random key that Windows sealed under keys made from the user's password. Every
program that runs as the user can have it unsealed, as it can read a key file; nobody else can, and
a copy of the vault opens nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenkeep.crypto import KEY_BYTES, derive, random_bytes
from tokenkeep.errors import VaultDamaged
from tokenkeep.item import Call
from tokenkeep.native import dpapi
from tokenkeep.native.bounded import bounded
from tokenkeep.secret import Secret
from tokenkeep.vault.format import Slot

#: The kind of such a slot.
DPAPI_SLOT = "dpapi"
_SEALED = "dpapi-sealed"
#: What 32 sealed bytes take, many times over; a bound on what a header makes us send.
_MOST_SEALED_BYTES = 4096


class DpapiKey:
    """A key that Windows seals for this user. It needs nothing to be said or kept elsewhere."""

    __slots__ = ()

    kind = DPAPI_SLOT
    protection = "LOGIN"
    may_prompt = False
    readable_when_locked = True
    locked_after_boot = False
    opens_elsewhere = False

    def __eq__(self, other: object) -> bool:
        return True if isinstance(other, DpapiKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(DPAPI_SLOT)

    def __repr__(self) -> str:
        return "DpapiKey()"

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Seals a new key: see `Key.remember`.

        Raises:
            StoreUnavailable: this is not Windows.
            StoreLocked: the user's profile is not loaded.
            StoreTimeout, AccessDenied: Windows does not answer, or refuses.
        """
        key = Secret(random_bytes(KEY_BYTES))
        sealed = bounded(call, lambda: dpapi.protect(key, vault_id + slot_id), "DPAPI")
        return {_SEALED: sealed}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What unseals a slot's key: see `Key.opener`.

        Raises (what is returned):
            SecretInvalidated: the user's keys are gone, or an administrator reset the password.
            SecretDamaged: the slot is damaged, another vault's, or another user's.
            StoreLocked: the user's profile is not loaded.
            StoreUnavailable: this is not Windows.
            StoreTimeout, AccessDenied, InteractionDenied: Windows does not answer, or refuses.
            VaultDamaged: the slot is no sealed key.
        """

        def kek(slot: Slot) -> Secret | None:
            if slot.kind != DPAPI_SLOT:
                return None
            sealed = slot.extra.get(_SEALED, b"")
            if not 0 < len(sealed) <= _MOST_SEALED_BYTES:
                raise VaultDamaged("a DPAPI slot of the vault is damaged")
            key = bounded(call, lambda: dpapi.unprotect(sealed, vault_id + slot.id), "DPAPI")
            if key.size != KEY_BYTES:
                raise VaultDamaged("a DPAPI slot of the vault is damaged")
            return derive(key, b"tk dpapi", slot.salt)

        return kek
