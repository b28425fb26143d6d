"""Another program reads what this one wrote, by the format's page: `vectors/independent.py`."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenkeep.item import MIGRATION, ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import transfer
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.rekey import rekey
from vault.places import SERVICE, call, item, key_file, open_store, open_vault, passphrase, record
from vectors import independent
from vectors.independent import Failure, Header, Item, Key

VECTORS = sorted(Path(independent.__file__).parent.glob("*.json"))
#: What is written; one of them is damaged and written anew, so that quarantine keeps the first.
ITEMS = {
    item("a"): b"value a",
    item("empty"): b"",
    item("b\u00e4r \U0001f43b"): b"\xff\x00" * 9000,
    ItemName("org.example.other", "a"): b"other",
    record("alice"): b"a session",
    ItemName(SERVICE, "alice", MIGRATION): b"a migration",
}
KEPT = item("a")


class Crash(Exception):
    """The process dies here."""


def test_reader_knows_nothing_of_the_library() -> None:
    """Else it would agree with it whatever the page says."""
    tree = ast.parse(Path(independent.__file__).read_text(encoding="utf-8"))
    names = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert names
    assert [] == [name for name in names if name.partition(".")[0] == "tokenkeep"]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector_has_the_verdict_that_it_expects(path: Path) -> None:
    """By the page alone it opens to what the file says, or fails in the way that it names."""
    case = json.loads(path.read_text(encoding="utf-8"))
    word, found = independent.verdict(case)
    assert case["expect"] == word
    assert {name: case[name] for name in found} == found
    if word == "opens":
        told = {"items", "value", "columns"} | {name for name in case if "place" in name}
        assert case.keys() & told <= found.keys()


def written(place: Path, *keys: KeyFile | Passphrase) -> None:
    """A vault with all of them, and one entry in quarantine."""
    store = open_store(place, *keys)
    for name, value in ITEMS.items():
        store.write(name, Secret(value), call())
    store.close()
    vault = open_vault(place, *keys)
    newer = "UPDATE item SET envelope = CAST(x'02' || substr(envelope, 2) AS BLOB) WHERE name = ?"
    engine, opened = vault.opened(call())
    rows = engine.rows(call(), "SELECT place_a, name FROM item")
    (sealed,) = [sealed for place_a, sealed in rows if opened.open_name(place_a, sealed) == KEPT]
    vault.transaction(call(), lambda connection, _keys: connection.execute(newer, (sealed,)))
    vault.close()
    store.write(KEPT, Secret(ITEMS[KEPT]), call())
    store.close()


def by_file(place: Path) -> Callable[[Header], Key]:
    data = (place / "key").read_bytes()
    return lambda header: independent.key_file(data, header.vault_id)


def require_all(place: Path, key: Callable[[Header], Key]) -> None:
    """Every item, and in quarantine the old value of the one, whose version was spoilt."""
    items, quarantine = independent.read_vault(place / "vault", key)
    expected = [Item(name.kind, name.service, name.name, value) for name, value in ITEMS.items()]
    assert sorted(expected) == items
    ((whose, columns),) = quarantine
    assert (KEPT.kind, KEPT.service, KEPT.name) == whose
    assert columns["envelope"][:1] == b"\2"


def test_vault_with_a_key_file(tmp_path: Path) -> None:
    """With its log beside the database, and with everything in the database."""
    written(tmp_path)
    require_all(tmp_path, by_file(tmp_path))
    open_store(tmp_path).erase("org.example.none", call())
    require_all(tmp_path, by_file(tmp_path))


def test_vault_with_a_passphrase(tmp_path: Path) -> None:
    """Text beyond ASCII included; another one is the wrong key."""
    written(tmp_path, passphrase("gr\u00fcn 1"), key_file(tmp_path))
    require_all(tmp_path, lambda _header: independent.passphrase_key("gr\u00fcn 1"))
    require_all(tmp_path, by_file(tmp_path))
    with pytest.raises(Failure, match="wrong-key"):
        require_all(tmp_path, lambda _header: independent.passphrase_key("blau"))


@pytest.mark.parametrize("root", [False, True], ids=["DEK", "root key"])
def test_vault_at_every_step_of_a_rekey(tmp_path: Path, root: bool) -> None:
    """Before each step, where the process might have died, and afterwards."""
    written(tmp_path)
    steps = []

    def look(name: str) -> None:
        steps.append(name)
        require_all(tmp_path, by_file(tmp_path))

    rekey(open_vault(tmp_path), call, root=root, step=look)
    assert {"header", "state", "batch", "quarantine", "retire", "erase"} <= set(steps)
    require_all(tmp_path, by_file(tmp_path))


def test_vault_whose_root_key_is_half_replaced(tmp_path: Path) -> None:
    """Some items lie at the places of the new root key, and the header names the previous one."""
    written(tmp_path)

    def crash(name: str) -> None:
        if name == "batch":
            raise Crash

    with pytest.raises(Crash):
        rekey(open_vault(tmp_path), call, root=True, step=crash)
    store = open_store(tmp_path)
    store.write(KEPT, Secret(ITEMS[KEPT]), call())
    header = Header((tmp_path / "vault" / "header").read_bytes())
    assert header.previous_root is not None
    require_all(tmp_path, by_file(tmp_path))


def test_header_older_than_the_database_is_damage(tmp_path: Path) -> None:
    """As the page says of both."""
    written(tmp_path)
    old = (tmp_path / "vault" / "header").read_bytes()
    rekey(open_vault(tmp_path), call)
    (tmp_path / "vault" / "header").write_bytes(old)
    with pytest.raises(Failure, match="vault-damaged"):
        require_all(tmp_path, by_file(tmp_path))


def test_export(tmp_path: Path) -> None:
    """Every item of the application, no session, in the order of the file."""
    written(tmp_path)
    path = tmp_path / "items.export"
    transfer.export(open_vault(tmp_path), str(path), passphrase("out"), call)
    expected = [
        Item(name.kind, name.service, name.name, value)
        for name, value in ITEMS.items()
        if name.kind == "item"
    ]
    assert sorted(expected) == sorted(independent.read_export(path.read_bytes(), "out"))
