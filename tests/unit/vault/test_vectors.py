"""The vectors of the vault's format: each opens, or fails in the one way that it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tokenkeep.backends.dpapi import DpapiKey
from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.backends.store_item import StoreItemKey
from tokenkeep.backends.systemd_credential import SystemdCredential
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.errors import SecretDamaged, TokenkeepError
from tokenkeep.item import Call, ItemName
from tokenkeep.native import dpapi
from tokenkeep.secret import Secret
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import Header, Slot
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.quarantine import columns_of
from tokenkeep.vault.slots import unlock
from tokenkeep.vault.transfer import import_items
from tokenkeep.vault.vault import Vault

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
    if "tpm2" in case:
        return Unsealing(bytes.fromhex(case["tpm2"]))
    if "dpapi" in case:
        return DpapiKey()
    if "systemd-credential" in case:
        (directory / "notes").write_bytes(bytes.fromhex(case["systemd-credential"]))
        (directory / "notes").chmod(0o400)
        os.environ["CREDENTIALS_DIRECTORY"] = str(directory)
        return SystemdCredential("notes")
    if "store-item" in case:
        store = MemoryStore(MemoryOptions())
        name = f"{header.vault_id.hex()}.{header.slots[0].id.hex()}"
        value = Secret(bytes.fromhex(case["store-item"]))
        store.write(ItemName("tokenkeep.vault", name), value, Call(60))
        return StoreItemKey(store)
    return None


def opened(case: dict[str, Any], directory: Path) -> tuple[Keys, dict[str, Any]]:
    """The keys, and what the vault of a case holds, in the words of the case."""
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
    found: dict[str, Any] = {"value": value.reveal_bytes().hex()}
    if "kept" in case:
        columns = columns_of(keys.open_quarantined(bytes.fromhex(case["kept"])))
        found["columns"] = {name: column.hex() for name, column in columns.items()}
    for finder, before in zip(reversed(keys.finders()), ("", "previous_"), strict=False):
        for which, place in zip("ab", finder.place(name.service, subject(name)), strict=True):
            found[f"{before}place_{which}"] = place.hex()
    return keys, found


def imported(case: dict[str, Any], directory: Path) -> list[list[str]]:
    """The items of a case's export, by way of a vault."""
    path = directory / "items"
    path.write_bytes(bytes.fromhex(case["export"]))
    vault = Vault(str(directory / "vault"), (KeyFile(directory / "key"),), create=True)
    try:
        names = import_items(vault, str(path), Passphrase(case["passphrase"]), Call(60)).items
        found = [(name, vault.read(name, Call(60))) for name in names]
        return [[n.service, n.name, v.reveal_bytes().hex()] for n, v in found if v is not None]
    finally:
        vault.close()


def test_there_are_vectors() -> None:
    """A folder without vectors would prove nothing."""
    assert len(VECTORS) > 70


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens to what it says, or raises the error with its code."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "")
    case = json.loads(path.read_text(encoding="utf-8"))
    if "dpapi" in case:
        key = bytes.fromhex(case["dpapi"])
        monkeypatch.setattr(dpapi, "unprotect", lambda _sealed, _entropy: Secret(key))
    if case["expect"] != "opens":
        with pytest.raises(TokenkeepError) as caught:
            imported(case, tmp_path) if "export" in case else opened(case, tmp_path)
        assert case["expect"] == caught.value.code
        return
    if "export" in case:
        assert case["items"] == imported(case, tmp_path)
        return
    keys, found = opened(case, tmp_path)
    assert {name: case[name] for name in found} == found
    assert found.keys() >= {name for name in case if "place" in name or name == "columns"}
    name = ItemName(case["service"], case["name"], case["kind"])
    place_a = bytes.fromhex(case["place_a"])
    assert name == keys.open_name(place_a, bytes.fromhex(case["sealed_name"]))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_header_is_written_again_as_it_was_read(path: Path) -> None:
    """Unknown fields, unknown kinds of slots and damaged slots survive a change of the header."""
    data = bytes.fromhex(json.loads(path.read_text(encoding="utf-8")).get("header", ""))
    try:
        header = Header.decode(data)
    except SecretDamaged:
        return
    assert data == header.encode()
    assert data != header.following().encode()


def test_script_writes_exactly_these_files(tmp_path: Path) -> None:
    """What lies here is what the script writes: a vector is never changed by hand or left over."""
    script = VECTORS[0].with_name("write.py")
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=120)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in VECTORS}
