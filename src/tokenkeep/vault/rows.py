"""The rows of a vault's database: how an item is found, put, dropped, listed and set aside.

What is there and does not open is never reported as absent, and what replaces it moves it into
quarantine. Everything here runs inside a query or a transaction of its caller.
"""

from __future__ import annotations

from tokenkeep import fields
from tokenkeep.errors import SecretDamaged, VaultDamaged
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.keys import Finder, Keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Connection
    from typing import Any

# One query, so one moment: the vault's generation, the row that the look-up hash leads to, and the
# row that has the id.
FIND = (
    "SELECT s.generation, (SELECT id FROM item WHERE lookup = ?1), i.lookup, i.envelope"
    " FROM state s LEFT JOIN item i ON i.id = ?2 WHERE s.one = 1"
)
CONTAINS = FIND.replace("i.envelope", "NULL")
LIST = (
    "SELECT s.generation, i.id, i.lookup, i.name FROM state s LEFT JOIN item i"
    " ON i.service_a = ?1 OR i.service_b = ?2 WHERE s.one = 1"
)


def generation_of(row: Any) -> int:
    """The generation in front of a query's row.

    Raises:
        VaultDamaged: it is not there.
    """
    if row is None or not isinstance(row[0], int):
        raise VaultDamaged("the vault's database is damaged", hint="tokenkeep vault check")
    return row[0]


def envelope_of(row: Any, place: tuple[bytes, int]) -> bytes | None:
    """The envelope in a row of `FIND`; None if both ways to the item end nowhere.

    Raises:
        SecretDamaged: the two ways disagree.
    """
    _generation, number, lookup, sealed = row
    if number is None and lookup is None:
        return None
    # An index that lost the item is no harm: the row itself says whose it is.
    if lookup == place[0] and number in (None, place[1]) and isinstance(sealed, bytes):
        return sealed
    raise SecretDamaged("the item's entry is damaged", hint="tokenkeep vault check")


def found_in(connection: Connection, keys: Keys, what: bytes) -> bytes | None:
    """The item's envelope, wherever it lies; None if it is absent; raises as `envelope_of`."""
    for finder in (keys.previous, keys.finder):
        if finder is not None:
            place = finder.place(what)
            sealed = envelope_of(connection.execute(FIND, place).fetchone(), place)
            if sealed is not None:
                return sealed
    return None


def is_there(connection: Connection, keys: Keys, what: bytes) -> bool:
    """Whether the item is there, also if it would not open."""
    for finder in (keys.previous, keys.finder):
        if finder is not None:
            row = connection.execute(CONTAINS, finder.place(what)).fetchone()
            if row is None or row[1] is not None or row[2] is not None:
                return True
    return False


def listed(
    keys: Keys, finder: Finder, service: str, number: Any, lookup: Any, sealed: Any
) -> ItemName:
    """The name in a row of `LIST`.

    Raises:
        SecretDamaged: it does not open, or the row does not lie where the name says.
    """
    if isinstance(lookup, bytes) and isinstance(sealed, bytes):
        name = keys.open_name(lookup, sealed)
        if name.service == service and finder.place(subject(name)) == (lookup, number):
            return name
    raise SecretDamaged("an item's entry is damaged", hint="tokenkeep vault check")


def put(connection: Connection, keys: Keys, name: ItemName, value: Secret) -> None:
    """Puts the item at its place; what was there and did not open goes into quarantine."""
    what = subject(name)
    lookup, number = keys.finder.place(what)
    sealed_name, sealed = keys.seal_name(lookup, name), keys.seal_value(what, value)
    if _clear_way(connection, keys, name, what):
        connection.execute(
            "UPDATE item SET name = ?, envelope = ? WHERE id = ?", (sealed_name, sealed, number)
        )
    else:
        connection.execute(
            "INSERT INTO item (id, lookup, service_a, service_b, name, envelope)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (number, lookup, *tags(keys.finder, name.service), sealed_name, sealed),
        )


def _clear_way(connection: Connection, keys: Keys, name: ItemName, what: bytes) -> bool:
    """Whether the item's row can simply be updated; else nothing of it is in the way any more."""
    for finder in (keys.previous, keys.finder):
        if finder is None:
            continue
        place = finder.place(what)
        row = connection.execute(FIND, place).fetchone()
        try:
            sealed = envelope_of(row, place)
            if sealed is None:
                continue
            keys.open_value(what, sealed)
            opens = True
        except SecretDamaged:
            opens = False
        if not opens:
            _quarantine(connection, keys, name, place, row[1])
        elif finder is keys.finder and row[1] is not None:
            return True
        _delete_rows(connection, place, row[1])
    return False


def _quarantine(
    connection: Connection,
    keys: Keys,
    name: ItemName,
    place: tuple[bytes, int],
    other: int | None,
) -> None:
    """Keeps every row that claims to be the item, sealed whole under the current key."""
    lookup, _number = keys.finder.place(subject(name))
    for row in connection.execute(
        "SELECT id, lookup, name, envelope FROM item WHERE id IN (?, ?)", (place[1], other)
    ).fetchall():
        kept = Secret(
            fields.pack(
                {
                    "id": str(row[0]).encode(),
                    "lookup": _raw(row[1]),
                    "name": _raw(row[2]),
                    "envelope": _raw(row[3]),
                }
            )
        )
        connection.execute(
            "INSERT INTO quarantine (lookup, service, name, kept) VALUES (?, ?, ?, ?)",
            (
                lookup,
                keys.finder.service_tag(name.service),
                keys.seal_name(lookup, name),
                keys.seal_quarantined(kept),
            ),
        )


def drop(connection: Connection, keys: Keys, name: ItemName) -> bool:
    """Deletes the item and its quarantine; True if the item existed."""
    what, existed = subject(name), False
    for finder in (keys.previous, keys.finder):
        if finder is not None:
            place = finder.place(what)
            row = connection.execute(CONTAINS, place).fetchone()
            existed = existed or row[1] is not None or row[2] is not None
            _delete_rows(connection, place, row[1])
            connection.execute("DELETE FROM quarantine WHERE lookup = ?", (place[0],))
    return existed


def drop_service(connection: Connection, keys: Keys, service: str) -> None:
    """Deletes everything of a service, whether it opens or not."""
    for finder in (keys.previous, keys.finder):
        if finder is not None:
            connection.execute(
                "DELETE FROM item WHERE service_a = ? OR service_b = ?", tags(finder, service)
            )
            connection.execute(
                "DELETE FROM quarantine WHERE service = ?", (finder.service_tag(service),)
            )


def _delete_rows(connection: Connection, place: tuple[bytes, int], other: int | None) -> None:
    connection.execute("DELETE FROM item WHERE id IN (?, ?)", (place[1], other))


def tags(finder: Finder, service: str) -> tuple[bytes, bytes]:
    """What the rows of a service have in common, in two independent halves."""
    tag = finder.service_tag(service)
    return tag[: len(tag) // 2], tag[len(tag) // 2 :]


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode("utf-8", "replace")
