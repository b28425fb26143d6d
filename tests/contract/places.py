"""Vaults as the contract opens them: functions that another process can import."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.crypto import Argon2Profile
from tokenkeep.errors import SecretDamaged
from tokenkeep.item import Call, ItemName
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase

#: Far too cheap for a real passphrase: what is under test is the store, not the derivation.
CHEAP = Argon2Profile(memory_kib=64, passes=1, lanes=1)


def options_with_key_file(directory: str) -> VaultOptions:
    """A vault and its key file in a directory."""
    key = KeyFile(os.path.join(directory, "key"))
    return VaultOptions(os.path.join(directory, "vault"), key)


def with_key_file(directory: str) -> VaultStore:
    """Opens a vault by its key file."""
    return VaultStore(options_with_key_file(directory))


def with_passphrase(directory: str) -> VaultStore:
    """A vault in a directory, behind a passphrase."""
    path = os.path.join(directory, "vault")
    return VaultStore(VaultOptions(path, Passphrase("correct horse", profile=CHEAP)))


def spoil_a_name(vault: str) -> None:
    """Flips a byte of one item's name in the database, whichever comes first."""
    connection = sqlite3.connect(os.path.join(vault, "vault.db"), isolation_level=None)
    try:
        place, name = connection.execute("SELECT place_a, name FROM item").fetchone()
        spoilt = name[:-1] + bytes([name[-1] ^ 1])
        connection.execute("UPDATE item SET name = ? WHERE place_a = ?", (spoilt, place))
    finally:
        connection.close()


def spoil(make_store: Callable[[], VaultStore], vault: str, name: ItemName) -> None:
    """Flips a byte of one item's envelope in the database, found by trying every row."""
    connection = sqlite3.connect(os.path.join(vault, "vault.db"), isolation_level=None)
    try:
        for row, envelope in connection.execute("SELECT place_a, envelope FROM item").fetchall():
            spoilt = envelope[:-1] + bytes([envelope[-1] ^ 1])
            connection.execute("UPDATE item SET envelope = ? WHERE place_a = ?", (spoilt, row))
            store = make_store()
            try:
                store.read(name, Call(30.0))
            except SecretDamaged:
                return
            finally:
                store.close()
            connection.execute("UPDATE item SET envelope = ? WHERE place_a = ?", (envelope, row))
    finally:
        connection.close()
    raise AssertionError("no row was the item's")
