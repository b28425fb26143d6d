"""Wrong content behind right checksums and right keys: the right answer, or a word of the page.

Damage by accident ends at a checksum. What is tried here gets past it: a slot, a key file, a
header, an envelope, a row or an export that is whole and that no writer of ours would have written.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep import fields
from tokenkeep.backends.vault import VaultStore
from tokenkeep.crypto import Cipher, argon2id, checksum, derive
from tokenkeep.errors import StoreError, StoreUnavailable, TokenkeepError
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import envelope, quarantine, transfer
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
from tokenkeep.vault.keys import Keys, wrap_previous_root
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.slots import unlock
from vault.places import (
    CHEAP,
    SERVICE,
    call,
    item,
    key_file,
    open_store,
    open_vault,
    passphrase,
    record,
)
from vectors import independent

#: The words of the format's page, "How it fails".
WORDS = {"not-a-vault", "format-unsupported", "vault-damaged", "wrong-key", "secret-damaged"}
#: Under --fuzz one of them takes many minutes on a busy machine.
pytestmark = pytest.mark.timeout(3600)
#: Far more than anything here takes on a busy machine.
SECONDS = 20.0
ITEMS = {item("a"): b"value a", item("b"): b"", record("alice"): b"a record"}
ABSENT = item("absent")

#: At and beyond each bound of Argon2id's parameters, and none that is allowed and costs much.
COSTS = {
    "memory-kib": (0, 7, 8, 64, 1024, (1 << 20) + 1, (1 << 32) - 1, 1 << 39),
    "passes": (0, 1, 64, 65, (1 << 32) - 1, 1 << 39),
    "lanes": (0, 1, 8, 16, 17, (1 << 24) + 1, 1 << 39),
}
Pairs = list[tuple[bytes, bytes]]


def packed(pairs: Pairs) -> bytes:
    """As `fields.pack`, of fields that may be repeated and out of order."""
    return b"".join(
        len(name).to_bytes(2, "big") + name + len(value).to_bytes(4, "big") + value
        for name, value in pairs
    )


def sealed(magic: bytes, body: bytes) -> bytes:
    """A file whose checksum is right."""
    return (whole := magic + body) + checksum(whole)


@st.composite
def bytes_near(draw: st.DrawFn, value: bytes) -> bytes:
    """Some bytes cut off, added, flipped, or all of them other ones."""
    how = draw(st.sampled_from(["cut", "longer", "flip", "other", "zero", "empty"]))
    if how == "cut":
        return value[: draw(st.integers(0, max(0, len(value) - 1)))]
    if how == "longer":
        return value + draw(st.binary(min_size=1, max_size=20))
    if how == "flip" and value:
        at = draw(st.integers(0, len(value) - 1))
        return value[:at] + bytes([value[at] ^ 1 << draw(st.integers(0, 7))]) + value[at + 1 :]
    if how == "other":
        return draw(st.binary(max_size=2 * len(value) + 2))
    return bytes(len(value)) if how == "zero" else b""


@st.composite
def changed(draw: st.DrawFn, known: dict[str, bytes]) -> Pairs:
    """The fields with one or two of them changed, missing, repeated, renamed, moved or added."""
    pairs = [(name.encode(), value) for name, value in sorted(known.items())]
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(pairs) - 1)) if pairs else 0
        name, value = pairs[at] if pairs else (b"a", b"")
        how = draw(st.sampled_from(["value", "value", "value", "drop", "twice", "move", "rename",
                                    "add"]))  # fmt: skip
        if how == "value" and name.decode("utf-8", "replace") in COSTS:
            cost = draw(st.sampled_from(COSTS[name.decode()]))
            pairs[at : at + 1] = [(name, cost.to_bytes(max(4, (cost.bit_length() + 7) // 8)))]
        elif how == "value":
            pairs[at : at + 1] = [(name, draw(bytes_near(value)))]
        elif how == "twice":
            pairs.insert(at, (name, draw(st.sampled_from([value, b""]))))
        elif how == "rename":
            pairs[at : at + 1] = [(draw(bytes_near(name)), value)]
        elif how == "add":
            pairs = sorted([*pairs, (draw(st.binary(max_size=8)), draw(st.binary(max_size=8)))])
        else:
            del pairs[at : at + 1]
            if how == "move":
                pairs.insert(draw(st.integers(0, len(pairs))), (name, value))
    return pairs


class Word(str):
    """Why something does not open, in the page's word."""

    __slots__ = ()


def answer(look: Callable[[], Any]) -> Any:
    """What it gives, or the word for why it does not; anything else fails the test."""
    began, found, problem = time.monotonic(), None, None
    try:
        found = look()
    except TokenkeepError as exc:
        problem = exc
    assert time.monotonic() - began < SECONDS
    if problem is None:
        return found
    assert problem.code in WORDS, repr(problem)
    assert problem.hint, repr(problem)
    return Word(problem.code)


class Place:
    """A vault with a key file and a passphrase, and everything that opens it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.header = directory / "vault" / "header"
        self.database = directory / "vault" / "vault.db"
        with closing(open_store(directory, *self.keys)) as store:
            for name, value in ITEMS.items():
                store.write(name, Secret(value), call())
            vault = open_vault(directory, *self.keys)
            spoil = "UPDATE item SET envelope = zeroblob(40) WHERE place_a = ?"
            opened = vault.opened(call())[1]
            place_a = opened.finder.place(SERVICE, subject(item("b")))[0]
            vault.transaction(call(), lambda connection, _keys: connection.execute(
                spoil, (place_a,)))  # fmt: skip
            vault.close()
            store.write(item("b"), Secret(b""), call())
            assert not store.shred(call())
        self.bytes = {path: path.read_bytes() for path in (self.header, self.database)}
        self.opened = Keys(self.decoded, unlock(self.decoded, self.keys, call()).root)

    @property
    def keys(self) -> tuple[Any, ...]:
        return key_file(self.directory), passphrase()

    @property
    def moving(self) -> Header:
        """A header in the middle of a new root key that no item moved to yet, or all did."""
        root = wrap_previous_root(self.opened.root, self.opened.vault_id, self.opened.root)
        return self.decoded.following(previous_root=root, is_rekeying=True)

    def page_key(self, key: Any) -> Callable[[independent.Header], independent.Key]:
        """The same key for the other program's reader."""
        if key.kind == "passphrase":
            return lambda _header: independent.passphrase_key("correct horse")
        data = (self.directory / "key").read_bytes()
        return lambda header: independent.key_file(data, header.vault_id)

    @property
    def decoded(self) -> Header:
        return Header.decode(self.bytes[self.header])

    def with_header(self, data: bytes) -> None:
        self.header.write_bytes(data)

    def restore(self) -> None:
        for path, content in self.bytes.items():
            path.write_bytes(content)
        for side in ("vault.db-wal", "vault.db-shm"):
            (self.directory / "vault" / side).unlink(missing_ok=True)

    def require_right_or_typed(self) -> set[str]:
        """Every question to the vault has its right answer or a word; the words."""
        words = set()

        def right(expected: object, look: Callable[[], Any]) -> None:
            found = answer(look)
            if isinstance(found, Word):
                words.add(found)
            else:
                assert expected == found

        with closing(open_store(self.directory, *self.keys)) as store:
            for name, value in [*ITEMS.items(), (ABSENT, None)]:
                right(value, lambda name=name: _value(store, name))
                right(value is not None, lambda name=name: store.contains(name, call()))
            right(sorted(ITEMS), lambda: store.names(SERVICE, call()))
            answer(lambda: store.inspect(SERVICE, call()))
            answer(lambda: store.facts.protection)
        with closing(open_vault(self.directory, *self.keys)) as vault:
            answer(lambda: len(quarantine.entries(vault, call())))
            report = check(vault, call)
        for finding in report.findings:
            assert isinstance(finding.error, StoreError)
            assert finding.error.code in WORDS
        assert report.findings or not words, words
        return words

    def require_writes_to_count(self) -> None:
        """What is written anew reads right, and a new key loses none of it; or a word says why."""
        with closing(open_store(self.directory, *self.keys)) as store:
            for name, value in ITEMS.items():
                wrote = answer(lambda name=name: store.write(name, Secret(b"new"), call()))
                found = answer(lambda name=name: _value(store, name))
                assert isinstance(found, Word) or found == (value if wrote else b"new")
            with closing(open_vault(self.directory, *self.keys)) as vault:
                answer(lambda: rekey(vault, call))
            for name, value in ITEMS.items():
                found = answer(lambda name=name: _value(store, name))
                assert isinstance(found, Word) or found in (value, b"new")


def by_page(header: bytes, key: Callable[[independent.Header], independent.Key],
            row: dict[str, bytes], name: ItemName) -> object:  # fmt: skip
    """What another program's reader makes of the same: the value, or the word."""
    try:
        read = independent.Header(header)
        vault = independent.Vault(read, independent.root_key(read, key(read)))
        return vault.open(b"value", subject(name), row["envelope"])
    except independent.Failure as failure:
        return str(failure)


def _value(store: VaultStore, name: ItemName) -> bytes | None:
    found = store.read(name, call())
    return None if found is None else found.reveal_bytes()


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
            found = answer(lambda: _value(store, item("a")))
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
        assert answer(lambda: _value(store, item("a"))) == "wrong-key"


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
                assert answer(lambda: _value(store, item("a"))) == "secret-damaged"
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


def test_missing_vault_is_not_among_the_words(tmp_path: Path) -> None:
    """What is not there is neither damaged nor wrong."""
    with pytest.raises(StoreUnavailable) as caught:
        check(open_vault(tmp_path), call)
    assert caught.value.code not in WORDS
