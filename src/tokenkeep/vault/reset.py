"""The way out of a vault that nobody can open any more: it is set aside, never deleted.

What lies there may be readable again when a lost key file or a backup turns up; the next write
makes a new vault. Killed at any step, the same call goes on.
"""

from __future__ import annotations

import os

from tokenkeep.crypto import random_bytes
from tokenkeep.errors import (
    FormatUnsupported,
    NotAVault,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreUnavailable,
    VaultDamaged,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.vault import files, sqlite
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call
    from tokenkeep.vault.vault import Vault

#: What says that no key at hand will ever open the vault: of several keys' reasons `unlock` raises
#: the most hopeful one, so that each of them says so.
_LOST = (SecretInvalidated, VaultKeyMissing, SecretDamaged)


class Lost:
    """The vault that was found lost: of two that reset it, the second must not move the new one.

    Attributes:
        directory: device and inode.
    """

    __slots__ = ("directory",)

    def __init__(self, directory: tuple[int, int] | None) -> None:
        self.directory = directory


def says_lost(problem: Exception) -> bool:
    """Whether an error means that nothing at hand will ever open the vault it was raised about."""
    return isinstance(problem, _LOST) and not isinstance(problem, NotAVault | FormatUnsupported)


def require_lost(vault: Vault, call: Call) -> Lost | None:
    """The vault, if it cannot be opened for good; None if it opens, or there is none.

    Every key has to be lost for good: one that may open the vault later leaves it where it is. A
    passphrase that does not fit is somebody's mistake, and no sign that the right one is lost.

    Raises:
        WrongKey: a passphrase is among the keys.
        StoreUnavailable: a key file names a vault that is not here: a drive that is not mounted, or
            another path.
        StoreLocked, StoreTimeout, AccessDenied, InteractionDenied, NotAVault, FormatUnsupported: we
            do not know, or it is not ours to judge; nothing changed.
    """
    directory = _directory(vault.path)
    try:
        vault.opened(call)
    except StoreError as exc:
        may_be_mistyped = isinstance(exc, WrongKey) and any(
            isinstance(key, Passphrase) for key in vault.keys
        )
        if says_lost(exc) and not may_be_mistyped:
            return Lost(directory)
        is_there = directory is not None or _has_orphaned_key(vault)
        if is_there or not isinstance(exc, StoreUnavailable):
            raise
    return None


def set_aside(vault: Vault, lost: Lost) -> str:
    """Moves the key files that name the vault, and then the vault, out of the way.

    Killed in between, the vault is one whose key is missing, and the same call goes on.

    Args:
        lost: what `require_lost` found.

    Returns:
        Where the vault lies now.

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
    files.require_vault_directory(vault.path)
    try:
        for key in vault.keys:
            if isinstance(key, KeyFile) and _names(key, vault_id):
                os.rename(key.path, key.path + suffix)
                files.sync_directory(os.path.dirname(key.path))
        os.rename(vault.path, vault.path + suffix)
        files.sync_directory(os.path.dirname(vault.path))
    except OSError as exc:
        raise files.translated(exc, "the vault") from None
    return vault.path + suffix


def _directory(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise files.translated(exc, "the vault") from None
    return found.st_dev, found.st_ino


def _vault_id(vault: Vault) -> bytes | None:
    """The id in the header, or else in the database; None if neither says it."""
    try:
        header = vault.header()
    except VaultDamaged:
        header = None
    if header is not None:
        return header.vault_id
    return sqlite.vault_id_in(os.path.join(vault.path, files.DATABASE))


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
