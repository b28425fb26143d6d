"""Who may open a vault: its key slots listed, added, removed; key files made beforehand."""

from __future__ import annotations

from tokenkeep.errors import StoreError, StoreUnavailable, UnsupportedOption
from tokenkeep.item import Call, checked_name
from tokenkeep.secret import Secret
from tokenkeep.vault import slots
from tokenkeep.vault.format import Header, Slot
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.leftovers import forget, forget_unpublished
from tokenkeep.vault.vault import Vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from tokenkeep.vault.slots import Key


def new_key(path: str) -> KeyFile:
    """Makes a key file for a vault to come, or for `add_key`.

    Raises:
        UnsupportedOption: something is there already.
        AccessDenied, StoreFull, StoreUnavailable: it cannot be made.
    """
    from tokenkeep.vault import files

    key = KeyFile(path)
    if files.exists(key.path):
        raise UnsupportedOption(
            f"there is a file already: {key.path}", hint="choose another path for the new key"
        )
    key.make()
    return key


def list_keys(vault: Vault) -> tuple[Slot, ...]:
    """The vault's key slots; needs no key.

    Raises:
        StoreUnavailable: there is no vault.
        NotAVault, VaultDamaged, FormatUnsupported, AccessDenied: it cannot be read.
    """
    header = vault.header()
    if header is None:
        raise StoreUnavailable(f"there is no vault: {vault.path}", hint="tokenkeep vault create")
    return header.slots


def add_key(
    vault: Vault,
    key: Key,
    call: Call,
    label: str = "",
    step: Callable[[str], None] = lambda _name: None,
) -> Slot:
    """Gives the vault another slot, opened by `key`; a key file that is not there is made.

    Raises:
        StoreUnavailable: there is no vault, or the key file belongs to another one.
        UnsupportedOption: the key opens the vault already.
        VaultKeyMissing, WrongKey: the vault does not open with the keys that it was given.
        InvalidName: the label cannot be one.
    """
    if label:
        checked_name(label, "label")
    _engine, keys = vault.newest(call)
    if isinstance(key, KeyFile):
        _key, named, _extra = key.make()
        if named and named != keys.vault_id:
            raise StoreUnavailable(
                f"the key file belongs to another vault: {key.path}", hint="make a new key file"
            )
        key.require_nameable()
        if slots.opens(keys.header, key, call):
            raise UnsupportedOption(f"this key file opens the vault already: {key.path}")
    # Made once, as a passphrase may be asked for; wrapped anew if the root key changes meanwhile.
    slot, kek = slots.new_slot(key, label, keys.root, keys.vault_id, call)

    def change(_connection: Connection, keys: Keys) -> tuple[Header, Secret]:
        added = slots.rewrapped(slot, kek, keys.root, keys.vault_id)
        return keys.header.following(slots=(*keys.header.slots, added)), keys.root

    try:
        vault.change_header(call, change, step)
    except StoreError:
        forget_unpublished(vault, (key,), (slot,), call)
        raise
    if isinstance(key, KeyFile):
        step("name")
        key.name_vault(keys.vault_id)
    return slot


def remove_key(
    vault: Vault, slot_id: bytes, call: Call, step: Callable[[str], None] = lambda _name: None
) -> None:
    """Removes a slot, and last what its key kept elsewhere for it, such as an item in a store.

    Whoever kept the root key can still open what they can copy: see `rekey`.

    Raises:
        UnsupportedOption: there is no such slot, or it is the last one that is not damaged.
        StoreUnavailable: there is no vault.
        StoreError: the slot is removed, and what was kept elsewhere is still there.
    """
    removed: list[Slot] = []

    def change(_connection: Connection, keys: Keys) -> tuple[Header, Secret]:
        remaining = without_slot(keys.header, slot_id)
        removed[:] = [slot for slot in keys.header.slots if slot.id == slot_id]
        return keys.header.following(slots=remaining), keys.root

    keys = vault.change_header(call, change, step)
    step("forget")
    forget(vault.keys, removed[0], keys.vault_id, call)


def without_slot(header: Header, slot_id: bytes) -> tuple[Slot, ...]:
    """The other slots.

    A damaged one opens nothing and counts for none. One of a kind that nothing here knows counts:
    what it hangs on may be on another machine, which is not for this one to judge.

    Raises:
        UnsupportedOption: there is no such slot, or it is the last one that is not damaged.
    """
    remaining = tuple(slot for slot in header.slots if slot.id != slot_id)
    if len(remaining) == len(header.slots):
        raise UnsupportedOption(
            f"the vault has no key {slot_id.hex()}", hint="tokenkeep vault check"
        )
    if all(slot.is_damaged for slot in remaining):
        raise UnsupportedOption(
            "the last key of a vault cannot be removed", hint="tokenkeep vault add-key"
        )
    return remaining
