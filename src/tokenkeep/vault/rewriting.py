"""Writing a vault's database anew, without the bytes of what was deleted."""

from __future__ import annotations

from tokenkeep.vault import sqlite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Connection

    from tokenkeep.item import Call
    from tokenkeep.vault.engine import Engine

#: Of a rewriting SQLite can stop the building of the copy alone. To put it into the log, and from
#: there into the database, takes two to four times as long, measured with small and with large
#: items. Of a large one, each step copies some hundred kilobytes.
_BUILDING_SHARE = 0.2
_BUILDING_STEPS = 10


def rewrite(engine: Engine, call: Call) -> bool:
    """Writes the database anew without anything deleted, if that is owed.

    Returns:
        False if a reader in another process stands in the way.

    Raises:
        StoreFull: there is no room for a second copy.
        StoreTimeout: there is not the time for it; or as `Engine.locked`.
    """

    def alone(connection: Connection) -> bool:
        if connection.execute("SELECT erase_pending FROM state").fetchone() == (0,):
            return True  # somebody was quicker
        # With a reader in the way, writing everything anew would only make the log longer.
        if not engine.checkpoint(connection):
            return False
        try:
            sqlite.stop_at(connection, call, _BUILDING_SHARE, _BUILDING_STEPS)
            connection.execute("VACUUM")
        finally:
            connection.set_progress_handler(None, 0)
        if not engine.checkpoint(connection):
            return False
        connection.execute("UPDATE state SET erase_pending = 0")
        return True

    return engine.locked(call, alone)
