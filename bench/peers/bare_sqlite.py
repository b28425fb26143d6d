"""The yardstick of a durable write: one bare SQLite commit, WAL, `synchronous=FULL`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable


class Peer:
    """A table of two columns below `place`; nothing is encrypted.

    Attributes:
        kind: how its rows are kept.
    """

    kind = "WITHOUT ROWID"

    def __init__(self, place: str) -> None:
        self._database = sqlite3.connect(os.path.join(place, "bare.db"), isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute(
            f"CREATE TABLE IF NOT EXISTS items (name TEXT PRIMARY KEY, value BLOB) {self.kind}"
        )

    def read(self, name: str) -> str | None:
        """The text under a name."""
        found = self._database.execute("SELECT value FROM items WHERE name=?", (name,)).fetchone()
        return None if found is None else found[0].decode()

    def write(self, name: str, value: str) -> None:
        """Keep a text under a name."""
        self._database.execute("REPLACE INTO items VALUES (?, ?)", (name, value.encode()))

    def fill(self, items: Iterable[tuple[str, str]]) -> None:
        """Keep many at once: a yardstick's own filling is not measured."""
        self._database.execute("BEGIN")
        self._database.executemany(
            "REPLACE INTO items VALUES (?, ?)", ((name, value.encode()) for name, value in items)
        )
        self._database.execute("COMMIT")

    def delete(self, name: str) -> None:
        """Take away what is under a name."""
        self._database.execute("DELETE FROM items WHERE name=?", (name,))

    def close(self) -> None:
        """Close the database."""
        self._database.close()
