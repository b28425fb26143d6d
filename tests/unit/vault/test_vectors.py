"""The vectors of the vault's format: each opens, or fails in the one way that it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenkeep.errors import TokenkeepError
from tokenkeep.item import Call, ItemName
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import Header
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.slots import KeyFile, Passphrase, unlock

VECTORS = sorted((Path(__file__).parents[2] / "vectors").glob("*.json"))


def opened(case: dict[str, Any], directory: Path) -> tuple[Keys, bytes]:
    header = Header.decode(bytes.fromhex(case["header"]))
    key: KeyFile | Passphrase
    if case["key_file"] is not None:
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
def test_vector(path: Path, tmp_path: Path) -> None:
    """It opens to its value at its places, or raises the error with its code."""
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
