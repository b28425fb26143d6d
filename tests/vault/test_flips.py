"""One damaged byte anywhere: the right answer or a typed error, never a wrong value or absence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.backends.vault import VaultStore
from tokenkeep.errors import SecretDamaged, StoreUnavailable, TokenkeepError
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.format import Header
from tokenkeep.vault.rekey import rekey
from vault.places import SERVICE, call, item, open_store, open_vault, record

ITEMS = {item(f"n{number}"): f"value {number}" for number in range(6)}
ABSENT = item("absent")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with a few items, all of it in the database."""
    directory = tmp_path_factory.mktemp("flips")
    store = open_store(directory)
    for name, text in ITEMS.items():
        store.write(name, Secret(text), call())
    store.write(ItemName("org.example.other", "n0"), Secret("other"), call())
    store.write(record("alice"), Secret("record"), call())
    assert not store.erase("org.example.none", call())
    store.close()
    return directory


class Answers:
    """What a vault says to every question that there is.

    Attributes:
        wrong: what it said that is neither right nor an error.
        refused: the questions that it answered with an error.
    """

    def __init__(self, directory: Path) -> None:
        self.wrong: list[str] = []
        self.refused: set[str] = set()
        self.asked = 0
        store = open_store(directory)
        for name, text in [*ITEMS.items(), (record("alice"), "record"), (ABSENT, None)]:
            value = None if text is None else Secret(text)
            self._ask(f"read {name}", value, partial(store.read, name, call()))
            self._ask(f"contains {name}", text is not None, partial(store.contains, name, call()))
        everything = sorted([*ITEMS, record("alice")])
        self._ask("names", everything, lambda: store.names(SERVICE, call()))
        store.close()

    def _ask(self, question: str, right: object, answer: Callable[[], object]) -> None:
        self.asked += 1
        try:
            if answer() != right:
                self.wrong.append(question)
        except TokenkeepError:
            self.refused.add(question)


def is_whole(directory: Path) -> bool:
    """Whether every question is answered, and rightly."""
    answers = Answers(directory)
    return not (answers.wrong or answers.refused)


def concerns(place: Path, content: bytes) -> dict[range, set[str]]:
    """Which bytes of the database are one item's alone, and which questions need them."""
    vault = open_vault(place)
    engine, keys = vault.opened(call())
    found = {}
    for place_a, sealed_name, sealed in engine.rows(
        call(), "SELECT place_a, name, envelope FROM item"
    ):
        name = keys.open_name(place_a, sealed_name)
        is_asked = name.service == SERVICE
        for part, questions in ((sealed_name, {"names"}), (sealed, {f"read {name}"})):
            at = content.index(part)
            found[range(at, at + len(part))] = questions if is_asked else set()
    vault.close()
    return found


def flips(content: bytes, every: int) -> Iterator[tuple[int, bytes]]:
    """Each `every`-th byte that is not zero, and a few of the zeros, with other bits."""
    seen = 0
    for at, byte in enumerate(content):
        if byte == 0 and at % 97:
            continue
        seen += 1
        if seen % every == 0:
            mask = (0x01, 0x80, 0xFF, 0x10)[seen // every % 4]
            yield at, content[:at] + bytes([byte ^ mask]) + content[at + 1 :]


def walk(place: Path, every: int) -> int:
    """Flips bytes one by one; what one item's byte says concerns no other question."""
    path = place / "vault" / "vault.db"
    whole = path.read_bytes()
    needed = concerns(place, whole)
    count = asked = refused = alone = 0
    try:
        for at, spoilt in flips(whole, every):
            path.write_bytes(spoilt)
            for side in ("vault.db-wal", "vault.db-shm"):
                (place / "vault" / side).unlink(missing_ok=True)
            answers = Answers(place)
            assert [] == answers.wrong, f"byte {at}"
            for where, questions in needed.items():
                if at in where:
                    assert questions == answers.refused, f"byte {at}"
                    alone += 1
            count += 1
            asked += answers.asked
            refused += len(answers.refused)
    finally:
        path.write_bytes(whole)
        for side in ("vault.db-wal", "vault.db-shm"):
            (place / "vault" / side).unlink(missing_ok=True)
    assert is_whole(place)
    assert alone > count / 4
    assert refused < asked / 2
    return count


def test_flipped_byte_of_the_database(place: Path) -> None:
    """A sample of all bytes."""
    assert walk(place, 13) > 100


@pytest.mark.parametrize(
    "change",
    [
        lambda store: [store.write(item(name), Secret("x"), call()) for name in ("n0", "new")],
        lambda store: store.replace(item("n1"), Secret("value 1"), Secret("x"), call()),
        lambda store: [store.delete(name, call()) for name in ITEMS],
        lambda store: store.erase(SERVICE, call()),
    ],
    ids=["write", "replace", "delete", "erase"],
)
def test_change_in_a_damaged_database_is_made_or_a_typed_error(
    place: Path, change: Callable[[VaultStore], object]
) -> None:
    """Damage that shows only within a transaction is still called damage."""
    path = place / "vault" / "vault.db"
    whole = path.read_bytes()
    outcomes = set()
    try:
        for _at, spoilt in flips(whole, 29):
            path.write_bytes(spoilt)
            store = open_store(place)
            try:
                change(store)
                outcomes.add("made")
            except TokenkeepError:
                outcomes.add("damaged")
            finally:
                store.close()
                for side in ("vault.db-wal", "vault.db-shm"):
                    (place / "vault" / side).unlink(missing_ok=True)
    finally:
        path.write_bytes(whole)
    assert {"made", "damaged"} == outcomes
    assert is_whole(place)


@pytest.mark.load
def test_every_flipped_byte_of_the_database(place: Path) -> None:
    """All bytes that say something."""
    assert walk(place, 1) > 2000


@pytest.mark.parametrize("name", ["vault/header", "key"])
def test_every_flipped_byte_of_header_and_key_file(place: Path, name: str) -> None:
    """All of them are typed errors for every verb, and nothing is made or changed."""
    path = place / name
    whole = path.read_bytes()
    try:
        for at in range(len(whole)):
            for mask in (0x01, 0x80):
                path.write_bytes(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
                store = open_store(place)
                with pytest.raises(SecretDamaged):
                    store.read(item("n0"), call())
                with pytest.raises(SecretDamaged):
                    store.write(item("n0"), Secret("x"), call())
                store.close()
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            store = open_store(place)
            with pytest.raises((SecretDamaged, StoreUnavailable)):
                store.read(item("n0"), call())
            store.close()
    finally:
        path.write_bytes(whole)
    assert is_whole(place)


def test_rewriting_a_damaged_item_keeps_it_in_quarantine(place: Path) -> None:
    """Whatever byte of its row is damaged, writing heals it or says why not."""
    store = open_store(place)
    engine, keys = open_vault(place).opened(call())
    from tokenkeep.vault.envelope import subject

    number = keys.finder.place(SERVICE, subject(item("n0")))[0]
    columns = ("place_b", "envelope", "name")
    for column in columns:
        engine_row = engine.row(call(), f"SELECT {column} FROM item WHERE place_a = ?", (number,))
        whole = engine_row[0]
        spoilt = whole[:-1] + bytes([whole[-1] ^ 1])
        open_vault(place).transaction(
            call(),
            lambda connection, _keys, column=column, spoilt=spoilt: connection.execute(
                f"UPDATE item SET {column} = ? WHERE place_a = ?", (spoilt, number)
            ),
        )
        again = open_store(place)  # who just wrote the item looks again after a minute
        again.write(item("n0"), Secret("value 0"), call())
        again.close()
        assert is_whole(place)
    kept = engine.row(call(), "SELECT count(*) FROM quarantine")
    assert kept == (2,)  # a name that does not open says nothing about the value
    store.delete(item("n0"), call())
    assert engine.row(call(), "SELECT count(*) FROM quarantine") == (0,)
    store.write(item("n0"), Secret("value 0"), call())
    engine.close()
    store.erase("org.example.none", call())
    store.close()


@given(st.binary(max_size=400))
def test_header_of_arbitrary_bytes(data: bytes) -> None:
    """Never anything but a header or a typed error."""
    for content in (data, b"tokenkeep vault\n" + data):
        with pytest.raises(SecretDamaged):
            Header.decode(content)


@given(st.dictionaries(st.sampled_from(
    ["format", "vault-id", "least-reader", "least-writer", "generation", "current-key", "keys",
     "slots", "previous-root", "rekeying", "other"]), st.binary(max_size=40)))  # fmt: skip
def test_header_of_arbitrary_fields(known: dict[str, bytes]) -> None:
    """A right checksum around wrong fields is still a typed error, or they can be written again."""
    from tokenkeep.vault.upgrade import encode_fields

    try:
        Header.decode(encode_fields(known)).encode()
    except SecretDamaged:
        pass


def test_rekey_of_the_flipped_place_still_works(place: Path) -> None:
    """The walk left nothing behind that a rekey stumbles over."""
    report = rekey(open_vault(place), call)
    assert report.damaged == 0
    assert is_whole(place)


def test_flipped_byte_of_an_inner_page(tmp_path: Path) -> None:
    """In a vault of many items a damaged pointer hides none of them from a read."""
    names = [item(f"n{number}") for number in range(150)]
    store = open_store(tmp_path)
    for name in names:
        store.write(name, Secret(name.name), call())
    store.erase("org.example.none", call())
    store.close()
    path = tmp_path / "vault" / "vault.db"
    whole = path.read_bytes()
    count = answered = 0
    for page in range(4096, len(whole), 4096):
        if whole[page] not in (2, 5):  # inner pages of an index, of a table
            continue
        for at, spoilt in flips(whole[page : page + 4096], 2):
            path.write_bytes(whole[:page] + spoilt + whole[page + 4096 :])
            for side in ("vault.db-wal", "vault.db-shm"):
                (tmp_path / "vault" / side).unlink(missing_ok=True)
            store = open_store(tmp_path)
            for name in names:
                try:
                    found = store.read(name, call())
                    assert found is not None, (page, at, name)
                    assert name.name == found.reveal()
                    answered += 1
                except TokenkeepError:
                    pass
            try:
                assert sorted(names) == store.names(SERVICE, call()), (page, at)
            except TokenkeepError:
                pass
            store.close()
            count += 1
    assert count > 20
    assert answered > count * len(names) * 3 / 4
