"""Header and database of a vault at one generation, inside of every transaction."""

from __future__ import annotations

from tokenkeep.errors import TokenkeepError
from tokenkeep.vault import rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection
    from typing import TypeVar

    from tokenkeep.vault.format import Header
    from tokenkeep.vault.keys import Keys

    T = TypeVar("T")


class NewerHeader(TokenkeepError):
    """Another process changed the header; never leaves the vault."""

    def __init__(self, generation: int) -> None:
        super().__init__()
        self.generation = generation


def agreed(
    connection: Connection, keys: Keys, body: Callable[[Connection, Keys], T]
) -> tuple[bool, T]:
    """Runs the body of a transaction under the keys that hold."""
    return agree(connection, keys.header), body(connection, keys)


def agree(connection: Connection, header: Header) -> bool:
    """Brings database and header to one generation; True if an erasure waits to be finished.

    Raises:
        NewerHeader: ours is not the newest.
    """
    row = connection.execute("SELECT generation, erase_pending FROM state WHERE one = 1").fetchone()
    generation = rows.generation_of(row)
    if generation > header.generation:
        raise NewerHeader(generation)
    if generation < header.generation:
        found = connection.execute(rows.FITTING, (b"".join(header.wrapped_keys),))
        rows.require_fitting(header, found.fetchone())
        # Somebody died between replacing the header and saying so here.
        connection.execute("UPDATE state SET generation = ?", (header.generation,))
    return bool(row[-1])
