"""The encrypted vault as a store: where it lies, what opens it, and what is true of it."""

from __future__ import annotations

import os
import sys

from tokenkeep.errors import UnsupportedOption
from tokenkeep.secret import Secret
from tokenkeep.vault import files
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.slots import ANY_SLOT, is_key
from tokenkeep.vault.store import MAX_VALUE_BYTES, StoreOverVault
from tokenkeep.vault.vault import Vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from tokenkeep.clock import Clock
    from tokenkeep.store import StoreFacts
    from tokenkeep.vault.slots import Key


class VaultOptions:
    """Which vault, and what opens it.

    Args:
        path: its directory; `vault` in the user's data directory if None.
        key: a `KeyFile`, a `Passphrase`, a platform's key, or several: any one opens the vault, and
            a new one gets a slot for each. None is `DpapiKey()` on Windows. Elsewhere it is a key
            file: beside the vault, with `.key` behind its name, or, for the default path,
            `vault.key` in the user's configuration directory, which is what the command-line tool
            uses.
        create: the first write makes the vault, and its key file, if nothing is there.

    Raises:
        UnsupportedOption: something else was given as a key.
    """

    __slots__ = ("create", "keys", "path")

    path: str
    keys: tuple[Key, ...]
    create: bool

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        key: Key | Iterable[Key] | None = None,
        create: bool = True,
    ) -> None:
        if key is None:
            key = platform_key()
        if path is None:
            from tokenkeep.paths import config_directory, data_directory

            path = os.path.join(data_directory(), "vault")
            if key is None:
                key = KeyFile(os.path.join(config_directory(), "vault.key"))
        put = object.__setattr__
        put(self, "path", path)  # first: a traceback with locals calls repr on what there is
        put(self, "keys", ())
        put(self, "create", create)
        where = files.absolute(path, "the vault")
        put(self, "path", where)
        if key is None:
            keys: tuple[Key, ...] = (KeyFile(where + ".key"),)
        elif is_key(key):
            keys = (key,)
        elif isinstance(key, str | bytes | os.PathLike | Secret):
            kind = type(key).__name__
            del key
            raise UnsupportedOption(
                f"a vault's key is a KeyFile or a Passphrase, not {kind}",
                hint="key=KeyFile(path) or key=Passphrase(text)",
            )
        else:
            keys = tuple(_several(key))
        if not keys or not all(is_key(each) for each in keys):
            del key, keys  # one of them may be a passphrase as plain text
            raise UnsupportedOption(
                "a vault needs at least one KeyFile or Passphrase",
                hint="key=KeyFile(path) or key=Passphrase(text)",
            )
        put(self, "keys", keys)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("VaultOptions cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VaultOptions):
            return NotImplemented
        return (self.path, self.keys, self.create) == (other.path, other.keys, other.create)

    def __hash__(self) -> int:
        return hash((self.path, self.keys, self.create))

    def __repr__(self) -> str:
        return f"VaultOptions({self.path!r}, key={self.keys!r}, create={self.create})"


def platform_key() -> Key | None:
    """What opens a vault on this platform where no key is named; None if that is a key file."""
    if sys.platform == "win32":
        from tokenkeep.backends.dpapi import DpapiKey

        return DpapiKey()
    return None


def preload() -> None:
    """Loads what making, writing and resetting a vault import; for event loops."""
    import ctypes  # noqa: F401

    from tokenkeep.crypto import load_failures
    from tokenkeep.vault import (  # noqa: F401
        agreeing,
        creation,
        lockfile,
        mounts,
        reset,
        settling,
        slot_facts,
        tracking,
    )

    load_failures()
    platform_key()


class VaultStore(StoreOverVault):
    """Keeps items in a vault; opens it at the first call. A `Store` with every ability beside.

    Args:
        clock: unused today, as every call brings its own.
    """

    __slots__ = ("__weakref__", "_options", "_vault")

    _vault: Vault

    def __init__(self, options: VaultOptions, clock: Clock | None = None) -> None:
        self._options = options
        self._vault = Vault(options.path, options.keys, options.create)

    @property
    def facts(self) -> StoreFacts:
        """What protects the items: the weakest slot's protection. Needs no key.

        Raises:
            StoreError: what lies there is no vault, is damaged, or too new.
        """
        from tokenkeep.store import Isolation, Persistence, Protection, StoreFacts
        from tokenkeep.vault.slot_facts import facts_of, protection_of, stays_of

        keys = self._options.keys
        header = self._vault.header()
        notes = []
        persistence = Persistence.UNTIL_DELETED
        if header is None:
            names = [key.protection for key in keys]
            kinds = {key.kind for key in keys}
            lasting = [getattr(key, "stays", None) for key in keys if key.kind != ANY_SLOT]
            notes.append("there is no vault yet; the first write makes it")
        else:
            names = [protection_of(slot) for slot in header.slots]
            kinds = {slot.kind for slot in header.slots}
            lasting = [stays_of(slot) for slot in header.slots]
        if lasting and all(lasting):
            # Every key goes sooner, and with the last of them the items do.
            order = [each.name for each in Persistence]
            stays = max(order.index(each) if each in order else 0 for each in lasting)
            persistence = Persistence[order[stays]]
            notes.append(f"the vault's only key stays until: {persistence.value}")
        # A word that this version does not know may mean anything.
        by_name = Protection.__members__
        protection = min(by_name.get(name, Protection.FILE_PERMISSIONS) for name in names)
        if KeyFile.kind in kinds:
            notes.append("whoever can read the key file and the vault can read every item")
        if any(isinstance(key, KeyFile) and key.readable_by_group for key in keys):
            notes.append("the key file may be readable by its group")
        if kinds == {"dpapi"}:
            notes.append("only this user of this machine opens it, whatever backup it is in")
        notes.append("every program of this user can read the vault's files")
        by_keys = facts_of(header, keys)
        if not by_keys["readable_when_locked"]:
            notes.append("a vault that was opened stays readable until the store is closed")
        return StoreFacts(
            backend="vault",
            protection=protection,
            persistence=persistence,
            isolation=Isolation.USER,
            may_prompt=any(key.may_prompt for key in keys),
            survives_uninstall=True,
            in_backups=True,
            syncs=False,
            max_value_bytes=MAX_VALUE_BYTES,
            notes=tuple(notes),
            **by_keys,
        )

    def __repr__(self) -> str:
        return f"VaultStore({self._options.path!r})"


def _several(keys: Any) -> Iterable[Key]:
    found: Iterable[Key] = keys
    return found
