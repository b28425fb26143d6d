"""Wrong content behind right checksums and right keys: the right answer, or a word of the page.

A slot, a key file, a header, an envelope or a row that no writer of ours would have written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep import fields
from tokenkeep.crypto import Cipher, checksum, derive
from tokenkeep.errors import StoreUnavailable
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import envelope, quarantine
from tokenkeep.vault.check import check
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import (
    HEADER_MAGIC,
    KEY_FILE_MAGIC,
    Header,
    encode_key_file,
    header_fields,
    open_file,
)
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.slots import unlock
from vault.fuzzing import (
    ABSENT,
    ITEMS,
    WORDS,
    Place,
    Word,
    answer,
    by_page,
    bytes_near,
    changed,
    packed,
    sealed,
    value_in,
)
from vault.places import (
    SERVICE,
    call,
    item,
    key_file,
    open_store,
    open_vault,
)

#: Under --fuzz one of them takes many minutes on a busy machine.
pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Restored by each example that changed it."""
    return Place(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module", autouse=True)
def whole_again(place: Place) -> Iterator[None]:
    """What was restored is right again: no example leaves anything behind."""
    assert place.require_right_or_typed() == set()
    yield
    place.restore()
    assert place.require_right_or_typed() == set()


def slots_of(place: Place) -> dict[str, dict[str, bytes]]:
    blobs = fields.unpack(header_fields(place.bytes[place.header])["slots"])
    return {slot_id: fields.unpack(blob[:-16]) for slot_id, blob in blobs.items()}


@given(st.data())
def test_slot_behind_a_right_checksum(place: Place, data: st.DataObject) -> None:
    """Any field changed: the value by this slot or the other one, or a word; written as it was."""
    known = slots_of(place)
    blobs = {}
    spoilt = data.draw(st.sampled_from(sorted(known)))
    for slot_id, slot in known.items():
        body = fields.pack(slot)
        if slot_id == spoilt:
            body = packed(data.draw(changed(slot)))
        blobs[slot_id] = body + checksum(body)[:16]
    if data.draw(st.booleans()):
        blobs = {spoilt: blobs[spoilt]}
    outer = {**header_fields(place.bytes[place.header]), "slots": fields.pack(blobs)}
    whole = sealed(HEADER_MAGIC, fields.pack(outer))
    header = Header.decode(whole)
    assert whole == header.encode()
    for key in place.keys:

        def look(key: Any = key) -> bytes:
            keys = Keys(header, unlock(header, [key], call()).root)
            row = place_row(place, item("a"))
            return keys.open_value(subject(item("a")), row["envelope"]).reveal_bytes()

        found = answer(look)
        assert found in (ITEMS[item("a")], "wrong-key", "vault-damaged")
        assert found == by_page(whole, place.page_key(key), place_row(place, item("a")), item("a"))
    try:
        place.with_header(whole)
        place.require_right_or_typed()
    finally:
        place.restore()


@given(st.data())
def test_wrapped_keys_of_any_content(place: Place, data: st.DataObject) -> None:
    """What the right key opens to something that is no key is damage."""
    header, root, vault_id = place.decoded, place.opened.root, place.opened.vault_id
    content = data.draw(st.binary(max_size=80))
    wrapping = Cipher(derive(root, b"tk wrap"))
    which = data.draw(st.sampled_from(["dek", "previous", "root"]))
    changes: dict[str, Any] = {}
    if which == "dek":
        about = fields.join(b"tokenkeep dek", vault_id, header.current_key)
        changes["wrapped_keys"] = {header.current_key: wrapping.seal(Secret(content), about)}
    elif which == "previous":
        about = fields.join(b"tokenkeep previous root", vault_id)
        changes["previous_root"] = wrapping.seal(Secret(content), about)
    else:
        (slot,) = [slot for slot in header.slots if slot.kind == "passphrase"]
        kek = Passphrase("correct horse").opener(vault_id, call())(slot)
        assert kek is not None
        about = fields.join(b"tokenkeep slot", vault_id, slot.id, slot.kind.encode(), slot.salt)
        slot.wrapped = Cipher(kek).seal(Secret(content), about)
        changes["slots"] = (slot,)
    if len(content) == 32:
        return
    try:
        place.with_header(header.following(**changes).encode())
        assert {"vault-damaged"} == place.require_right_or_typed()
    finally:
        place.restore()


@given(st.data())
def test_header_behind_a_right_checksum(place: Place, data: st.DataObject) -> None:
    """Any field of it changed, or of its maps of keys and slots."""
    known = header_fields(place.bytes[place.header])
    if data.draw(st.booleans()):
        known = header_fields(place.moving.encode())
    inner = data.draw(st.sampled_from([None, "keys", "slots"]))
    if inner is None:
        body = packed(data.draw(changed(known)))
    else:
        pairs = data.draw(changed(fields.unpack(known[inner])))
        body = fields.pack({**known, inner: packed(pairs)})
    try:
        whole = sealed(HEADER_MAGIC, body)
        place.with_header(whole)
        decoded = answer(lambda: Header.decode(whole))
        assert isinstance(decoded, Word) or whole == decoded.encode()
        row = place_row(place, item("a"))
        for key in place.keys:

            def look(key: Any = key) -> bytes:
                header = Header.decode(whole)
                keys = Keys(header, unlock(header, [key], call()).root)
                return keys.open_value(subject(item("a")), row["envelope"]).reveal_bytes()

            assert answer(look) == by_page(whole, place.page_key(key), row, item("a"))
        place.require_right_or_typed()
    finally:
        place.restore()


@given(st.data())
def test_key_file_behind_a_right_checksum(place: Place, data: st.DataObject) -> None:
    """The key that it was, or the wrong key."""
    path = place.directory / "key"
    whole = path.read_bytes()
    known = open_file(KEY_FILE_MAGIC, whole)
    assert known is not None
    try:
        path.write_bytes(sealed(KEY_FILE_MAGIC, packed(data.draw(changed(known)))))
        with closing(open_store(place.directory)) as store:
            found = answer(lambda: value_in(store, item("a")))
        assert found in (ITEMS[item("a")], "wrong-key")
        header, row = place.bytes[place.header], place_row(place, item("a"))
        assert found == by_page(header, place.page_key(place.keys[0]), row, item("a"))
    finally:
        path.write_bytes(whole)


def test_key_file_that_is_too_large_is_no_key_file(place: Place) -> None:
    """Nor is memory taken for it."""
    path = place.directory / "large"
    extra = {"more": bytes(5000)}
    path.write_bytes(encode_key_file(Secret(bytes(32)), b"", extra).reveal_bytes())
    path.chmod(0o600)
    with closing(open_store(place.directory, key_file(place.directory, "large"))) as store:
        assert answer(lambda: value_in(store, item("a"))) == "wrong-key"


def place_row(place: Place, name: ItemName) -> dict[str, bytes]:
    place_a = place.opened.finder.place(name.service, subject(name))[0]
    with closing(sqlite3.connect(place.database)) as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM item WHERE place_a = ?", (place_a,)).fetchone()
    return dict(row)


def alter(place: Place, statement: str, values: tuple[object, ...], *, loose: bool) -> None:
    """Changes the database as no writer does; `loose` takes values of any type."""
    with closing(sqlite3.connect(place.database, isolation_level=None)) as connection:
        if loose:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_schema SET sql = replace(replace(replace(sql, 'STRICT,', ''),"
                " 'STRICT', ''), 'NOT NULL', '') WHERE type = 'table'"
            )
            connection.execute("PRAGMA writable_schema = RESET")
        try:
            connection.execute(statement, values)
        except sqlite3.IntegrityError:
            pass  # what SQLite itself refuses nobody finds there


@pytest.mark.parametrize(
    ("column", "value"),
    [("place_b", None), ("place_a", b""), ("place_a", "text"), ("place_a", -1), ("name", None)],
)
def test_item_whose_row_lost_something_is_damaged(place: Place, column: str, value: object) -> None:
    """Not absent, whichever of its places or its name is gone; and a check finds it."""
    row = place_row(place, item("a"))
    try:
        alter(place, f"UPDATE item SET {column} = ? WHERE place_a = ?", (value, row["place_a"]),
              loose=True)  # fmt: skip
        assert "secret-damaged" in place.require_right_or_typed()
        with closing(open_store(place.directory)) as store:
            if column != "name":  # which a read by name does not need
                assert answer(lambda: value_in(store, item("a"))) == "secret-damaged"
            assert answer(lambda: store.names(SERVICE, call())) == "secret-damaged"
    finally:
        place.restore()


def values_near(value: bytes | int) -> st.SearchStrategy[tuple[object, bool]]:
    """Another value of the same type; or of any type, which needs a loose table."""
    same: st.SearchStrategy[object]
    if isinstance(value, bytes):
        same = bytes_near(value)
    else:
        same = st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 3)
    others = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8)
    return st.tuples(same, st.just(False)) | st.tuples(others, st.just(True))


@given(st.data())
def test_any_column_of_any_row(place: Place, data: st.DataObject) -> None:
    """One value of the database is another one: no item that is there is absent."""
    with closing(sqlite3.connect(place.database)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [(table, dict(row)) for table in ("item", "state", "quarantine")
                for row in connection.execute(f"SELECT * FROM {table}")]  # fmt: skip
    table, row = data.draw(st.sampled_from(rows))
    column = data.draw(st.sampled_from(sorted(row)))
    value, loose = data.draw(values_near(row[column]))
    key = next(iter(row))
    try:
        alter(place, f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, row[key]),
              loose=loose)  # fmt: skip
        words = place.require_right_or_typed()
        if column != "generation":
            assert words <= {"secret-damaged", "vault-damaged", "format-unsupported"}
        place.require_writes_to_count()
    finally:
        place.restore()


@given(st.data())
def test_envelope_of_the_right_key(place: Place, data: st.DataObject) -> None:
    """Sealed by who has the key, with other content, for another use, or by a newer version."""
    name = data.draw(st.sampled_from(sorted(ITEMS)))
    other = data.draw(st.sampled_from(sorted({*ITEMS, ABSENT} - {name})))
    row, keys = place_row(place, name), place.opened
    what, place_a = subject(name), row["place_a"]
    texts = st.binary(max_size=60) | bytes_near(what) | st.just(subject(other))
    column, value = data.draw(
        st.tuples(st.just("name"), texts.map(
            lambda text: keys.sealer.seal(envelope.NAME, place_a, Secret(text))))
        | st.tuples(st.just("name"), st.sampled_from([envelope.VALUE, envelope.QUARANTINE]).map(
            lambda kind: keys.sealer.seal(kind, place_a, Secret(what))))
        | st.tuples(st.just("envelope"), st.sampled_from([
            keys.seal_value(subject(other), Secret(b"x")), keys.seal_name(place_a, what),
            keys.sealer.seal(envelope.QUARANTINE, what, Secret(b"x"))]))
        | st.tuples(st.sampled_from(["name", "envelope"]), st.integers(2, 255)).map(
            lambda each: (each[0], bytes([each[1]]) + row[each[0]][1:]))
    )  # fmt: skip
    try:
        alter(place, f"UPDATE item SET {column} = ? WHERE place_a = ?", (value, place_a),
              loose=False)  # fmt: skip
        assert place.require_right_or_typed() <= {"secret-damaged", "format-unsupported"}
        place.require_writes_to_count()
    finally:
        place.restore()


@given(st.data())
def test_quarantine_of_the_right_key(place: Place, data: st.DataObject) -> None:
    """An entry of any content is listed as one that does not open; everything else goes on."""
    columns = {"place_a": bytes(24), "place_b": bytes(24), "name": b"", "envelope": bytes(40)}
    content = data.draw(changed(columns).map(packed) | st.binary(max_size=60))
    kept = place.opened.seal_quarantined(Secret(content))
    try:
        alter(place, "UPDATE quarantine SET kept = ?", (kept,), loose=False)
        assert place.require_right_or_typed() == set()
        with closing(open_vault(place.directory, *place.keys)) as vault:
            (entry,) = quarantine.entries(vault, call())
            assert entry.problem is not None
            assert entry.problem.code in WORDS
            answer(lambda: quarantine.restore(vault, entry.number, call(), replace=True))
        place.require_writes_to_count()
    finally:
        place.restore()


def test_missing_vault_is_not_among_the_words(tmp_path: Path) -> None:
    """What is not there is neither damaged nor wrong."""
    with pytest.raises(StoreUnavailable) as caught:
        check(open_vault(tmp_path), call)
    assert caught.value.code not in WORDS
