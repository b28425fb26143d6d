"""A vault of a newer or an older version: said to be one, never taken for damaged."""

from __future__ import annotations

import sqlite3
from contextlib import nullcontext
from pathlib import Path

import pytest

from tokenkeep.errors import (
    FormatUnsupported,
)
from tokenkeep.secret import Secret
from tokenkeep.vault.access import add_key
from tokenkeep.vault.check import check
from tokenkeep.vault.format import FORMAT, Header, header_fields
from tokenkeep.vault.upgrade import encode_fields, upgrade
from vault.places import VERBS, call, fill, item, key_file, open_store, open_vault, value


def with_fields(directory: Path, **changes: bytes) -> None:
    """Rewrites the header with other fields, as a newer version might have."""
    path = directory / "vault" / "header"
    known = header_fields(path.read_bytes())
    known.update({name.replace("_", "-"): value for name, value in changes.items()})
    path.write_bytes(encode_fields(known))


def number(of: int) -> bytes:
    return of.to_bytes(2, "big")


def test_newer_vault_is_unsupported_not_damaged(tmp_path: Path) -> None:
    """`least-reader` decides over reading, `least-writer` over writing."""
    fill(tmp_path)
    with_fields(tmp_path, format=number(FORMAT + 1), least_writer=number(FORMAT + 1))
    assert value(open_store(tmp_path), "a") == "value a"
    with pytest.raises(FormatUnsupported):
        open_store(tmp_path).write(item("a"), Secret("x"), call())
    with_fields(tmp_path, least_reader=number(FORMAT + 1))
    for verb in VERBS:
        with pytest.raises(FormatUnsupported):
            verb(tmp_path)


def test_process_that_wrote_before_writes_no_more_to_a_vault_made_newer(tmp_path: Path) -> None:
    """Not over what it has put, no new item, and not the second time either, when it knows."""
    store = open_store(tmp_path)
    for text in ("1", "2"):
        store.write(item("a"), Secret(text), call())
    header = open_vault(tmp_path).header()
    assert header is not None
    generation = header.generation + 1
    with_fields(tmp_path, generation=generation.to_bytes(8, "big"), least_writer=number(FORMAT + 1))
    database = sqlite3.connect(tmp_path / "vault" / "vault.db", isolation_level=None)
    database.execute("UPDATE state SET generation = ?", (generation,))
    database.close()
    for name in ("a", "new", "a", "new"):
        with pytest.raises(FormatUnsupported):
            store.write(item(name), Secret("3"), call())
    assert ("2", None) == (value(store, "a"), value(store, "new"))


def test_unknown_fields_survive_a_change_of_the_header(tmp_path: Path) -> None:
    """A field of a newer version is still there after an older one added a key."""
    fill(tmp_path)
    with_fields(tmp_path, colour=b"blue")
    add_key(open_vault(tmp_path), key_file(tmp_path, "two"), call())
    header = open_vault(tmp_path).header()
    assert header is not None
    assert {"colour": b"blue"} == header.extra


def test_newer_envelope_is_unsupported_and_quarantined_when_replaced(tmp_path: Path) -> None:
    """What this version cannot read it does not destroy."""
    fill(tmp_path)
    vault = open_vault(tmp_path)
    vault.transaction(call(), lambda connection, _keys: connection.execute(
        "UPDATE item SET envelope = CAST(x'02' || substr(envelope, 2) AS BLOB)"
    ))  # fmt: skip
    store = open_store(tmp_path)
    with pytest.raises(FormatUnsupported):
        value(store, "a")
    store.write(item("a"), Secret("new"), call())
    assert value(store, "a") == "new"
    report = check(vault, call)
    assert (1, 1) == (report.quarantined, len(report.findings))
    assert store.delete(item("a"), call())
    assert 0 == check(vault, call).quarantined


def test_older_vault_asks_for_the_upgrade_which_works(tmp_path: Path) -> None:
    """A made-up format 0, whose generation had another name: opening refuses, upgrading mends."""
    fill(tmp_path)
    header = Header.decode((tmp_path / "vault" / "header").read_bytes())
    path = tmp_path / "vault" / "header"
    known = header_fields(path.read_bytes())
    known["format"] = number(0)
    known["epoch"] = known.pop("generation")
    path.write_bytes(encode_fields(known))
    with pytest.raises(FormatUnsupported) as caught:
        value(open_store(tmp_path), "a")
    assert caught.value.hint == "tokenkeep vault upgrade"

    def to_one(known: dict[str, bytes], connection: sqlite3.Connection) -> dict[str, bytes]:
        connection.execute("CREATE TABLE IF NOT EXISTS upgraded (x)")
        return {**known, "format": number(1), "generation": known.pop("epoch")}

    with pytest.raises(FormatUnsupported):
        upgrade(open_vault(tmp_path), call())
    for last in ("database", "header"):

        def die(name: str, last: str = last) -> None:
            if name == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            upgrade(open_vault(tmp_path), call(), {0: to_one}, die)
    assert (0, 1) == upgrade(open_vault(tmp_path), call(), {0: to_one})
    assert (1, 1) == upgrade(open_vault(tmp_path), call())
    assert value(open_store(tmp_path), "a") == "value a"
    assert header.generation + 1 == Header.decode(path.read_bytes()).generation


@pytest.mark.parametrize("dies", [False, True])
def test_upgrade_is_a_change_of_the_header_that_others_follow(tmp_path: Path, dies: bool) -> None:
    """Nobody goes on with the format of a vault that they opened before, nor brings it back."""
    fill(tmp_path)
    before = open_vault(tmp_path)
    header = before.opened(call())[1].header
    with_fields(tmp_path, format=number(0))

    def to_one(known: dict[str, bytes], _connection: sqlite3.Connection) -> dict[str, bytes]:
        return {**known, "format": number(1), "colour": b"blue"}

    def step(name: str) -> None:
        if dies and name == "state":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) if dies else nullcontext():
        upgrade(open_vault(tmp_path), call(), {0: to_one}, step)
    if not dies:
        assert header.generation + 1 == before.opened(call())[1].header.generation
    add_key(before, key_file(tmp_path, "two"), call())
    after = open_vault(tmp_path).header()
    assert after is not None
    assert (header.generation + 2, {"colour": b"blue"}) == (after.generation, after.extra)
