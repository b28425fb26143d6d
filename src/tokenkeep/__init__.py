"""Tokens and small secrets in the credential store of the machine, and sessions kept true.

Importing this package loads nothing heavy: every public name is found when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.aio.session import AsyncSession as AsyncSession
    from tokenkeep.aio.storage import AsyncSecureStorage as AsyncSecureStorage
    from tokenkeep.aio.storage import AsyncTokenStorage as AsyncTokenStorage
    from tokenkeep.backends.android import AndroidOptions as AndroidOptions
    from tokenkeep.backends.apple import AppleOptions as AppleOptions
    from tokenkeep.backends.dpapi import DpapiKey as DpapiKey
    from tokenkeep.backends.kernel_keyring import KernelKeyringOptions as KernelKeyringOptions
    from tokenkeep.backends.kernel_keyring import Keyring as Keyring
    from tokenkeep.backends.memory import MemoryOptions as MemoryOptions
    from tokenkeep.backends.memory import MemoryStore as MemoryStore
    from tokenkeep.backends.secret_service import SecretServiceOptions as SecretServiceOptions
    from tokenkeep.backends.store_item import StoreItemKey as StoreItemKey
    from tokenkeep.backends.systemd_credential import SystemdCredential as SystemdCredential
    from tokenkeep.backends.tpm import TpmKey as TpmKey
    from tokenkeep.backends.vault import VaultOptions as VaultOptions
    from tokenkeep.backends.windows import WindowsOptions as WindowsOptions
    from tokenkeep.backends.windows import WindowsPersistence as WindowsPersistence
    from tokenkeep.database import DatabaseKey as DatabaseKey
    from tokenkeep.install import Installation as Installation
    from tokenkeep.install import check_fresh_install as check_fresh_install
    from tokenkeep.item import Interaction as Interaction
    from tokenkeep.oauth.provider import Provider as Provider
    from tokenkeep.presence.gate import PresenceGate as PresenceGate
    from tokenkeep.secret import Secret as Secret
    from tokenkeep.session.session import Session as Session
    from tokenkeep.session.state import State as State
    from tokenkeep.storage import SecureStorage as SecureStorage
    from tokenkeep.store import Protection as Protection
    from tokenkeep.store import Require as Require
    from tokenkeep.store import StoreFacts as StoreFacts
    from tokenkeep.tokens.storage import TokenStorage as TokenStorage
    from tokenkeep.unlocked_vault import UnlockedVault as UnlockedVault
    from tokenkeep.vault.key_file import KeyFile as KeyFile
    from tokenkeep.vault.passphrase import Passphrase as Passphrase

__version__ = "0.1.0"

_HOMES = {
    "AndroidOptions": "tokenkeep.backends.android",
    "AppleOptions": "tokenkeep.backends.apple",
    "AsyncSecureStorage": "tokenkeep.aio.storage",
    "AsyncSession": "tokenkeep.aio.session",
    "AsyncTokenStorage": "tokenkeep.aio.storage",
    "DatabaseKey": "tokenkeep.database",
    "DpapiKey": "tokenkeep.backends.dpapi",
    "Installation": "tokenkeep.install",
    "Interaction": "tokenkeep.item",
    "KernelKeyringOptions": "tokenkeep.backends.kernel_keyring",
    "KeyFile": "tokenkeep.vault.key_file",
    "Keyring": "tokenkeep.backends.kernel_keyring",
    "MemoryOptions": "tokenkeep.backends.memory",
    "MemoryStore": "tokenkeep.backends.memory",
    "Passphrase": "tokenkeep.vault.passphrase",
    "PresenceGate": "tokenkeep.presence.gate",
    "Protection": "tokenkeep.store",
    "Provider": "tokenkeep.oauth.provider",
    "Require": "tokenkeep.store",
    "Secret": "tokenkeep.secret",
    "SecretServiceOptions": "tokenkeep.backends.secret_service",
    "SecureStorage": "tokenkeep.storage",
    "Session": "tokenkeep.session.session",
    "State": "tokenkeep.session.state",
    "StoreFacts": "tokenkeep.store",
    "StoreItemKey": "tokenkeep.backends.store_item",
    "SystemdCredential": "tokenkeep.backends.systemd_credential",
    "TokenStorage": "tokenkeep.tokens.storage",
    "TpmKey": "tokenkeep.backends.tpm",
    "UnlockedVault": "tokenkeep.unlocked_vault",
    "VaultOptions": "tokenkeep.backends.vault",
    "WindowsOptions": "tokenkeep.backends.windows",
    "WindowsPersistence": "tokenkeep.backends.windows",
    "check_fresh_install": "tokenkeep.install",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
