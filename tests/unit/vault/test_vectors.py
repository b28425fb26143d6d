"""The vectors of the vault's format: each opens, or fails in the one way that it says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.backends.store_item import StoreItemKey
from tokenkeep.backends.systemd_credential import SystemdCredential
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.errors import TokenkeepError
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import Header, Slot
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.slots import unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.vault.key import Key

VECTORS = sorted((Path(__file__).parents[2] / "vectors").glob("*.json"))


class Unsealing(TpmKey):
    """A TPM's key whose TPM is the vector: it unseals what that says."""

    def __init__(self, value: bytes) -> None:
        super().__init__()
        object.__setattr__(self, "value", Secret(value))

    def _unsealed(self, slot: Slot, pin: Secret | None, call: Call) -> Secret:
        value: Secret = self.value  # type: ignore[attr-defined]
        return value


def platform_key(case: dict[str, Any], header: Header, directory: Path) -> Key | None:
    """The key of a platform that a case names."""
    if "unsealed" in case:
        return Unsealing(bytes.fromhex(case["unsealed"]))
    if "credential" in case:
        (directory / "notes").write_bytes(bytes.fromhex(case["credential"]))
        (directory / "notes").chmod(0o400)
        os.environ["CREDENTIALS_DIRECTORY"] = str(directory)
        return SystemdCredential("notes")
    if "item" in case:
        store = MemoryStore(MemoryOptions())
        name = f"{header.vault_id.hex()}.{header.slots[0].id.hex()}"
        value = Secret(bytes.fromhex(case["item"]))
        store.write(ItemName("tokenkeep.vault", name), value, Call(60))
        return StoreItemKey(store)
    return None


def opened(case: dict[str, Any], directory: Path) -> tuple[Keys, bytes]:
    header = Header.decode(bytes.fromhex(case["header"]))
    key = platform_key(case, header, directory)
    if key is not None:
        pass
    elif case["key_file"] is not None:
        path = directory / "key"
        path.write_bytes(bytes.fromhex(case["key_file"]))
        path.chmod(0o600)
        key = KeyFile(path)
    else:
        key = Passphrase(case["passphrase"])
    keys = Keys(header, unlock(header, [key], Call(60)).root)
    name = ItemName(case["service"], case["name"], case["kind"])
    value = keys.open_value(subject(name), bytes.fromhex(case["envelope"]))
    return keys, value.reveal_bytes()


def test_there_are_vectors() -> None:
    """A folder without vectors would prove nothing."""
    assert len(VECTORS) > 30


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens to its value at its places, or raises the error with its code."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "")
    case = json.loads(path.read_text(encoding="utf-8"))
    if case["expect"] != "opens":
        with pytest.raises(TokenkeepError) as caught:
            opened(case, tmp_path)
        assert case["expect"] == caught.value.code
        return
    keys, value = opened(case, tmp_path)
    assert case["value"] == value.hex()
    name = ItemName(case["service"], case["name"], case["kind"])
    places = keys.finder.place(name.service, subject(name))
    assert (case["place_a"], case["place_b"]) == (places[0].hex(), places[1].hex())
    assert name == keys.open_name(places[0], bytes.fromhex(case["sealed_name"]))
