"""What fuzzing of the vault's format has in common: content that is near the right one, and judges.

Damage by accident ends at a checksum. What is made here gets past it: whole, and such as no writer
of ours would have written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tokenkeep.backends.vault import VaultStore
from tokenkeep.crypto import checksum
from tokenkeep.errors import StoreError, TokenkeepError
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import quarantine
from tokenkeep.vault.check import check
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import (
    Header,
)
from tokenkeep.vault.keys import Keys, wrap_previous_root
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.slots import unlock
from vault.places import (
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
                right(value, lambda name=name: value_in(store, name))
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
                found = answer(lambda name=name: value_in(store, name))
                assert isinstance(found, Word) or found == (value if wrote else b"new")
            with closing(open_vault(self.directory, *self.keys)) as vault:
                answer(lambda: rekey(vault, call))
            for name, value in ITEMS.items():
                found = answer(lambda name=name: value_in(store, name))
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


def value_in(store: VaultStore, name: ItemName) -> bytes | None:
    """The bytes of an item; None if there is none."""
    found = store.read(name, call())
    return None if found is None else found.reveal_bytes()
