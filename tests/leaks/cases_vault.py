"""The vault on its failing paths: wrong keys, damage, an unusable place, no time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from contract.places import CHEAP, options_with_key_file, spoil
from leaks.cases import SECRET, Case
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.config import load, storage_options
from tokenkeep.item import Call, ItemName
from tokenkeep.passphrase_file import read_passphrase
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase

SERVICE = "org.example.leaks"
ONE = ItemName(SERVICE, "one")


def opened(directory: Path) -> SecureStorage:
    """A storage over the vault in the directory."""
    return SecureStorage(
        SERVICE, options_with_key_file(str(directory)), state_directory=str(directory / "state")
    )


def after(
    spoiling: Callable[[Path], object], method: Callable[[SecureStorage], object]
) -> Callable[[Path], object]:
    """A vault with the secret in it, closed, spoilt, and used again."""

    def run(directory: Path) -> object:
        with opened(directory) as storage:
            storage.write("one", SECRET)
            storage.store.write(ItemName(SERVICE, "one", "session"), Secret(SECRET), Call())
        spoiling(directory)
        with opened(directory) as storage:
            return method(storage)

    return run


def passphrase(directory: Path, text: str) -> VaultStore:
    return VaultStore(VaultOptions(directory / "vault", Passphrase(text, profile=CHEAP)))


def wrong_passphrase(directory: Path) -> object:
    store = passphrase(directory, SECRET)
    store.write(ONE, Secret(SECRET), Call())
    store.close()
    return passphrase(directory, SECRET + "x").read(ONE, Call())


def callable_that_gives(answer: object) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        store = VaultStore(VaultOptions(directory / "vault", Passphrase(lambda: answer)))  # type: ignore[arg-type,return-value]
        return store.write(ONE, Secret(SECRET), Call())

    return run


def spoil_item(directory: Path) -> None:
    spoil(lambda: VaultStore(options_with_key_file(str(directory))), str(directory / "vault"), ONE)


def flip(directory: Path, name: str) -> None:
    file = directory / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def truncate(directory: Path, name: str) -> None:
    os.truncate(directory / name, 100)


def other_key(directory: Path) -> None:
    other = directory / "other"
    other.mkdir()
    with opened(other) as storage:
        storage.write("one", "x")
    shutil.copy(other / "key", directory / "key")


def passphrase_file(content: str, mode: int) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        place = directory / "passphrase"
        place.write_text(content)
        place.chmod(mode)
        return read_passphrase(str(place))

    return run


def passphrase_file_of_no_vault(directory: Path) -> object:
    place = directory / "passphrase"
    place.write_text(SECRET)
    place.chmod(0o600)
    config = load(
        store=f"vault:{directory / 'vault'}",
        passphrase_file=str(place),
        environ={},
        path=str(directory / "config.toml"),
    )
    return SecureStorage(SERVICE, *storage_options(config)).write("one", SECRET)


METHODS: dict[str, Callable[[SecureStorage], object]] = {
    "read": lambda storage: storage.read("one"),
    "write": lambda storage: storage.write("one", SECRET),
    "replace": lambda storage: storage.store.replace(  # type: ignore[attr-defined]
        ONE, Secret(SECRET), Secret(SECRET), Call()
    ),
    "delete": lambda storage: storage.delete("one"),
    "names": lambda storage: storage.names(),
    "read_all": lambda storage: storage.read_all(),
    "delete_all": lambda storage: storage.delete_all(),
}
SPOILINGS: dict[str, Callable[[Path], object]] = {
    "key missing": lambda directory: (directory / "key").unlink(),
    "key of another vault": other_key,
    "key damaged": lambda directory: flip(directory, "key"),
    "database truncated": lambda directory: truncate(directory, "vault/vault.db"),
    "database missing": lambda directory: (directory / "vault/vault.db").unlink(),
    "open permissions": lambda directory: (directory / "vault").chmod(0o755),
}

CASES = [
    *(
        Case(f"vault {method}: {why}", after(spoiling, METHODS[method]))
        for method in METHODS
        for why, spoiling in SPOILINGS.items()
    ),
    Case("vault read: item damaged", after(spoil_item, METHODS["read"])),
    Case("vault read_all: item damaged", after(spoil_item, METHODS["read_all"])),
    Case("vault replace: item damaged", after(spoil_item, METHODS["replace"])),
    Case(
        "vault write: no time",
        lambda directory: VaultStore(options_with_key_file(str(directory))).write(
            ONE, Secret(SECRET), Call(0.0)
        ),
    ),
    Case("vault: wrong passphrase", wrong_passphrase),
    Case("vault: passphrase of a wrong type", callable_that_gives({"p": SECRET})),
    Case("vault: passphrase with a surrogate", callable_that_gives(SECRET + "\ud800")),
    Case("passphrase of a wrong type", lambda _directory: Passphrase([SECRET])),  # type: ignore[arg-type]
    Case("passphrase with surrogate", lambda _directory: Passphrase(SECRET + "\ud800")),
    Case("passphrase in place of a key", lambda place: VaultOptions(place / "v", key=SECRET)),  # type: ignore[arg-type]
    Case("passphrases in place of keys", lambda place: VaultOptions(place / "v", key=[SECRET])),  # type: ignore[list-item]
    Case("passphrase file open to others", passphrase_file(SECRET, 0o644), writes_plain=True),
    Case("passphrase file too large", passphrase_file(SECRET * 70_000, 0o600), writes_plain=True),
    Case("passphrase file of no vault", passphrase_file_of_no_vault, writes_plain=True),
    Case("key file that is a token", lambda place: KeyFile(place / "k") == SECRET or 1 / 0),
]
