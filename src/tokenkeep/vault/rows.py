"""The rows of a vault's database: how an item is found, put, dropped, listed and set aside.

What is there and does not open is never reported as absent, and what replaces it moves it into
quarantine. Everything here runs inside a query or a transaction of its caller, but `put_plainly`,
which has one of its own.
"""

from __future__ import annotations

from tokenkeep import fields
from tokenkeep.crypto import NONCE_BYTES, TAG_BYTES
from tokenkeep.errors import SecretDamaged, VaultDamaged
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import sqlite
from tokenkeep.vault.engine import COMMIT_BYTES
from tokenkeep.vault.envelope import HEAD_BYTES, VALUE, subject
from tokenkeep.vault.format import FORMAT
from tokenkeep.vault.keys import ITEM_HASH_BYTES, Finder, Keys
from tokenkeep.vault.sqlite import PAGE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Connection
    from typing import Any

    from tokenkeep.item import Call
    from tokenkeep.vault.engine import Engine
    from tokenkeep.vault.format import Header

# One query, so one moment: the vault's generation, where the second place leads to, and the row at
# the first place; one that has lost its second place must not look like none.
FIND = (
    "SELECT s.generation, o.place_a, coalesce(i.place_b, i.place_a), i.envelope FROM state s"
    " LEFT JOIN item i ON i.place_a = ? LEFT JOIN item o ON o.place_b = ? WHERE s.one = 1"
)
CONTAINS = FIND.replace("i.envelope", "NULL")
# The index answers for itself, not for what it leads to: a row that it knows and the table has lost
# is listed without a name.
LIST = (
    "SELECT s.generation, p.place_a, i.place_b, i.name FROM state s LEFT JOIN"
    " (SELECT place_a FROM item WHERE place_a BETWEEN ? AND ?"
    " UNION SELECT place_a FROM item WHERE place_b BETWEEN ? AND ?) p"
    " LEFT JOIN item i ON i.place_a = p.place_a WHERE s.one = 1"
)
# The first item of a database that fits its header is the answer.
FITTING = (
    "SELECT generation, EXISTS (SELECT 1 FROM item),"
    " EXISTS (SELECT 1 FROM item WHERE instr(?, substr(name, 2, 8))) FROM state WHERE one = 1"
)
_UPDATE = "UPDATE item SET name = ?, envelope = ? WHERE place_a = ?"
_INSERT = "INSERT INTO item (place_a, place_b, name, envelope) VALUES (?, ?, ?, ?)"
# No two envelopes are the same: where the last one that we know still lies, and no newer header was
# written, nobody changed anything. Whether all of the entry is whole costs a look of its own, and
# so does what an erasure left to be done.
_OVERWRITE = (
    "UPDATE item SET envelope = ? WHERE place_a = ? AND envelope = ?"
    " AND EXISTS (SELECT 1 FROM state WHERE one = 1 AND generation = ? AND erase_pending = 0)"
)
# Where nothing is out of the ordinary either: nobody wrote a newer header or has to finish an
# erasure, and at both places lies nothing, or the same row, whose envelope opens under the current
# key. `decrypt` runs inside of the statement, so that it need not be a transaction of several. In
# any other state it is given what cannot open, and that ends the statement under any schema: a row
# without its first place could be taken by a table that somebody made of it.
_PUT = (
    (
        "INSERT OR IGNORE INTO item (place_a, place_b, name, envelope) VALUES ("
        "coalesce((SELECT ? FROM state WHERE one = 1 AND generation = ? AND erase_pending = 0"
        " AND NOT EXISTS (SELECT 1 FROM item WHERE place_b = ? AND place_a <> ?)),"
        " decrypt(zeroblob(NONCE), zeroblob(TAG), x'')), ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET name = excluded.name, envelope = excluded.envelope"
        " WHERE place_b = excluded.place_b"
        " AND (SELECT o.place_a FROM item o WHERE o.place_b = excluded.place_b) = excluded.place_a"
        " AND substr(envelope, 1, HEAD) = substr(excluded.envelope, 1, HEAD)"
        " AND length(decrypt(substr(envelope, HEAD + 1, NONCE),"
        " substr(envelope, HEAD + NONCE + 1), ?)) >= 0"
    )
    .replace("NONCE", str(NONCE_BYTES))
    .replace("TAG", str(TAG_BYTES))
    .replace("HEAD", str(HEAD_BYTES))
)
#: For how long an item's entry is taken to be as whole as it was when it was looked at.
_LOOK_AGAIN_SECONDS = 60.0
#: Behind every place that begins with a tag.
_BEHIND = b"\xff" * (ITEM_HASH_BYTES + 1)


def generation_of(row: Any) -> int:
    """The generation in front of a query's row.

    Raises:
        VaultDamaged: it is not there.
    """
    if row is None or not isinstance(row[0], int):
        raise VaultDamaged("the vault's database is damaged", hint="tokenkeep vault check")
    return row[0]


def announce(connection: Connection, generation: int) -> None:
    """Says in the database, outside of a transaction, that the header was replaced.

    That it was is not undone by a database that has no room to say so: the next writer does.
    """
    try:
        connection.execute("UPDATE state SET generation = ?", (generation,))
    except sqlite.Error:
        return


def require_fitting(header: Header, row: Any) -> None:
    """Ends the use of an older copy of the database, which somebody put beside a newer header.

    Under a new root key its items would look absent. Who died between header and database left
    items that the header has the keys of.

    Args:
        row: what `FITTING` gave of the ids of the header's keys, one behind the other.

    Raises:
        VaultDamaged: it has items, and the header has the key of none.
    """
    if generation_of(row) < header.generation and row[1] and not row[2]:
        raise VaultDamaged(
            "the vault's database is older than its header", hint="restore both from one backup"
        )


def envelope_of(row: Any, place: tuple[bytes, bytes]) -> bytes | None:
    """The envelope in a row of `FIND`; None if both ways to the item end nowhere.

    Raises:
        SecretDamaged: the two ways disagree.
    """
    place_a, place_b, sealed = row[1:4]
    if place_a is None and place_b is None:
        return None
    # An index that lost the item is no harm: the row itself says whose it is.
    if place_b == place[1] and place_a in (None, place[0]) and isinstance(sealed, bytes):
        return sealed
    raise SecretDamaged("the item's entry is damaged", hint="tokenkeep vault check")


def range_of(finder: Finder, service: str) -> tuple[bytes, bytes, bytes, bytes]:
    """The places between which the items of a service lie."""
    tag_a, tag_b = finder.tags(service)
    return tag_a, tag_a + _BEHIND, tag_b, tag_b + _BEHIND


def found_in(connection: Connection, keys: Keys, name: ItemName, what: bytes) -> bytes | None:
    """The item's envelope, wherever it lies; None if it is absent; raises as `envelope_of`."""
    for finder in keys.finders():
        place = finder.place(name.service, what)
        sealed = envelope_of(connection.execute(FIND, place).fetchone(), place)
        if sealed is not None:
            return sealed
    return None


def is_there(connection: Connection, keys: Keys, name: ItemName) -> bool:
    """Whether the item is there, also if it would not open."""
    for finder in keys.finders():
        place = finder.place(name.service, subject(name))
        row = connection.execute(CONTAINS, place).fetchone()
        if row is None or row[1] is not None or row[2] is not None:
            return True
    return False


def listed(
    keys: Keys, finder: Finder, service: str, place_a: Any, place_b: Any, sealed: Any
) -> ItemName:
    """The name in a row of `LIST`.

    Raises:
        SecretDamaged: it does not open, or the row does not lie where the name says.
    """
    if isinstance(place_a, bytes) and isinstance(sealed, bytes):
        name = keys.open_name(place_a, sealed)
        if name.service == service and finder.place(service, subject(name)) == (place_a, place_b):
            return name
    raise SecretDamaged("an item's entry is damaged", hint="tokenkeep vault check")


def looked_up(
    state: tuple[Engine, Keys], name: ItemName, what: bytes, call: Call
) -> tuple[int, bytes | None]:
    """The vault's generation, and the item's envelope."""
    engine, keys = state
    generation, sealed = 0, None
    for finder in keys.finders():
        place = finder.place(name.service, what)
        row = engine.row(call, FIND, place)
        generation = generation_of(row)
        if generation > keys.header.generation:
            return generation, None
        sealed = envelope_of(row, place)
        if sealed is not None:
            break
    return generation, sealed


def presence(state: tuple[Engine, Keys], name: ItemName, call: Call) -> tuple[int, bool]:
    """The vault's generation, and whether the item is there."""
    engine, keys = state
    generation, what = 0, subject(name)
    for finder in keys.finders():
        row = engine.row(call, CONTAINS, finder.place(name.service, what))
        generation = generation_of(row)
        if generation > keys.header.generation:
            return generation, False
        if row[1] is not None or row[2] is not None:
            return generation, True
    return generation, False


def listing(
    state: tuple[Engine, Keys],
    service: str,
    call: Call,
    unnamed: list[SecretDamaged] | None = None,
) -> tuple[int, set[ItemName]]:
    """The vault's generation, and the names of a service.

    Args:
        unnamed: takes an error for each name that does not open, instead of the caller.
    """
    from tokenkeep.turns import in_turns  # a read of one item needs none

    engine, keys = state
    generation = 0
    found: set[ItemName] = set()
    for finder in keys.finders():
        answer = engine.rows(call, LIST, range_of(finder, service))
        generation = generation_of(answer[0] if answer else None)
        if generation > keys.header.generation:
            break
        for _generation, place_a, place_b, sealed in in_turns(answer):
            if place_a is None:
                continue
            try:
                found.add(listed(keys, finder, service, place_a, place_b, sealed))
            except SecretDamaged as exc:
                if unnamed is None:
                    raise
                unnamed.append(exc)
    return generation, found


def following(after: bytes, last: object) -> bytes:
    """Where a walk over all items goes on that began behind `after` and came to `last`.

    Raises:
        VaultDamaged: the tree is out of order; the walk would never end.
    """
    if isinstance(last, bytes) and last > after:
        return last
    raise VaultDamaged("the vault's database is damaged", hint="tokenkeep vault check")


def put_plainly(
    connection: Connection,
    engine: Engine,
    keys: Keys,
    name: ItemName,
    what: bytes,
    value: Secret,
    call: Call,
) -> bool:
    """Puts an item where nothing out of the ordinary is in its way, in a commit of its own.

    Written in one piece, because each write comes here with the processor's caches cold from the
    last one's wait for the disk: a layer costs it more than a statement. Python 3.11 asks for a
    way to adapt each `bytes` that is bound, and a `bytearray` it takes as it is.

    Returns:
        False if something is in the way, which `put` minds: nothing changed.
    """
    # A kept cursor would be quicker, and keep its connection from closing: Python 3.11 leaves a
    # statement that failed with its cursor.
    execute, header, sealer = connection.execute, keys.header, keys.sealer
    last, now = keys.put.get(what), call.clock.monotonic()
    if last is not None and now - last[0] <= _LOOK_AGAIN_SECONDS:
        sealed = bytearray(sealer.seal(VALUE, what, value))
        if execute(_OVERWRITE, (sealed, last[1], last[2], header.generation)).rowcount == 1:
            keys.remember(what, (last[0], last[1], sealed))
            engine.wrote(connection, PAGE_BYTES + len(sealed))
            return True
    if keys.previous is not None or header.least_writer > FORMAT:
        return False
    if engine.decrypts_with is not sealer:
        connection.create_function("decrypt", 3, sealer.decrypt)
        engine.decrypts_with = sealer
    place = keys.finder.place(name.service, what)
    sealed_name, sealed, about = sealer.seal_item(place[0], what, value)
    place_a, place_b = map(bytearray, place)
    values = (place_a, header.generation, place_b, place_a, place_b, sealed_name, sealed, about)
    try:
        if execute(_PUT, values).rowcount != 1:
            return False
    except sqlite.Error as exc:
        if sqlite.is_error(exc):
            return False  # what lies there does not open, or worse
        raise
    keys.remember(what, (now, place_a, sealed))
    engine.wrote(connection, COMMIT_BYTES + 2 * len(sealed))
    return True


def put(connection: Connection, keys: Keys, name: ItemName, value: Secret) -> None:
    """Puts the item at its place; what was there and did not open goes into quarantine."""
    what = subject(name)
    place = keys.finder.place(name.service, what)
    sealed_name, sealed = keys.seal_name(place[0], what), keys.seal_value(what, value)
    row = connection.execute(FIND, place).fetchone()
    if _clear_way(connection, keys, name, place, row):
        connection.execute(_UPDATE, (sealed_name, sealed, place[0]))
    else:
        connection.execute(_INSERT, (*place, sealed_name, sealed))


def drop(connection: Connection, keys: Keys, name: ItemName) -> bool:
    """Deletes the item and its quarantine; True if the item existed."""
    existed = False
    for finder in keys.finders():
        place = finder.place(name.service, subject(name))
        row = connection.execute(CONTAINS, place).fetchone()
        existed = existed or row[1] is not None or row[2] is not None
        _delete_rows(connection, place, row[1])
        connection.execute("DELETE FROM quarantine WHERE place_a = ?", (place[0],))
    return existed


def drop_service(connection: Connection, keys: Keys, service: str) -> None:
    """Deletes everything of a service, whether it opens or not."""
    for finder in keys.finders():
        connection.execute(
            "DELETE FROM item WHERE place_a BETWEEN ? AND ? OR place_b BETWEEN ? AND ?",
            range_of(finder, service),
        )
        connection.execute(
            "DELETE FROM quarantine WHERE service = ?", (b"".join(finder.tags(service)),)
        )


def drop_some(connection: Connection, keys: Keys, service: str, count: int) -> bool:
    """Deletes so many items of a service; False if there is none left."""
    deleted = 0
    for finder in keys.finders():
        deleted += connection.execute(
            "DELETE FROM item WHERE place_a IN (SELECT place_a FROM item"
            " WHERE place_a BETWEEN ? AND ? OR place_b BETWEEN ? AND ? LIMIT ?)",
            (*range_of(finder, service), count),
        ).rowcount
    return deleted > 0


def _clear_way(
    connection: Connection, keys: Keys, name: ItemName, place: tuple[bytes, bytes], row: Any
) -> bool:
    """Whether the item's row can simply be updated; else nothing of it is in the way any more."""
    if keys.previous is not None:
        before = keys.previous.place(name.service, subject(name))
        row = connection.execute(FIND, before).fetchone()
        if _clear_place(connection, keys, name, before, row):
            _delete_rows(connection, before, row[1])
        # Anew: what was cleared away may have been in this way too.
        row = connection.execute(FIND, place).fetchone()
    return _clear_place(connection, keys, name, place, row)


def _clear_place(
    connection: Connection, keys: Keys, name: ItemName, place: tuple[bytes, bytes], row: Any
) -> bool:
    """Whether the item lies whole at this place; else nothing of it is in the way any more."""
    try:
        sealed = envelope_of(row, place)
    except SecretDamaged:
        opens = False
    else:
        if sealed is None:
            return False
        opens = keys.opens(subject(name), sealed)
    if not opens:
        _quarantine(connection, keys, name, place, row[1])
    elif row[1] is not None:
        return True
    _delete_rows(connection, place, row[1])
    return False


def _quarantine(
    connection: Connection,
    keys: Keys,
    name: ItemName,
    place: tuple[bytes, bytes],
    other: bytes | None,
) -> None:
    """Keeps every row that claims to be the item, sealed whole under the current key."""
    what = subject(name)
    place_a = keys.finder.place(name.service, what)[0]
    for row in connection.execute(
        "SELECT place_a, place_b, name, envelope FROM item WHERE place_a IN (?, ?)",
        (place[0], other),
    ).fetchall():
        columns = ("place_a", "place_b", "name", "envelope")
        kept = fields.pack({column: _raw(raw) for column, raw in zip(columns, row, strict=True)})
        connection.execute(
            "INSERT INTO quarantine (place_a, service, name, kept) VALUES (?, ?, ?, ?)",
            (
                place_a,
                b"".join(keys.finder.tags(name.service)),
                keys.seal_name(place_a, what),
                keys.seal_quarantined(Secret(kept)),
            ),
        )


def _delete_rows(connection: Connection, place: tuple[bytes, bytes], other: bytes | None) -> None:
    connection.execute("DELETE FROM item WHERE place_a IN (?, ?)", (place[0], other))


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode("utf-8", "replace")
