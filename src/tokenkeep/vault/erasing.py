"""Erasing whole services in a vault, and the bytes of what was deleted.

What is erased is gone for every reader at once. Its old bytes go when the database is rewritten,
which a reader in another process can hold up, and which may take more room or time than there is: a
note in the database lets the next writer do it who can.
"""

from __future__ import annotations

from tokenkeep.errors import StoreFull, StoreTimeout
from tokenkeep.vault import rows
from tokenkeep.vault.rewriting import rewrite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Connection

    from tokenkeep.item import Call
    from tokenkeep.vault.keys import Keys
    from tokenkeep.vault.vault import Vault

#: The note that old bytes remain; whoever rewrites the database takes it back. While it is there
#: every write looks whether it can, also one that only overwrites.
_OWE = "UPDATE state SET erase_pending = 1"
#: On a full disk: some two hundred kilobytes of log if the items are small.
_ERASED_AT_ONCE = 16


def erase(vault: Vault, service: str, call: Call) -> bool:
    """Erases every item of the service and the old bytes behind them; True if pending.

    All at once, but on a full disk a few at a time.

    Raises:
        StoreFull: there is not even room for that; some may be erased.
    """

    def drop(connection: Connection, keys: Keys) -> bool:
        rows.drop_service(connection, keys, service)
        connection.execute(_OWE)
        return True

    try:
        had_vault = vault.transaction(call, drop)
    except StoreFull:
        _erase_in_turn(vault, service, call)
        had_vault = vault.transaction(call, drop, erases=True)  # what is in quarantine
    return bool(had_vault) and not _finished(vault, call)


def shred(vault: Vault, call: Call) -> bool:
    """Rewrites the database without what was deleted; True if pending."""

    def owe(connection: Connection, _keys: Keys) -> bool:
        connection.execute(_OWE)
        return True

    return bool(vault.transaction(call, owe, erases=True)) and not _finished(vault, call)


def _finished(vault: Vault, call: Call) -> bool:
    engine, _keys = vault.opened(call)
    try:
        return rewrite(engine, call)
    except (StoreFull, StoreTimeout):
        return False


def _erase_in_turn(vault: Vault, service: str, call: Call) -> None:
    count = _ERASED_AT_ONCE

    def drop_some(connection: Connection, keys: Keys) -> bool:
        connection.execute(_OWE)
        return rows.drop_some(connection, keys, service, count)

    is_left: bool | None = True
    while is_left:
        call.check("erasing in the vault")
        try:
            is_left = vault.transaction(call, drop_some, erases=count == 1)
        except StoreFull as exc:
            if count == 1:
                raise StoreFull(f"{exc}; not everything was erased", hint=exc.hint) from None
            count = 1
