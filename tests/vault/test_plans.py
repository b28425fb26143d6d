"""SQLite takes the ways through the database that our promises about damage rest on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenkeep.secret import Secret
from tokenkeep.vault import rows
from vault.places import call, item, open_store, open_vault


@pytest.mark.parametrize("query", [rows.FIND, rows.CONTAINS, rows.LIST])
def test_second_place_is_looked_up_in_its_own_tree(tmp_path: Path, query: str) -> None:
    """Through a covering index, which does not need the table; nothing is scanned."""
    open_store(tmp_path).write(item("a"), Secret("1"), call())
    engine, _keys = open_vault(tmp_path).opened(call())
    values = (b"a", b"b", b"c", b"d")[: query.count("?")]
    plan = [row[3] for row in engine.rows(call(), "EXPLAIN QUERY PLAN " + query, values)]
    assert any("COVERING INDEX item_by_place_b" in line for line in plan), plan
    assert not any(line.startswith("SCAN item") or line == "SCAN i" for line in plan), plan
