"""Vaults in a directory, as tests and their child processes open them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.crypto import Argon2Profile
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.key import Key
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.vault import Vault

#: Far too cheap for a real passphrase: the derivation is not what is under test.
CHEAP = Argon2Profile(memory_kib=64, passes=1, lanes=1)
SERVICE = "org.example.notes"
PATIENCE = 60.0


def call() -> Call:
    """A call that a busy machine does not end."""
    return Call(PATIENCE)


def item(name: str) -> ItemName:
    """An item of the test's service."""
    return ItemName(SERVICE, name)


def record(account: str) -> ItemName:
    """A session record of the test's service."""
    return ItemName(SERVICE, account, SESSION)


def key_file(directory: Path, name: str = "key") -> KeyFile:
    """A key file in the directory."""
    return KeyFile(directory / name)


def passphrase(text: str = "correct horse") -> Passphrase:
    """A passphrase whose slots cost nothing."""
    return Passphrase(text, profile=CHEAP)


def open_store(directory: Path, *keys: KeyFile | Passphrase, create: bool = True) -> VaultStore:
    """The vault in the directory, by its key file unless other keys are given."""
    return VaultStore(
        VaultOptions(directory / "vault", keys or (key_file(directory),), create=create)
    )


def open_vault(directory: Path, *keys: KeyFile | Passphrase) -> Vault:
    """The same below the store."""
    return Vault(os.fspath(directory / "vault"), keys or (key_file(directory),))


def value(store: VaultStore, name: str) -> str | None:
    """What the store has under a name."""
    found = store.read(item(name), call())
    return None if found is None else found.reveal()


def all_bytes(directory: Path) -> bytes:
    """Everything in every file of a vault, read as an attacker would."""
    return b"".join(file.read_bytes() for file in sorted((directory / "vault").iterdir()))


def fill(directory: Path) -> None:
    """Makes a vault of two items, and closes it."""
    store = open_store(directory)
    for name in ("a", "b"):
        store.write(item(name), Secret("value " + name), call())
    store.close()


def filled_by(place: Path, *keys: Key, spare: bool = True) -> None:
    """Makes a vault at a path, of one item, opened by the keys and by a passphrase beside them."""
    several = (*keys, passphrase()) if spare else keys
    VaultStore(VaultOptions(place, several)).write(item("a"), Secret("kept"), call())


def read_by(place: Path, *keys: Key) -> Secret | None:
    """That item, by these keys alone."""
    return VaultStore(VaultOptions(place, keys, create=False)).read(item("a"), call())


_READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM item").fetchone()
print("reading", flush=True)
sys.stdin.read()
"""


@contextmanager
def reader_elsewhere(place: Path) -> Iterator[None]:
    """A process in the middle of a read, which holds the bytes that it began with."""
    process = subprocess.Popen(
        [sys.executable, "-c", _READER, str(place / "vault" / "vault.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def owed(store: VaultStore) -> bool:
    """Whether old bytes wait for a writer who can erase them."""
    row = store._vault.opened(call())[0].row(call(), "SELECT erase_pending FROM state")
    assert row in ((0,), (1,))
    return bool(row[0])


#: Every verb of a store, on the vault in a directory; the last one asks for no item.
VERBS: list[Callable[[Path], object]] = [
    lambda place: value(open_store(place), "a"),
    lambda place: open_store(place).write(item("a"), Secret("new"), call()),
    lambda place: open_store(place).delete(item("a"), call()),
    lambda place: open_store(place).names(SERVICE, call()),
    lambda place: open_store(place).erase(SERVICE, call()),
    lambda place: open_store(place).replace(item("a"), None, Secret("new"), call()),
    lambda place: open_store(place).facts,
]


def create_at_once(directory: str, number: int, gate: threading.Barrier) -> None:
    """Writes at the same moment as others; here, where a process that is not forked finds it."""
    store = open_store(Path(directory))
    gate.wait()
    store.write(item(f"n{number}"), Secret(f"value {number}"), call())
