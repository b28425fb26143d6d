"""The yardstick of a new item that goes into two trees: SQLite's ordinary table."""

from __future__ import annotations

from peers import bare_sqlite


class Peer(bare_sqlite.Peer):
    """A table of rows, and an index of names that leads to them."""

    kind = ""
