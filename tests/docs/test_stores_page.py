"""docs/reference/stores.md is what the stores say of themselves."""

from __future__ import annotations

from docs.stores_page import ENTRIES, PAGE, text
from tokenkeep.select import store_names


def test_the_page_is_what_the_stores_say() -> None:
    """`python tests/docs/stores_page.py` writes it anew."""
    assert text() == PAGE.read_text(encoding="utf-8")


def test_the_page_has_every_store() -> None:
    """None that `--store` takes is missing."""
    shown = " ".join(entry.name for entry in ENTRIES)
    assert [] == [name for name in store_names() if f"`{name}`" not in shown]


def test_every_entry_says_what_proved_it() -> None:
    """Or that nothing did."""
    assert all(entry.proved for entry in ENTRIES)
