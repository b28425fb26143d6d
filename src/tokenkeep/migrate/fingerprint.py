"""Hashes of names and values under a key that lies in the new place until the migration ends.

The key, and what a migration replaced, are records of their own kind: as well protected as what is
moved, not seen by the application, and gone when the migration is confirmed or undone.
"""

from __future__ import annotations

import os

from tokenkeep import fields
from tokenkeep.crypto import KEY_BYTES, KeyedHash
from tokenkeep.secret import Secret

#: How the one item begins that an application may see for a moment; no source offers it, no target
#: takes it.
RESERVED = "tokenkeep.migration."
_ID_BYTES = 8
_HASH_BYTES = 16


def new_id() -> str:
    """A name for one migration."""
    return os.urandom(_ID_BYTES).hex()


def new_key() -> Secret:
    """A key, as text: a place that only keeps text shall keep it, too."""
    return Secret(os.urandom(KEY_BYTES).hex())


def key_name(migration_id: str) -> str:
    """The record that holds a migration's key; the names of its others begin with it."""
    return migration_id


def aside_name(migration_id: str, pair: str) -> str:
    """The record that holds what a migration replaced, by the hash of the item's two names."""
    return f"{migration_id}.{pair}"


class Fingerprints:
    """The hashes of one migration; without its key nobody can make or compare them."""

    def __init__(self, key: Secret) -> None:
        self._names = KeyedHash(key, b"migration names", _HASH_BYTES)
        self._values = KeyedHash(key, b"migration value", _HASH_BYTES)

    def of_pair(self, old: str, new: str) -> str:
        """The hash of an item's two names."""
        names = (name.encode("utf-8", "surrogateescape") for name in (old, new))
        return self._names.digest(fields.join(*names)).hex()

    def of_names(self, names: dict[str, str] | None) -> str:
        """The hash of which items a migration is about; None for all."""
        parts = [b"all"] if names is None else []
        for pair in sorted((names or {}).items()):
            parts += [name.encode("utf-8", "surrogateescape") for name in pair]
        return self._names.digest(fields.join(b"names", *parts)).hex()

    def of_value(self, value: Secret) -> str:
        """The hash of a value."""
        return self._values.digest(value.reveal_bytes()).hex()
