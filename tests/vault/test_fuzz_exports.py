"""Exports with wrong content behind right checksums and right keys: all items, or a word."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep import fields
from tokenkeep.crypto import Cipher, argon2id
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import transfer
from vault.fuzzing import (
    Pairs,
    Word,
    answer,
    bytes_near,
    changed,
    packed,
    sealed,
)
from vault.places import (
    CHEAP,
    call,
    item,
    open_store,
    open_vault,
    passphrase,
)
from vectors import independent

#: Under --fuzz one of them takes many minutes on a busy machine.
pytestmark = pytest.mark.timeout(3600)

EXPORT_ID, SALT = bytes(range(16)), bytes(16)
EXPORT_HEAD = {
    "format": b"\0\1", "id": EXPORT_ID, "salt": SALT, "memory-kib": (64).to_bytes(4, "big"),
    "passes": (1).to_bytes(4, "big"), "lanes": (1).to_bytes(4, "big"),
}  # fmt: skip
EXPORTED = [{"service": b"org.example", "name": name, "value": b"value " + name}
            for name in (b"one", b"two", b"three")]  # fmt: skip


def export_of(head: bytes, contents: list[bytes]) -> list[bytes]:
    """The parts of an export: magic and header, then each record."""
    cipher = Cipher(argon2id(Secret("correct horse"), SALT, CHEAP))

    def sealed_record(number: int, content: bytes) -> bytes:
        about = fields.join(b"tokenkeep export record", EXPORT_ID, number.to_bytes(8, "big"))
        return fields.join(cipher.seal(Secret(content), about))

    parts = [transfer.EXPORT_MAGIC + fields.join(sealed(transfer.EXPORT_MAGIC, head))]
    parts += [sealed_record(number, content) for number, content in enumerate(contents, 1)]
    return [*parts, sealed_record(0, len(contents).to_bytes(8, "big"))]


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a vault takes whatever an export gives."""
    directory = tmp_path_factory.mktemp("imports")
    with closing(open_store(directory)) as store:
        store.write(item("a"), Secret(b"value a"), call())
    return directory


def imported(directory: Path, data: bytes) -> Any:
    """The names that an import wrote, or a word; nothing is written where it fails."""
    path = directory / "items"
    path.write_bytes(data)
    with closing(open_vault(directory)) as vault:
        before = vault.version(call())
        found = answer(lambda: transfer.import_items(
            vault, str(path), passphrase(), call(), existing=transfer.REPLACE).items)  # fmt: skip
        if isinstance(found, Word):
            assert before == vault.version(call())
    return found


def export_by_page(data: bytes) -> str:
    """What the other program's reader says of an export."""
    return independent.verdict({"export": data.hex(), "passphrase": "correct horse"})[0]


NAMES = [ItemName("org.example", name) for name in ("one", "two", "three")]
CONTENTS = [fields.pack(each) for each in EXPORTED]


@given(changed(EXPORT_HEAD))
def test_export_header_behind_a_right_checksum(imports: Path, pairs: Pairs) -> None:
    """All items, or a word: costs and salts beyond their bounds included."""
    whole = b"".join(export_of(packed(pairs), CONTENTS))
    found = imported(imports, whole)
    assert found == NAMES or isinstance(found, Word)
    assert (found if isinstance(found, Word) else "opens") == export_by_page(whole)


@given(st.data())
def test_export_record_of_the_right_key(imports: Path, data: st.DataObject) -> None:
    """A record whose content is no item is damage; the others are not taken without it."""
    at = data.draw(st.integers(0, 2))
    content = data.draw(changed(EXPORTED[at]).map(packed) | st.binary(max_size=40))
    contents = [*CONTENTS[:at], content, *CONTENTS[at + 1 :]]
    found = imported(imports, b"".join(export_of(fields.pack(EXPORT_HEAD), contents)))
    assert found == "vault-damaged" or len(found) == 3


@given(st.data())
def test_export_whose_parts_are_moved(imports: Path, data: st.DataObject) -> None:
    """Cut off, longer, swapped, repeated or left out: only the whole file is taken."""
    parts = export_of(fields.pack(EXPORT_HEAD), CONTENTS)
    whole = b"".join(parts)
    order = data.draw(st.lists(st.integers(0, len(parts) - 1), max_size=6))
    spoilt = data.draw(st.just(b"".join(parts[each] for each in order)) | bytes_near(whole))
    found = imported(imports, spoilt)
    assert (found if isinstance(found, Word) else "opens") == export_by_page(spoilt)
    assert (found == NAMES) if spoilt == whole else isinstance(found, Word)
