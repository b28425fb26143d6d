"""An open vault: items by name, over the engine and the keys.

Invariants: reading changes nothing; what is there and does not open is never reported as absent,
and what replaces it moves it into quarantine in the same transaction.
"""

from __future__ import annotations

from _thread import allocate_lock

from tokenkeep import fields
from tokenkeep.errors import (
    SecretDamaged,
    StoreUnavailable,
    TokenkeepError,
    VaultDamaged,
    WriteConflict,
)
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import files
from tokenkeep.vault.engine import Engine
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import MAX_HEADER_BYTES, Header
from tokenkeep.vault.keys import Finder, Keys
from tokenkeep.vault.slots import KeyFile, unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection
    from typing import Any, TypeVar

    from tokenkeep.item import Call
    from tokenkeep.vault.slots import Key

    T = TypeVar("T")

# One query, so one moment: the vault's generation, the row that the look-up hash leads to, and the
# row that has the id.
_FIND = (
    "SELECT s.generation, (SELECT id FROM item WHERE lookup = ?1), i.lookup, i.envelope"
    " FROM state s LEFT JOIN item i ON i.id = ?2 WHERE s.one = 1"
)
_CONTAINS = _FIND.replace("i.envelope", "NULL")
_LIST = (
    "SELECT s.generation, i.id, i.lookup, i.name FROM state s LEFT JOIN item i"
    " ON i.service_a = ?1 OR i.service_b = ?2 WHERE s.one = 1"
)


class Vault:
    """The vault at a path, opened with the first of the keys that fits.

    Args:
        path: its directory.
        keys: what may open it.
        create: the first write makes the vault, and its key file, if nothing is there.
    """

    __slots__ = ("_create", "_keks", "_keys", "_open_state", "_opening", "path")

    def __init__(self, path: str, keys: tuple[Key, ...], create: bool) -> None:
        self.path = path
        self._keys = keys
        self._create = create
        self._opening = allocate_lock()
        self._open_state: tuple[Engine, Keys] | None = None
        self._keks: dict[tuple[bytes, bytes], Secret] = {}

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """The item's value; None if it is absent; raises as `Store.read`."""
        what = subject(name)
        state = self._open_state or self._open(call)
        while state is not None:
            engine, keys = state
            generation, sealed = _lookup(engine, keys, what, call)
            if generation <= keys.header.generation:
                return None if sealed is None else keys.open_value(what, sealed)
            state = self._reopen(state, generation, call)
        return None

    def contains(self, name: ItemName, call: Call) -> bool:
        """Whether the item is there, also if it would not open."""
        what = subject(name)
        state = self._open_state or self._open(call)
        while state is not None:
            engine, keys = state
            # The previous place first: items move from there, never to there.
            for finder in (keys.previous, keys.finder):
                if finder is None:
                    continue
                lookup, number = finder.place(what)
                row = engine.row(call, _CONTAINS, (lookup, number))
                generation = _generation(row)
                if generation > keys.header.generation:
                    break
                if row[1] is not None or row[2] is not None:
                    return True
            if generation <= keys.header.generation:
                return False
            state = self._reopen(state, generation, call)
        return False

    def names(self, service: str, call: Call) -> list[ItemName]:
        """The service's items of both kinds, sorted; raises as `Store.names`."""
        state = self._open_state or self._open(call)
        while state is not None:
            engine, keys = state
            found: dict[ItemName, None] = {}
            for finder in (keys.previous, keys.finder):
                if finder is None:
                    continue
                rows = engine.rows(call, _LIST, _tags(finder, service))
                generation = _generation(rows[0] if rows else None)
                if generation > keys.header.generation:
                    break
                for _generation_again, number, lookup, sealed in rows:
                    if number is not None:
                        found[_listed(keys, finder, service, number, lookup, sealed)] = None
            if generation <= keys.header.generation:
                return sorted(found)
            state = self._reopen(state, generation, call)
        return []

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """Keeps the value; raises as `Store.write`."""

        def put(connection: Connection, keys: Keys) -> None:
            _put(connection, keys, name, value)

        self.transaction(call, put, create=True)

    def delete(self, name: ItemName, call: Call) -> bool:
        """Erases the item and its quarantine; True if it existed."""

        def drop(connection: Connection, keys: Keys) -> bool:
            return _drop(connection, keys, name)

        return bool(self.transaction(call, drop))

    def replace(
        self, name: ItemName, expected: Secret | None, value: Secret | None, call: Call
    ) -> None:
        """Writes or deletes if the item is still what was expected; raises as `Store.replace`."""

        def exchange(connection: Connection, keys: Keys) -> None:
            what = subject(name)
            sealed = _found_in(connection, keys, what)
            found = None if sealed is None else keys.open_value(what, sealed)
            if found != expected:
                raise WriteConflict("somebody else wrote the item meanwhile")
            if value is not None:
                _put(connection, keys, name, value)
            else:
                _drop(connection, keys, name)

        if expected is None and value is None and self._open_state is None and not self._open(call):
            return
        if expected is not None and self._open_state is None and not self._open(call):
            raise WriteConflict("somebody else erased the item meanwhile")
        self.transaction(call, exchange, create=True)

    def erase(self, service: str, call: Call) -> bool:
        """Erases every item of the service and the old bytes behind them; True if pending."""

        def drop(connection: Connection, keys: Keys) -> None:
            for finder in (keys.previous, keys.finder):
                if finder is not None:
                    connection.execute(
                        "DELETE FROM item WHERE service_a = ? OR service_b = ?",
                        _tags(finder, service),
                    )
                    connection.execute(
                        "DELETE FROM quarantine WHERE service = ?", (finder.service_tag(service),)
                    )
            connection.execute("UPDATE state SET erase_pending = 1")

        if not (self._open_state or self._open(call)):
            return False
        self.transaction(call, drop)
        return not self.finish_erasing(call)

    def finish_erasing(self, call: Call) -> bool:
        """Empties the log and rewrites the database; False if a reader stands in the way."""
        state = self._open_state or self._open(call)
        return state is None or state[0].rewrite(call)

    def version(self, call: Call) -> object:
        """A value that differs after every change by anybody."""
        state = self._open_state or self._open(call)
        return None if state is None else (id(state[0]), state[0].version(call))

    def transaction(
        self, call: Call, body: Callable[[Connection, Keys], T], create: bool = False
    ) -> T | None:
        """Runs `body` in one durable transaction under the keys that hold now.

        Args:
            create: make the vault if there is none, and that was allowed; else None is returned.
        """
        state = self._open_state or self._open(call)
        if state is None:
            if not create:
                return None
            state = self._make(call)
        while True:
            engine, keys = state
            keys.header.require_writable()

            def checked(connection: Connection, keys: Keys = keys) -> T:
                row = connection.execute(
                    "SELECT generation, erase_pending FROM state WHERE one = 1"
                ).fetchone()
                generation = _generation(row)
                if generation > keys.header.generation:
                    raise _NewerHeader(generation)
                if generation < keys.header.generation:
                    # Somebody died between replacing the header and saying so here.
                    connection.execute("UPDATE state SET generation = ?", (keys.header.generation,))
                return body(connection, keys)

            try:
                return engine.transaction(call, checked)
            except _NewerHeader as exc:
                newer = exc.generation
            state = self._reopen(state, newer, call)

    def header(self) -> Header | None:
        """What the vault says about itself without a key; None if there is no vault.

        Raises:
            NotAVault, VaultDamaged, FormatUnsupported, AccessDenied: as `Header.decode`.
        """
        if not files.require_vault_directory(self.path):
            return None
        header = Header.decode(files.read_header(self.path, MAX_HEADER_BYTES))
        files.require_database(self.path)
        return header

    def close(self) -> None:
        """Closes the database and forgets the keys; the next call opens anew."""
        with self._opening:
            state, self._open_state = self._open_state, None
            self._keks = {}
            if state is not None:
                state[0].close()

    def _open(self, call: Call) -> tuple[Engine, Keys] | None:
        """The engine and the keys; None if there is no vault and one may be made."""
        with self._opening:
            if self._open_state is not None:
                return self._open_state
            header = self.header()
            if header is None:
                self._require_never_made()
                return None
            keys = Keys(header, unlock(header, self._keys, call, self._keks).root)
            self._open_state = (Engine(self.path, header.vault_id), keys)
            return self._open_state

    def _require_never_made(self) -> None:
        """A missing vault that a key file knows is lost, not new."""
        hint = f"restore the vault, or remove the key file to begin anew: {self.path}"
        for key in self._keys:
            if isinstance(key, KeyFile) and files.exists(key.path):
                _key, vault_id, _extra = key.read()
                if vault_id:
                    raise StoreUnavailable(f"the vault is gone: {self.path}", hint=hint)
        if not self._create:
            raise StoreUnavailable(f"there is no vault: {self.path}", hint="tokenkeep vault create")

    def _make(self, call: Call) -> tuple[Engine, Keys]:
        from tokenkeep.vault.creation import create

        create(self.path, self._keys, call)
        state = self._open_state or self._open(call)
        if state is None:
            raise StoreUnavailable(f"the vault vanished while it was made: {self.path}")
        return state

    def _reopen(
        self, stale: tuple[Engine, Keys], generation: int, call: Call
    ) -> tuple[Engine, Keys]:
        """The state with the header that the database speaks of."""
        with self._opening:
            if self._open_state is not None and self._open_state is not stale:
                return self._open_state
            engine, _keys = stale
            header = self.header()
            if header is None or header.vault_id != engine.vault_id:
                raise StoreUnavailable("the vault was replaced meanwhile", hint="open it again")
            if header.generation < generation:
                raise VaultDamaged(
                    "the vault's header is older than its database",
                    hint="restore both from one backup",
                )
            keys = Keys(header, unlock(header, self._keys, call, self._keks).root)
            self._open_state = (engine, keys)
            return self._open_state


class _NewerHeader(TokenkeepError):
    """Another process changed the header; never leaves this module."""

    def __init__(self, generation: int) -> None:
        super().__init__()
        self.generation = generation


def _lookup(engine: Engine, keys: Keys, what: bytes, call: Call) -> tuple[int, bytes | None]:
    """The vault's generation, and the item's envelope."""
    if keys.previous is not None:
        # The previous place first: items move from there, never to there.
        place = keys.previous.place(what)
        row = engine.row(call, _FIND, place)
        generation, sealed = _generation(row), _envelope(row, place)
        if sealed is not None or generation > keys.header.generation:
            return generation, sealed
    place = keys.finder.place(what)
    row = engine.row(call, _FIND, place)
    generation = _generation(row)
    if generation > keys.header.generation:
        return generation, None
    return generation, _envelope(row, place)


def _generation(row: Any) -> int:
    if row is None or not isinstance(row[0], int):
        raise VaultDamaged("the vault's database is damaged", hint="tokenkeep vault check")
    return row[0]


def _envelope(row: Any, place: tuple[bytes, int]) -> bytes | None:
    """The envelope in a row of `_FIND`; None if both ways to the item end nowhere.

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


def _found_in(connection: Connection, keys: Keys, what: bytes) -> bytes | None:
    for finder in (keys.previous, keys.finder):
        if finder is not None:
            place = finder.place(what)
            sealed = _envelope(connection.execute(_FIND, place).fetchone(), place)
            if sealed is not None:
                return sealed
    return None


def _listed(
    keys: Keys, finder: Finder, service: str, number: Any, lookup: Any, sealed: Any
) -> ItemName:
    if isinstance(lookup, bytes) and isinstance(sealed, bytes):
        name = keys.open_name(lookup, sealed)
        if name.service == service and finder.place(subject(name)) == (lookup, number):
            return name
    raise SecretDamaged("an item's entry is damaged", hint="tokenkeep vault check")


def _put(connection: Connection, keys: Keys, name: ItemName, value: Secret) -> None:
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
            (number, lookup, *_tags(keys.finder, name.service), sealed_name, sealed),
        )


def _clear_way(connection: Connection, keys: Keys, name: ItemName, what: bytes) -> bool:
    """Whether the item's row can simply be updated; else nothing of it is in the way any more."""
    for finder in (keys.previous, keys.finder):
        if finder is None:
            continue
        place = finder.place(what)
        row = connection.execute(_FIND, place).fetchone()
        try:
            sealed = _envelope(row, place)
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


def _drop(connection: Connection, keys: Keys, name: ItemName) -> bool:
    what, existed = subject(name), False
    for finder in (keys.previous, keys.finder):
        if finder is not None:
            place = finder.place(what)
            row = connection.execute(_CONTAINS, place).fetchone()
            existed = existed or row[1] is not None or row[2] is not None
            _delete_rows(connection, place, row[1])
            connection.execute("DELETE FROM quarantine WHERE lookup = ?", (place[0],))
    return existed


def _delete_rows(connection: Connection, place: tuple[bytes, int], other: int | None) -> None:
    connection.execute("DELETE FROM item WHERE id IN (?, ?)", (place[1], other))


def _tags(finder: Finder, service: str) -> tuple[bytes, bytes]:
    tag = finder.service_tag(service)
    return tag[: len(tag) // 2], tag[len(tag) // 2 :]


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode("utf-8", "replace")
