"""The machine's own vault keys on their failing paths: PINs, credentials, items of other stores."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from leaks.cases import SECRET, Case
from support.tpm import packets, refusal
from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.backends.store_item import StoreItemKey
from tokenkeep.backends.systemd_credential import SystemdCredential
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import StoreLocked
from tokenkeep.item import Call, ItemName
from tokenkeep.native import dpapi
from tokenkeep.native.tpm.tpm import SHA256, StorageKey, Tpm
from tokenkeep.secret import Secret
from tokenkeep.vault.format import Slot
from tokenkeep.vault.key import Key

VAULT_ID = bytes(16)
ONE = ItemName("org.example.leaks", "one")


class Failing(MemoryStore):
    """A store that is locked once it was written to."""

    def read(self, name: ItemName, call: Call) -> Secret | None:
        raise StoreLocked("locked")


def write(directory: Path, key: Key) -> object:
    """The first write of a vault, which makes the slot."""
    store = VaultStore(VaultOptions(directory / "vault", key))
    store.write(ONE, Secret(SECRET), Call(2))
    return store


@contextmanager
def refusing(code: int) -> Iterator[str]:
    """A TPM that refuses everything."""
    with tempfile.TemporaryDirectory(prefix="tokenkeep-tpm-") as directory:
        path = os.path.join(directory, "s")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen()

            def serve() -> None:
                try:
                    while True:
                        with listener.accept()[0] as client:
                            for _command in packets(client):
                                client.sendall(refusal(code))
                except OSError:
                    return

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            yield f"unix:{path}"
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def pin(code: int) -> Callable[[Path], object]:
    """A PIN for a TPM that refuses."""

    def run(directory: Path) -> object:
        with refusing(code) as device:
            return write(directory, TpmKey(auth=SECRET, device=device))

    return run


def sealing(_directory: Path) -> object:
    """A value that a TPM refuses to seal."""
    with refusing(0x101) as device, Tpm(device, Call(2)) as tpm:
        return tpm.seal(_storage_key(), Secret(SECRET), Secret(SECRET), b"")


def unsealing(_directory: Path) -> object:
    """A PIN for what a TPM refuses to load."""
    with refusing(0x1DF) as device, Tpm(device, Call(2)) as tpm:
        return tpm.unseal(_storage_key(), b"", b"", Secret(SECRET), SHA256, b"")


def _storage_key() -> StorageKey:
    # The generator of P-256, which is a point of the curve.
    x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    y = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    template = bytes.fromhex("0023 000b 00030472 0000 0006 0080 0043 0010 0003 0010 0020")
    return StorageKey(1, template + bytes.fromhex(x) + b"\0\x20" + bytes.fromhex(y))


def credential(directory: Path) -> object:
    """A credential that is too short for a key."""
    with tempfile.TemporaryDirectory() as given:
        path = os.path.join(given, "notes")
        with open(path, "wb") as file:
            file.write(SECRET.encode())
        os.chmod(path, 0o400)
        before = os.environ.get("CREDENTIALS_DIRECTORY")
        os.environ["CREDENTIALS_DIRECTORY"] = given
        try:
            return write(directory, SystemdCredential("notes"))
        finally:
            if before is None:
                del os.environ["CREDENTIALS_DIRECTORY"]
            else:
                os.environ["CREDENTIALS_DIRECTORY"] = before


def wrong_item(_directory: Path) -> object:
    """An item of the other store that is no key."""
    store = MemoryStore(MemoryOptions())
    slot = Slot(
        slot_id=bytes(4), kind="store-item", label="", salt=b"", wrapped=b"",
        extra={"store": b"memory"},
    )  # fmt: skip
    name = ItemName("tokenkeep.vault", f"{VAULT_ID.hex()}.{slot.id.hex()}")
    store.write(name, Secret(SECRET), Call())
    return StoreItemKey(store).opener(VAULT_ID, Call())(slot)


def locked_store(directory: Path) -> object:
    """A store that locks itself between writing and reading back."""
    return write(directory, StoreItemKey(Failing(MemoryOptions())))


def not_text(_directory: Path) -> object:
    """A PIN with a lone surrogate."""
    return TpmKey(auth=SECRET + "\ud800")


def sealing_by_windows(_directory: Path) -> object:
    """A value for DPAPI where there is none."""
    return dpapi.protect(Secret(SECRET))


CASES = [
    Case("vault key: DPAPI, not on Windows", sealing_by_windows),
    Case("vault key: PIN, TPM failed", pin(0x101)),
    Case("vault key: PIN, TPM locked out", pin(0x921)),
    Case("vault key: PIN, TPM busy", pin(0x922)),
    Case("vault key: PIN, no TPM", lambda d: write(d, TpmKey(auth=SECRET, device="/dev/none"))),
    Case("vault key: PIN that is no text", not_text),
    Case("vault key: PCR that is none", lambda _d: TpmKey((99,), auth=SECRET)),
    Case("vault key: sealing refused", sealing),
    Case("vault key: unsealing refused", unsealing),
    Case("vault key: credential too short", credential),
    Case("vault key: item that is no key", wrong_item),
    Case("vault key: item's store locked", locked_store),
]
