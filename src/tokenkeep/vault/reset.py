"""The way out of a vault that nobody can open any more: it is set aside, never deleted.

What lies there may be readable again when a lost key file or a backup turns up; the next write
makes a new vault. Killed at any step, the same call goes on. Invariant: what is moved is what was
found lost, and nobody changes it meanwhile: it is moved under its own lock.
"""

from __future__ import annotations

import os
import sys

from tokenkeep.crypto import random_bytes
from tokenkeep.errors import (
    AccessDenied,
    FormatUnsupported,
    NotAVault,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    VaultDamaged,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.vault import files, sqlite
from tokenkeep.vault.format import MAX_HEADER_BYTES
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.lockfile import LockFile
from tokenkeep.vault.passphrase import Passphrase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call
    from tokenkeep.vault.vault import Vault

#: What says that no key at hand will ever open the vault: of several keys' reasons `unlock` raises
#: the most hopeful one, so that each of them says so.
_LOST = (SecretInvalidated, VaultKeyMissing, SecretDamaged)
#: Between two tries to get the lock; as long as a writer waits at most.
_PAUSE_SECONDS = 0.01


class Lost:
    """The vault that was found lost: of two that reset it, the second must not move the new one.

    Attributes:
        directory: device and inode.
        header: the header file's bytes, which a key that somebody adds changes; None if they
            cannot be read.
        key_files: for each of its keys what the key file there is, which somebody may put back.
    """

    __slots__ = ("directory", "header", "key_files")

    def __init__(
        self,
        directory: tuple[int, int],
        header: bytes | None,
        key_files: list[tuple[int, ...] | None],
    ) -> None:
        self.directory = directory
        self.header = header
        self.key_files = key_files


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
    directory, header, key_files = _directory(vault.path), _header(vault.path), _key_files(vault)
    try:
        vault.opened(call)
    except StoreError as exc:
        may_be_mistyped = isinstance(exc, WrongKey) and any(
            isinstance(key, Passphrase) for key in vault.keys
        )
        if directory is not None and says_lost(exc) and not may_be_mistyped:
            return Lost(directory, header, key_files)
        is_there = directory is not None or _has_orphaned_key(vault)
        if is_there or not isinstance(exc, StoreUnavailable):
            raise
    return None


def set_aside(vault: Vault, lost: Lost, call: Call) -> str:
    """Moves the key files that name the vault, and then the vault, out of the way.

    Killed in between, the vault is one whose key is missing, and the same call goes on. Windows
    moves no directory in which a file is open: there whoever has the vault open keeps it in its
    place, and the lock is let go for the last move.

    Args:
        lost: what `require_lost` found.

    Returns:
        Where the vault lies now.

    Raises:
        NotAVault: something else lies there; it stays.
        StoreTimeout: another process was writing to it all the time; it stays.
        StoreUnavailable: another vault lies there by now, or somebody changed this one's header,
            for which they had to open it, or put a key file back; it stays.
        AccessDenied, StoreFull, StoreUnavailable: it could not be moved.
    """
    vault.close()
    _require_same(vault, lost)  # no lock file is made in what is none of ours
    lock = LockFile(vault.path)
    try:
        _keep_writers_out(lock, call)
        _require_same(vault, lost)
        return _moved(vault, lock)
    finally:
        _let_go(lock)


def _keep_writers_out(lock: LockFile, call: Call) -> None:
    """Takes the lock; leaves it closed where nobody can have it, so that nobody can write either.

    Raises:
        StoreTimeout: somebody else has it all the time.
        StoreUnavailable: we cannot have it here and now, but others may.
    """
    try:
        while not lock.try_lock():
            if call.remaining() == 0.0:
                raise StoreTimeout("another process was writing to the vault all the time")
            call.clock.sleep(_PAUSE_SECONDS)
    except BaseException as exc:
        lock.close()
        nobody_can = isinstance(exc, AccessDenied | StoreFull | NotAVault)
        if not (nobody_can or (isinstance(exc, StoreUnavailable) and lock.is_no_file())):
            raise


def _let_go(lock: LockFile) -> None:
    lock.unlock()
    lock.close()


def _require_same(vault: Vault, lost: Lost) -> None:
    if _directory(vault.path) != lost.directory:
        raise StoreUnavailable("the vault was replaced meanwhile", hint="open it again")
    files.require_vault_directory(vault.path)
    if _header(vault.path) != lost.header or _key_files(vault) != lost.key_files:
        raise StoreUnavailable("the vault was changed meanwhile", hint="open it again")


def _moved(vault: Vault, lock: LockFile) -> str:
    suffix = f".set-aside-{random_bytes(4).hex()}"
    vault_id = _vault_id(vault)
    try:
        for key in vault.keys:
            if isinstance(key, KeyFile) and _names(key, vault_id):
                os.rename(key.path, key.path + suffix)
                files.sync_directory(os.path.dirname(key.path))
        if sys.platform == "win32":
            _let_go(lock)
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


def _key_files(vault: Vault) -> list[tuple[int, ...] | None]:
    found: list[tuple[int, ...] | None] = []
    for key in vault.keys:
        try:
            seen = os.stat(key.path) if isinstance(key, KeyFile) else None
        except OSError:
            seen = None
        identity = None
        if seen is not None:
            identity = seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns
        found.append(identity)
    return found


def _header(path: str) -> bytes | None:
    try:
        return files.read_header(path, MAX_HEADER_BYTES)
    except StoreError:
        return None


def _vault_id(vault: Vault) -> bytes | None:
    """The id in the header, or else in the database; None if neither says it."""
    try:
        header = vault.header(with_database=False)
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
