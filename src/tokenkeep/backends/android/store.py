"""A vault in an Android application's private storage, behind a key of the Android Keystore."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tokenkeep.backends.android.key import AndroidKeystoreKey, promises_hardware
from tokenkeep.backends.android.options import AndroidOptions, Place, StrongBox
from tokenkeep.errors import StoreUnavailable
from tokenkeep.item import Call
from tokenkeep.native.android import application, biometric, keystore
from tokenkeep.store import Isolation, Persistence, Protection, StoreFacts
from tokenkeep.vault.format import Header
from tokenkeep.vault.slot_facts import facts_of as facts_by_keys
from tokenkeep.vault.slot_facts import protection_of
from tokenkeep.vault.store import MAX_VALUE_BYTES, StoreOverVault
from tokenkeep.vault.vault import Vault

if TYPE_CHECKING:
    from tokenkeep.clock import Clock

#: Seconds for a look at the device that no call stands behind.
_LOOK_SECONDS = 5.0
#: No vault's key has this name.
_PROBE_ALIAS = "tokenkeep.probe"


class AndroidStore(StoreOverVault):
    """Keeps items in a vault that only this application on this device can open.

    The first write makes the vault and its key. Reading makes neither: a vault whose key is gone is
    `SecretInvalidated`, never a new vault.

    Args:
        clock: for looks at the device that no call stands behind.
    """

    __slots__ = ("__weakref__", "_clock", "_key", "_made", "_options")

    def __init__(self, options: AndroidOptions, clock: Clock | None = None) -> None:
        self._options = options
        self._clock = clock
        self._key = AndroidKeystoreKey(options)
        self._made: dict[str, Vault] = {}

    @property
    def path(self) -> str:
        """The vault's directory.

        Raises:
            MissingExtra, StoreUnavailable: this program is no part of an Android application.
        """
        return self._vault.path

    @property
    def _vault(self) -> Vault:
        found = self._made.get("vault")
        return self._find(Call(_LOOK_SECONDS, clock=self._clock)) if found is None else found

    def _begin(self, call: Call, doing: str) -> None:
        super()._begin(call, doing)
        if not self._made:
            self._find(call)

    def _find(self, call: Call) -> Vault:
        """The vault, in the directory that Android names; of two at once, the first one made."""
        if self._options.place is Place.NO_BACKUP:
            directory = application.no_backup_directory(call)
        else:
            directory = application.files_directory(call)
        path = os.path.join(directory, "tokenkeep", "vault")
        return self._made.setdefault("vault", Vault(path, (self._key,), create=True))

    def close(self) -> None:
        """Closes the database and forgets the keys; another call opens it again."""
        for vault in self._made.values():
            vault.close()

    @property
    def facts(self) -> StoreFacts:
        """What protects the items; before there is a key, what the device says of its Keystore.

        Raises:
            StoreError: what lies there is no vault, is damaged, or too new; or this is no Android.
        """
        header = self._vault.header()
        return facts_of(
            self._options,
            header,
            header is None and promises_hardware(Call(_LOOK_SECONDS, clock=self._clock)),
        )

    def __repr__(self) -> str:
        return f"AndroidStore({self._options!r})"


def facts_of(options: AndroidOptions, header: Header | None, promises_hardware: bool) -> StoreFacts:
    """What is true of such a store, whose vault has the header.

    Args:
        header: None if there is no vault yet; its keys keep their own demands otherwise.
        promises_hardware: what the device says of keys that are to be made.
    """
    notes = ["the key cannot leave the device: a copy of the vault opens nowhere else"]
    if header is None:
        notes.append("there is no vault yet; the first write makes it and its key")
        protection = Protection.HARDWARE if promises_hardware else Protection.LOGIN
    else:
        by_name, weakest = Protection.__members__, Protection.FILE_PERMISSIONS
        protection = min(by_name.get(protection_of(slot), weakest) for slot in header.slots)
    by_keys = facts_by_keys(header, (AndroidKeystoreKey(options),))
    if not by_keys["readable_when_locked"]:
        notes.append("a vault that was opened stays readable until the store is closed")
    return StoreFacts(
        backend="android",
        protection=protection,
        persistence=Persistence.UNTIL_DELETED,
        isolation=Isolation.APPLICATION,
        may_prompt=options.user_authentication is not None,
        survives_uninstall=False,
        in_backups=options.place is not Place.NO_BACKUP,
        syncs=False,
        max_value_bytes=MAX_VALUE_BYTES,
        notes=tuple(notes),
        **by_keys,
    )


def probe(options: AndroidOptions, call: Call) -> None:
    """Looks whether the store can be used here; shows nothing, makes nothing.

    Raises:
        MissingExtra: neither Chaquopy nor pyjnius is here.
        StoreUnavailable: no application, no Keystore, no StrongBox though it is required, or no way
            to show the prompt that the options ask for.
        StoreTimeout: the Keystore does not answer.
    """
    keystore.contains(call, _PROBE_ALIAS)
    if options.strongbox is StrongBox.REQUIRED and not application.has_feature(
        call, application.FEATURE_STRONGBOX
    ):
        raise StoreUnavailable(
            "this device has no StrongBox",
            hint="AndroidOptions(strongbox=StrongBox.PREFERRED) takes what the device has",
        )
    application.no_backup_directory(call)
    if options.user_authentication is not None:
        biometric.require_prompt(call)
