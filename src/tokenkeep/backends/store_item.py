"""A vault key slot whose key is an item in another store, such as the platform's own.

The vault holds what the platform's store could not (large values, sessions of many processes), and
the platform's store holds what opens it.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenkeep.crypto import KEY_BYTES, derive, random_bytes
from tokenkeep.errors import (
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Persistence, Store
from tokenkeep.vault.format import Slot
from tokenkeep.vault.leftovers import moment

#: The kind of such a slot.
STORE_ITEM_SLOT = "store-item"
#: Whose items these keys are in the other store.
SERVICE = "tokenkeep.vault"
_STORE = "store"


class StoreItemKey:
    """A key in another store.

    Each slot has an item of its own there, of the service `tokenkeep.vault`.

    Args:
        store: a ready store; what it says of itself is what the slot says.
        name: what the slot calls the store, so that the right one is asked; its own word for
            itself (`StoreFacts.backend`) if None.
    """

    __slots__ = ("name", "store")

    kind = STORE_ITEM_SLOT
    store: Store
    name: str

    def __init__(self, store: Store, name: str | None = None) -> None:
        put = object.__setattr__
        put(self, "name", name)  # first: a traceback with locals calls repr on what there is
        put(self, "store", store)
        if name is None:
            put(self, "name", store.facts.backend)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a StoreItemKey cannot be changed")

    def __repr__(self) -> str:
        return f"StoreItemKey({self.name!r})"

    @property
    def protection(self) -> str:
        """What the store says protects its items."""
        return self.store.facts.protection.name

    @property
    def may_prompt(self) -> bool:
        """Whether the store may ask a person."""
        return self.store.facts.may_prompt

    @property
    def stays(self) -> str | None:
        """How long the store keeps an item, where that has an end."""
        persistence = self.store.facts.persistence
        return None if persistence is Persistence.UNTIL_DELETED else persistence.name

    @property
    def readable_when_locked(self) -> bool | None:
        """What the store says of a locked device."""
        return self.store.facts.readable_when_locked

    @property
    def locked_after_boot(self) -> bool | None:
        """What the store says of the time after a reboot."""
        return self.store.facts.locked_after_boot

    @property
    def opens_elsewhere(self) -> bool | None:
        """Whether the item comes to another machine with a backup, and opens there."""
        facts = self.store.facts
        if facts.in_backups is None:
            return False if facts.opens_elsewhere is False else None
        return facts.in_backups and facts.opens_elsewhere

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Keeps a new key in the store and reads it back, or takes it back: see `Key.remember`.

        Raises:
            SecretDamaged: the store gave back something else.
            StoreError: what the store says.
        """
        name, key = _item(vault_id, slot_id), Secret(random_bytes(KEY_BYTES))
        is_kept = False
        try:
            self.store.write(name, key, call)
            if self.store.read(name, call) != key:
                raise SecretDamaged(f"the {self.name} did not keep the vault's key")
            is_kept = True
        finally:
            if not is_kept:
                self._discard(name, call)
        return {_STORE: self.name.encode("utf-8")}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What reads a slot's key from the store: see `Key.opener`.

        Raises (what is returned):
            SecretInvalidated: the store is open and has no such item: another machine, or it was
                reset; or its item does not open any more.
            VaultKeyMissing: it has no such item, and is one that each login has for itself.
            WrongKey: the item is no key.
            StoreError: what the store says: locked, unavailable, denied, timed out.
        """

        def kek(slot: Slot) -> Secret | None:
            if slot.kind != STORE_ITEM_SLOT or store_of(slot) != self.name:
                return None
            key, problem = None, None
            try:
                key = self.store.read(_item(vault_id, slot.id), call)
            except SecretInvalidated as exc:
                problem = self._gone(f"the vault's key does not open any more: {exc}")
            if key is None:
                raise problem or self._absent()
            if key.size != KEY_BYTES:
                raise WrongKey(f"what the {self.name} keeps for the vault is no key")
            return derive(key, b"tk store item", slot.salt)

        return kek

    def _discard(self, name: ItemName, call: Call) -> None:
        """Erases an item that no slot will have; one that cannot be erased opens nothing."""
        try:
            self.store.delete(name, moment(call))
        except StoreError:
            return

    def _absent(self) -> StoreError:
        """What it means that the store, which is open, has no such item."""
        if self.store.facts.persistence is Persistence.LOGIN:
            # Not gone: each login has a store of its own, and the key is another one's.
            return VaultKeyMissing(
                f"the vault's key is not in the {self.name} of this login",
                hint="open the vault from the login that made it, or with another of its keys",
            )
        return self._gone(f"the vault's key is not in the {self.name} of this machine and user")

    def _gone(self, why: str) -> SecretInvalidated:
        return SecretInvalidated(
            why,
            hint="open the vault with another of its keys, then:"
            f" tokenkeep vault add-key --store-item {self.name};"
            " without one: tokenkeep vault reset, or storage.reset() in Python",
        )

    def forget(self, slot: Slot, vault_id: bytes, call: Call) -> None:
        """Erases the item of a slot that is gone; nothing if it is another store's.

        Raises:
            StoreError: what the store says.
        """
        if slot.kind == STORE_ITEM_SLOT and store_of(slot) == self.name:
            self.store.delete(_item(vault_id, slot.id), call)


def store_of(slot: Slot) -> str:
    """The name of the store that a slot's key lies in."""
    return slot.extra.get(_STORE, b"").decode("utf-8", "replace")


def _item(vault_id: bytes, slot_id: bytes) -> ItemName:
    return ItemName(SERVICE, f"{vault_id.hex()}.{slot_id.hex()}")
