"""The way out of a vault that nobody can open any more: it is set aside, never deleted.

What lies there may be readable again when a lost key file or a backup turns up; the next write
makes a new vault. Killed at any step, the same call goes on.
"""

from __future__ import annotations

import os

from tokenkeep.crypto import random_bytes
from tokenkeep.errors import (
    SecretInvalidated,
    StoreUnavailable,
    VaultDamaged,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.vault import files
from tokenkeep.vault.slots import KeyFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call
    from tokenkeep.vault.vault import Vault

#: What says that no key at hand will ever open the vault.
LOST = (SecretInvalidated, VaultKeyMissing, WrongKey, VaultDamaged)


class Lost:
    """The vault that was found lost: of two that reset it, the second must not move the new one.

    Attributes:
        directory: device and inode; None if only the key file of one is left.
    """

    __slots__ = ("directory",)

    def __init__(self, directory: tuple[int, int] | None) -> None:
        self.directory = directory


def require_lost(vault: Vault, call: Call) -> Lost | None:
    """The vault, if it cannot be opened for good; None if it opens, or there is none.

    Raises:
        StoreLocked, StoreTimeout, AccessDenied, InteractionDenied, NotAVault, FormatUnsupported: we
            do not know, or it is not ours to judge; nothing changed.
    """
    lost = Lost(_directory(vault.path))
    try:
        vault.opened(call)
    except LOST:
        return lost
    except StoreUnavailable:
        # There is none; but a key file may still name the one that was set aside.
        return lost if _has_orphaned_key(vault) else None
    return None


def set_aside(vault: Vault, lost: Lost) -> str:
    """Moves the vault, and the key files that name it, out of the way.

    Args:
        lost: what `require_lost` found.

    Returns:
        Where the vault lies now; where it lay if it was moved before.

    Raises:
        NotAVault: something else lies there; it stays.
        StoreUnavailable: another vault lies there by now; it stays.
        AccessDenied, StoreFull, StoreUnavailable: it could not be moved.
    """
    vault.close()
    suffix = f".set-aside-{random_bytes(4).hex()}"
    vault_id = _vault_id(vault)
    if _directory(vault.path) != lost.directory:
        raise StoreUnavailable("the vault was replaced meanwhile", hint="open it again")
    aside = vault.path
    try:
        if files.require_vault_directory(vault.path):
            aside = vault.path + suffix
            os.rename(vault.path, aside)
            files.sync_directory(os.path.dirname(vault.path))
        for key in vault.keys:
            if isinstance(key, KeyFile) and _names(key, vault_id):
                os.rename(key.path, key.path + suffix)
                files.sync_directory(os.path.dirname(key.path))
    except OSError as exc:
        raise files.translated(exc, "the vault") from None
    return aside


def _directory(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise files.translated(exc, "the vault") from None
    return found.st_dev, found.st_ino


def _vault_id(vault: Vault) -> bytes | None:
    """The id in the header; None if there is no header that says it."""
    try:
        header = vault.header()
    except VaultDamaged:
        return None
    return None if header is None else header.vault_id


def _has_orphaned_key(vault: Vault) -> bool:
    return not files.exists(vault.path) and any(
        isinstance(key, KeyFile) and _names(key, None) for key in vault.keys
    )


def _names(key: KeyFile, vault_id: bytes | None) -> bool:
    """Whether the key file names this vault; any vault, if nobody knows this one's id."""
    try:
        _key, named, _extra = key.read()
    except VaultKeyMissing:
        return False
    except WrongKey:
        return True  # damaged: it opens nothing, and would stand in the new vault's way
    return bool(named) and vault_id in (None, named)
