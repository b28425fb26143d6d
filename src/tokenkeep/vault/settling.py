"""What a vault's first writer does behind its write, as whoever came before may have been killed.

Nothing here fails: the write is done and durable, and an error must not say otherwise.
"""

from __future__ import annotations

from tokenkeep.errors import StoreError
from tokenkeep.vault import room
from tokenkeep.vault.key_file import KeyFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenkeep.vault.format import Header
    from tokenkeep.vault.slots import Key


def settle(path: str, header: Header, key_at_hand: Callable[[], Key]) -> None:
    """Lets the key file name the vault, and keeps the vault's room.

    Args:
        key_at_hand: gives the key that opens the vault.
    """
    try:
        key = key_at_hand()
        if isinstance(key, KeyFile):
            key.name_vault(header.vault_id)
    except StoreError:
        pass  # the next process tries again
    room.keep(path)
