"""What a slot says of its key, so that a vault can say what protects it without opening anything.

Nothing here does input or output.
"""

from __future__ import annotations

from tokenkeep.vault.format import KEY_FILE_SLOT, PASSPHRASE_SLOT, Slot
from tokenkeep.vault.slots import KeyFile, Passphrase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.vault.slots import Key

_PROTECTION = "protection"
#: How long what opens a slot stays by itself (the name of a `Persistence`), where that has an end.
STAYS = "stays"

_KNOWN: dict[str, type[KeyFile] | type[Passphrase]] = {
    KEY_FILE_SLOT: KeyFile,
    PASSPHRASE_SLOT: Passphrase,
}


def said_of(key: Key) -> dict[str, bytes]:
    """What a new slot says of its key; nothing where the kind says it all."""
    if key.kind in _KNOWN:
        return {}
    return {_PROTECTION: key.protection.encode("ascii")}


def protection_of(slot: Slot) -> str:
    """The name of the `Protection` that stands before the root key in a slot.

    A slot that does not say may be as weak as can be.
    """
    if slot.kind in _KNOWN:
        return _KNOWN[slot.kind].protection
    said = slot.extra.get(_PROTECTION, b"").decode("ascii", "replace")
    return said or KeyFile.protection
