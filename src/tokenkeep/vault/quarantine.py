"""What quarantine keeps: items that did not open when something replaced them.

Some open again: what a newer version wrote, after an upgrade; what lost its key, after the header
was restored; what an index had lost, at once. The others stay until somebody erases them.
"""

from __future__ import annotations

from contextlib import ExitStack

from tokenkeep import fields
from tokenkeep.database_item import require_no_key_lost
from tokenkeep.errors import (
    SecretDamaged,
    StoreError,
    UnsupportedOption,
    WriteConflict,
)
from tokenkeep.installation import open_markers
from tokenkeep.item import ITEM
from tokenkeep.secret import Secret
from tokenkeep.vault import erasing, rows
from tokenkeep.vault.envelope import key_id_of, subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlite3 import Connection
    from typing import Any

    from tokenkeep.item import Call, ItemName
    from tokenkeep.vault.engine import Engine
    from tokenkeep.vault.keys import Keys
    from tokenkeep.vault.vault import Vault

_SELECT = "SELECT number, place_a, name, kept FROM quarantine"
_LIST = "tokenkeep vault quarantine"
#: Of the row in the table of items.
_COLUMNS = {"place_a", "place_b", "name", "envelope"}


class Entry:
    """One item in quarantine.

    Attributes:
        number: which it is; stays the same until it is restored or erased.
        name: whose bytes they are; None if that does not open.
        problem: why the item does not open; None if it opens now.
    """

    __slots__ = ("name", "number", "problem")

    def __init__(self, number: int, name: ItemName | None, problem: StoreError | None) -> None:
        self.number = number
        self.name = name
        self.problem = problem

    def __repr__(self) -> str:
        return f"Entry({self.number}, {self.name!r}, {self.problem!r})"


def entries(vault: Vault, call: Call) -> list[Entry]:
    """Everything in quarantine, oldest first; changes nothing.

    Raises:
        StoreUnavailable: there is no vault.
    """

    def found(engine: Engine, keys: Keys) -> list[Entry]:
        return [_entry(keys, row) for row in engine.rows(call, f"{_SELECT} ORDER BY number")]

    return vault.look(call, found)


def restore(
    vault: Vault,
    number: int,
    call: Call,
    *,
    replace: bool = False,
    state_directory: str | None = None,
) -> ItemName:
    """Makes an item of the entry again and takes it out of quarantine, at once; whose it is.

    It is this installation's own then, for `check_fresh_install` of its application.

    Args:
        replace: in the place of an item of that name; else that is an error.
        state_directory: where the application's marker lies; the user's state directory if None.

    Raises:
        UnsupportedOption: there is no such entry, or it is a session, whose tokens may have been
            replaced since.
        SecretDamaged, FormatUnsupported: it does not open; it stays.
        WriteConflict: there is an item of that name, or with `replace` the key of a database, which
            would be lost; nothing changed.
        StoreError: also, that it is this installation's could not be noted; nothing changed.
    """

    def chosen(connection: Connection, keys: Keys) -> tuple[ItemName, Secret]:
        row = connection.execute(f"{_SELECT} WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise _absent(number)
        name, value = _opened(keys, row)
        if name.kind != ITEM:
            raise UnsupportedOption("a session is not restored", hint="log in again")
        if not replace and rows.is_there(connection, keys, name):
            raise WriteConflict(
                "there is an item of that name", hint=f"{_LIST} --restore {number} --replace"
            )
        # Not a hint to delete the item: that would erase the entry, too.
        way = f"{_LIST} --erase {number}, if that is the database to keep"
        require_no_key_lost(_item_there(connection, keys, name), value, way)
        return name, value

    vault.opened(call)  # raises that there is no vault
    looked = vault.transaction(call, chosen)
    assert looked is not None
    name = looked[0]

    def put_back(connection: Connection, keys: Keys) -> None:
        again, value = chosen(connection, keys)
        if again != name:
            raise _absent(number)  # erased meanwhile, and the number is another's
        rows.put(connection, keys, name, value)
        connection.execute("DELETE FROM quarantine WHERE number = ?", (number,))

    with ExitStack() as claims:
        for marker in open_markers([name.service], state_directory).values():
            claims.enter_context(marker.claimed(call, name.name))
        vault.transaction(call, put_back)
    return name


def erase(vault: Vault, numbers: Iterable[int] | None, call: Call) -> tuple[int, bool]:
    """Erases entries and the old bytes behind them; how many, and whether bytes remain for now.

    Args:
        numbers: which; None for all.

    Raises:
        UnsupportedOption: there is no such entry; nothing was erased.
    """
    wanted = None if numbers is None else sorted(set(numbers))

    def drop(connection: Connection, _keys: Keys) -> int:
        if wanted is None:
            return connection.execute("DELETE FROM quarantine").rowcount
        for number in wanted:
            found = connection.execute("DELETE FROM quarantine WHERE number = ?", (number,))
            if found.rowcount != 1:
                raise _absent(number)
        return len(wanted)

    vault.opened(call)  # raises that there is no vault
    count = vault.transaction(call, drop, erases=True) or 0
    return count, erasing.shred(vault, call)


def sealed_anew(keys: Keys, what: bytes, kept: Secret) -> Secret:
    """What quarantine keeps of an item, with its value under the current key if it opens."""
    row = columns_of(kept)
    try:
        value = keys.open_value(what, row["envelope"])
    except SecretDamaged:
        return kept  # the key it hangs on stays, see `keys_within`
    return Secret(fields.pack({**row, "envelope": keys.seal_value(what, value)}))


def keys_within(connection: Connection, keys: Keys) -> set[bytes]:
    """The ids of the keys that the items in quarantine were sealed with, as far as they say."""
    found = set()
    for (sealed,) in connection.execute("SELECT kept FROM quarantine"):
        try:
            kept = columns_of(keys.open_quarantined(sealed))
        except SecretDamaged:
            continue
        found.add(key_id_of(kept["envelope"]))
    return found


def _entry(keys: Keys, row: Any) -> Entry:
    name = None
    try:
        name = _name(keys, row)
        _opened(keys, row)
    except StoreError as exc:
        return Entry(row[0], name, exc.with_traceback(None))
    return Entry(row[0], name, None)


def _item_there(connection: Connection, keys: Keys, name: ItemName) -> Secret | None:
    """What the item holds; None also for what does not open, which goes into quarantine itself."""
    what = subject(name)
    try:
        sealed = rows.found_in(connection, keys, name, what)
        return None if sealed is None else keys.open_value(what, sealed)
    except SecretDamaged:
        return None


def _name(keys: Keys, row: Any) -> ItemName:
    _number, place_a, sealed_name, _kept = row
    if not (isinstance(place_a, bytes) and isinstance(sealed_name, bytes)):
        raise SecretDamaged("the entry is damaged", hint=_LIST)
    return keys.open_name(place_a, sealed_name)


def _opened(keys: Keys, row: Any) -> tuple[ItemName, Secret]:
    """Whose the entry is, and the value that opens now; raises as `Keys.open_value`."""
    name = _name(keys, row)
    kept = columns_of(keys.open_quarantined(row[3]))
    return name, keys.open_value(subject(name), kept["envelope"])


def columns_of(kept: Secret) -> dict[str, bytes]:
    """The row that quarantine keeps; its columns are as sealed as they were in the table.

    Raises:
        SecretDamaged: it is none.
    """
    try:
        row = fields.unpack(kept.reveal_bytes())
        if row.keys() >= _COLUMNS:
            return row
    except ValueError:
        pass  # raised below
    raise SecretDamaged("the entry is damaged", hint=_LIST)


def _absent(number: int) -> UnsupportedOption:
    return UnsupportedOption(f"quarantine has no entry {number}", hint=_LIST)
