"""A vault that stays open for a while: what opens one of its slots, kept where it ends by itself.

What is kept is the slot's wrapping key: neither the passphrase nor the vault's root key, so that it
opens this slot of this vault and nothing else. It lies in the user's kernel keyring with a timeout,
elsewhere in the platform's own store; the end stands inside the value too, as does the boot.
"""

from __future__ import annotations

from tokenkeep import fields
from tokenkeep.clock import SystemClock
from tokenkeep.errors import AccessDenied, StoreError, StoreUnavailable
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.slots import ANY_SLOT, unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenkeep.clock import Clock
    from tokenkeep.store import Store
    from tokenkeep.vault.format import Slot
    from tokenkeep.vault.vault import Vault

#: Whose items these are in the store.
SERVICE = "tokenkeep.unlocked"
_FORMAT = b"1"


class UnlockedVault:
    """A vault's key for as long as `unlock_for`, or `tokenkeep vault unlock`, said; then none.

    Give it before a key that asks: `VaultOptions(key=(UnlockedVault(), Passphrase(ask)))`. Where it
    cannot be had, for whatever reason, the next key is tried.

    Args:
        store: where it is kept; the first of `places` if None.
    """

    __slots__ = ("_clock", "_store")

    kind = ANY_SLOT
    protection = "HARDWARE"  # it has no slot of its own, whose protection would count
    may_prompt = False

    def __init__(self, store: Store | None = None, clock: Clock | None = None) -> None:
        self._store = store
        self._clock: Clock = clock if clock is not None else SystemClock()

    def __repr__(self) -> str:
        return "UnlockedVault()"

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Nothing: no slot is made with it."""
        return {}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What gives the kept slot's wrapping key, while it may; never raises."""
        kept = None
        try:
            store = self._store if self._store is not None else next(places(), None)
            kept = None if store is None else _kept(store, vault_id, call, self._clock)
        except StoreError:
            pass  # as if nobody had unlocked it: what asks comes next

        def kek(slot: Slot) -> Secret | None:
            if kept is None or (kept.slot_id, kept.salt) != (slot.id, slot.salt):
                return None  # of a slot that was removed, or made anew
            return kept.kek

        return kek


class Unlocked:
    """Until when a vault is open, in seconds since 1970, and where what opens it is kept."""

    __slots__ = ("store", "until")

    def __init__(self, until: float, store: str) -> None:
        self.until = until
        self.store = store

    def __repr__(self) -> str:
        return f"Unlocked(until={self.until}, store={self.store!r})"


def places(seconds: int | None = None) -> Iterator[Store]:
    """Where an open vault's key may be kept, the first one first; each looked for when asked for.

    Args:
        seconds: how long the kernel keeps what is written there.

    Raises:
        StoreError: the next place is there, and cannot be reached now.
    """
    for find in _PLACES:
        place = find(seconds)
        if place is not None:
            yield place


def _kernel_keyring(seconds: int | None) -> Store | None:
    try:
        from tokenkeep.backends import kernel_keyring as keyring

        options = keyring.KernelKeyringOptions(keyring.Keyring.USER, seconds)
        keyring.probe(options, Call())
    except (StoreUnavailable, AccessDenied):
        return None  # no Linux, or a container that forbids it
    return keyring.KernelKeyringStore(options)


def _platform_store(_seconds: int | None) -> Store | None:
    from tokenkeep.select import open_store

    try:
        return open_store([])
    except StoreUnavailable:
        return None


#: Each gives a place, None where there is none, and raises where it does not answer.
_PLACES: tuple[Callable[[int | None], Store | None], ...] = (_kernel_keyring, _platform_store)


def unlock_for(
    vault: Vault,
    seconds: int,
    call: Call,
    store: Store | None = None,
    clock: Clock | None = None,
) -> Unlocked:
    """Opens the vault with its keys, and lets `UnlockedVault` open it for so many seconds.

    Asks for the passphrase where none of the vault's keys opens it without; what was unlocked
    before does not count. Written at once: killed anywhere, this leaves the old state or the new.

    Raises:
        StoreUnavailable: there is no vault, or no place to keep what opens it.
        StoreError: none of the keys opens it, see `tokenkeep.vault.slots.unlock`; or the place
            cannot be reached.
    """
    clock = clock if clock is not None else SystemClock()
    header = vault.header()
    if header is None:
        raise StoreUnavailable(f"there is no vault: {vault.path}", hint="tokenkeep vault create")
    place = store if store is not None else next(places(seconds), None)
    if place is None:
        raise StoreUnavailable(
            "there is neither a kernel keyring nor a store of the platform's to keep it in",
            hint="--passphrase-file FILE",
        )
    keys = [key for key in vault.keys if not isinstance(key, UnlockedVault)]
    opened = unlock(header, keys, call)
    now = clock.wall()
    value = Secret(
        fields.pack(
            {
                "format": _FORMAT,
                "slot": opened.slot.id,
                "salt": opened.slot.salt,
                "kek": opened.kek.reveal_bytes(),
                "since": repr(now).encode("ascii"),
                "until": repr(now + seconds).encode("ascii"),
                "boot": clock.boot_id().encode("ascii"),
                "ends": repr(clock.monotonic() + seconds).encode("ascii"),
            }
        )
    )
    place.write(_name(header.vault_id), value, call)
    return Unlocked(now + seconds, place.facts.backend)


def lock(vault_id: bytes, call: Call, store: Store | None = None) -> bool:
    """Forgets what opens the vault; True if there was something.

    Processes that have the vault open keep it so until they end. Looks in every place: the first
    one of now may have been missing when the vault was unlocked.

    Args:
        store: the only place; all of `places` if None.

    Raises:
        StoreError: a place cannot be reached, so that something may still be there; it is gone from
            all others.
    """
    was_unlocked, problem = False, None
    for find in _PLACES if store is None else (lambda _seconds: store,):
        try:
            place = find(None)
            was_unlocked |= place is not None and place.delete(_name(vault_id), call)
        except StoreError as exc:
            problem = exc.with_traceback(None)
    if problem is not None:
        raise problem
    return was_unlocked


def unlocked(
    vault_id: bytes, call: Call, store: Store | None = None, clock: Clock | None = None
) -> Unlocked | None:
    """Until when the vault is open; None if it is not, or nobody can tell."""
    clock = clock if clock is not None else SystemClock()
    try:
        place = store if store is not None else next(places(), None)
        kept = None if place is None else _kept(place, vault_id, call, clock)
    except StoreError:
        return None
    return None if kept is None or place is None else Unlocked(kept.until, place.facts.backend)


class _Kept:
    __slots__ = ("kek", "salt", "slot_id", "until")

    def __init__(self, slot_id: bytes, salt: bytes, kek: Secret, until: float) -> None:
        self.slot_id = slot_id
        self.salt = salt
        self.kek = kek
        self.until = until


def _kept(store: Store, vault_id: bytes, call: Call, clock: Clock) -> _Kept | None:
    """What is kept for the vault, if its time is not over.

    Raises:
        StoreError: the store cannot tell; also what is dead there.
    """
    # Without a question, which another key may ask then: that is what it was unlocked for.
    value = store.read(_name(vault_id), Call(call.remaining(), Interaction.NEVER, call.clock))
    if value is None:
        return None
    try:
        found = fields.unpack(value.reveal_bytes())
        kek = Secret(found.pop("kek"))
        since, until, ends = (float(found[key]) for key in ("since", "until", "ends"))
        slot_id, salt, boot = found["slot"], found["salt"], found["boot"]
    except (KeyError, ValueError):
        return None  # another version's
    # A clock that was set back does not lengthen the time, and a reboot ends it.
    is_now = since <= clock.wall() < until and clock.monotonic() < ends
    is_now = is_now and boot == clock.boot_id().encode("ascii")
    return _Kept(slot_id, salt, kek, until) if is_now and found["format"] == _FORMAT else None


def _name(vault_id: bytes) -> ItemName:
    return ItemName(SERVICE, vault_id.hex())
