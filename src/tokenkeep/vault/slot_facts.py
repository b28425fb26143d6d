"""What a slot says of its key, so that a vault can say what is true of it without opening anything.

Nothing here does input or output.
"""

from __future__ import annotations

from tokenkeep.vault.format import KEY_FILE_SLOT, PASSPHRASE_SLOT, Header, Slot
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.slots import ANY_SLOT, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenkeep.vault.slots import Key

#: What says how long a key stays by itself (the name of a `Persistence`), where that has an end.
STAYS = "stays"
_PROTECTION = "protection"
#: The facts of a store that hang on what opens it, each with the answer that one key among several
#: gives for all of them: any one opens the vault.
_BEST = {"readable_when_locked": True, "locked_after_boot": False, "opens_elsewhere": True}
_SAID = {b"yes": True, b"no": False}
#: Kinds that say it all.
_KNOWN: dict[str, type[KeyFile] | type[Passphrase]] = {
    KEY_FILE_SLOT: KeyFile,
    PASSPHRASE_SLOT: Passphrase,
}


def said_of(key: Key) -> dict[str, bytes]:
    """What a new slot says of its key; nothing where the kind says it all."""
    if key.kind in _KNOWN:
        return {}
    said = {_PROTECTION: key.protection.encode("ascii")}
    stays = getattr(key, STAYS, None)
    if stays:
        said[STAYS] = stays.encode("ascii")
    for name in _BEST:
        value = getattr(key, name, None)
        if value is not None:
            said[name.replace("_", "-")] = b"yes" if value else b"no"
    return said


def protection_of(slot: Slot) -> str:
    """The name of the `Protection` that stands before the root key in a slot.

    A slot that does not say may be as weak as can be.
    """
    if slot.kind in _KNOWN:
        return _KNOWN[slot.kind].protection
    said = slot.extra.get(_PROTECTION, b"").decode("ascii", "replace")
    return said or KeyFile.protection


def stays_of(slot: Slot) -> str:
    """The name of the `Persistence` of what opens a slot; "" if it stays until it is deleted."""
    return slot.extra.get(STAYS, b"").decode("ascii", "replace")


def facts_of(header: Header | None, keys: Sequence[Key]) -> dict[str, bool | None]:
    """The facts of a vault's store that hang on its keys, by name; None for what nobody knows.

    Args:
        header: the vault's, whose slots say it; None for a vault that the keys will make.
        keys: those at hand; a slot that none of them opens does not count.
    """
    return {name: _best(best, _told(name, header, keys)) for name, best in _BEST.items()}


def _told(name: str, header: Header | None, keys: Sequence[Key]) -> Iterable[bool | None]:
    if header is None:
        return [getattr(key, name, None) for key in keys if key.kind != ANY_SLOT]
    return [
        getattr(_KNOWN[slot.kind], name)
        if slot.kind in _KNOWN
        else _SAID.get(slot.extra.get(name.replace("_", "-"), b""))
        for slot in header.slots
        if not slot.is_damaged and any(fits(key, slot) for key in keys)
    ]


def _best(best: bool, told: Iterable[bool | None]) -> bool | None:
    said = set(told)
    if best in said:
        return best
    return None if None in said or not said else not best
