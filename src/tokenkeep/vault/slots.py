"""The key slots of a vault: made with a key, opened by one, and why none of them opens.

Keys are values; they read nothing until a vault is opened or made. A platform's own kind of key
lives beside its backend and keeps to the protocol `Key`.
"""

from __future__ import annotations

from tokenkeep import fields
from tokenkeep.crypto import (
    KEY_BYTES,
    Cipher,
    random_bytes,
)
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreLocked,
    StoreTimeout,
    TokenkeepError,
    UnsupportedOption,
    VaultDamaged,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault.format import (
    RESTORE_HINT,
    SALT_BYTES,
    SLOT_ID_BYTES,
    Header,
    Slot,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeGuard

    from tokenkeep.vault.key import Key as Key


_LABEL = b"tokenkeep slot"
#: The kind of a key that may open slots of every kind.
ANY_SLOT = "*"


def is_key(value: object) -> TypeGuard[Key]:
    """Whether something can be a vault's key: it keeps to `Key`."""
    return callable(getattr(value, "opener", None)) and hasattr(value, "kind")


def new_slot(
    key: Key, label: str, root: Secret, vault_id: bytes, call: Call
) -> tuple[Slot, Secret]:
    """A slot that opens with this key, and its wrapping key; a key file is read, none is made.

    If it does not open, what the key keeps elsewhere for it is taken back.
    """
    from tokenkeep.vault.passphrase import Passphrase  # a cold read may do without
    from tokenkeep.vault.slot_facts import said_of

    if key.kind == ANY_SLOT:
        raise UnsupportedOption("a vault that was unlocked for a while is no key of its own")
    slot_id = random_bytes(SLOT_ID_BYTES)
    slot = Slot(
        slot_id=slot_id,
        kind=key.kind,
        label=label,
        salt=random_bytes(SALT_BYTES),
        wrapped=b"",
        profile=key.profile if isinstance(key, Passphrase) else None,
        extra=key.remember(slot_id, vault_id, call),
    )
    kek = None
    try:
        slot.extra.update(said_of(key))  # which a key need not know before `remember`
        kek = key.opener(vault_id, call)(slot)  # opened right away, so that it is known to open
        if kek is None:
            raise WrongKey("the key does not open the slot that was just made with it")
    finally:
        if kek is None:
            from tokenkeep.vault.leftovers import forget_unused

            forget_unused((key,), (slot,), vault_id, call)
    return rewrapped(slot, kek, root, vault_id), kek


def rewrapped(slot: Slot, kek: Secret, root: Secret, vault_id: bytes) -> Slot:
    """The same slot around another root key."""
    return Slot(
        slot_id=slot.id,
        kind=slot.kind,
        label=slot.label,
        salt=slot.salt,
        wrapped=Cipher(kek).seal(root, _associated(slot, vault_id)),
        profile=slot.profile,
        extra=slot.extra,
    )


class Opened:
    """What a key opened: the slot, the root key, and the key that wraps it."""

    __slots__ = ("kek", "key", "root", "slot")

    def __init__(self, key: Key, slot: Slot, root: Secret, kek: Secret) -> None:
        self.key = key
        self.slot = slot
        self.root = root
        self.kek = kek


def unlock(
    header: Header,
    keys: Sequence[Key],
    call: Call,
    known: dict[tuple[bytes, bytes], Secret] | None = None,
) -> Opened:
    """The root key, by the first of the keys that opens a slot.

    Args:
        known: what slots were opened with before, by slot id and salt, so that a passphrase costs
            its time once; added to here.

    Raises:
        StoreError: why none does: of the keys' several reasons the most hopeful one, so that nobody
            is told "gone for good" while another key may open the vault. In this order:
        StoreLocked, StoreTimeout, AccessDenied, InteractionDenied, StoreUnavailable: as a key says.
        WrongKey, VaultKeyMissing: a key is there and opens nothing; or is not there.
        SecretDamaged, VaultDamaged: what a key should have opened is damaged.
        SecretInvalidated: every key at hand is gone for good.
    """
    known = {} if known is None else known
    problems: list[TokenkeepError | None] = []
    for key in keys:
        opened, in_the_way = _open_one(header, key, call, known)
        if opened is not None:
            return opened
        problems += in_the_way
    raise _why(header, problems)


def opens(header: Header, key: Key, call: Call) -> bool:
    """Whether the key opens a slot; raises what keeps us from knowing."""
    opened, in_the_way = _open_one(header, key, call, {})
    problems = [problem for problem in in_the_way if problem is not None]
    if opened is None and problems:
        raise min(problems, key=_despair)
    return opened is not None


def open_each(
    header: Header, wanted: Sequence[Slot], keys: Sequence[Key], call: Call
) -> dict[bytes, Secret]:
    """The wrapping keys of those slots that one of the keys opens, by slot id.

    A key that cannot be tried opens nothing: the slots that remain closed are what counts.
    """
    found: dict[bytes, Secret] = {}
    for key in keys:
        closed = [slot for slot in wanted if fits(key, slot) and slot.id not in found]
        if not closed:
            continue
        try:
            opener = key.opener(header.vault_id, call)
        except TokenkeepError:
            continue
        for slot in closed:
            try:
                kek = opener(slot)
                if kek is not None and _root(kek, slot, header.vault_id) is not None:
                    found[slot.id] = kek
            except TokenkeepError:
                continue
    return found


def _open_one(
    header: Header, key: Key, call: Call, known: dict[tuple[bytes, bytes], Secret]
) -> tuple[Opened | None, list[TokenkeepError | None]]:
    """What the key opened; else why each slot stayed closed, None for one that it does not fit."""
    opener = None
    problems: list[TokenkeepError | None] = []
    for slot in header.slots:
        if not fits(key, slot):
            continue
        kek = known.get((slot.id, slot.salt))
        if kek is None:
            try:
                if opener is None:
                    opener = key.opener(header.vault_id, call)
                kek = opener(slot)
            except TokenkeepError as exc:
                problems.append(exc.with_traceback(None))
                if opener is None:
                    break  # the key itself is not to be had, whatever the slot
                continue
        if kek is None:
            continue  # another key's slot
        try:
            root = _root(kek, slot, header.vault_id)
        except VaultDamaged as exc:
            problems.append(exc.with_traceback(None))
            continue
        if root is not None:
            known[slot.id, slot.salt] = kek
            return Opened(key, slot, root, kek), []
        problems.append(None)
    return None, problems


def fits(key: Key, slot: Slot) -> bool:
    """Whether a key may open a slot, by the slot's kind."""
    return key.kind in (slot.kind, ANY_SLOT)


def _root(kek: Secret, slot: Slot, vault_id: bytes) -> Secret | None:
    """The root key in a slot; None if another key opens it.

    Raises:
        VaultDamaged: what it opens to is no root key.
    """
    root = Cipher(kek).open(slot.wrapped, _associated(slot, vault_id))
    if root is not None and root.size != KEY_BYTES:
        raise VaultDamaged("a key slot holds no root key", hint=RESTORE_HINT)
    return root


#: What stands in the way of a key, the most hopeful first: what passes by itself, what a person or
#: a command mends, what another key or a backup mends, and last what nothing does.
_BY_HOPE: tuple[type[TokenkeepError], ...] = (
    StoreLocked,
    StoreTimeout,
    AccessDenied,
    InteractionDenied,
    TokenkeepError,  # anything else that a key says of itself, such as StoreUnavailable
    WrongKey,
    VaultKeyMissing,
    SecretDamaged,
    SecretInvalidated,
)


def _despair(problem: TokenkeepError) -> int:
    """How little hope there is; a class without a place of its own has its parent's."""
    return next(_BY_HOPE.index(kind) for kind in type(problem).__mro__ if kind in _BY_HOPE)


def _why(header: Header, problems: list[TokenkeepError | None]) -> TokenkeepError:
    """The error that helps most: the most hopeful of what stood in the keys' way."""
    is_damaged = any(slot.is_damaged for slot in header.slots)
    if is_damaged and not problems:
        return VaultDamaged("a key slot of the vault is damaged", hint=RESTORE_HINT)
    kinds = " or ".join(sorted({slot.kind for slot in header.slots if slot.kind}))
    also = ", of which a key slot is damaged" if is_damaged else ""
    wrong = WrongKey(
        f"none of the given keys opens this vault{also}",
        hint=f"give its {kinds}" if kinds else RESTORE_HINT,
    )
    return min((wrong if each is None else each for each in problems), key=_despair, default=wrong)


def _associated(slot: Slot, vault_id: bytes) -> bytes:
    return fields.join(_LABEL, vault_id, slot.id, slot.kind.encode("utf-8"), slot.salt)
