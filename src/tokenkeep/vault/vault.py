"""An open vault: items by name, over the engine and the keys.

Invariants: reading changes nothing; every transaction and every query learns whether the header
was replaced meanwhile, and follows it.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from tokenkeep.errors import (
    SecretDamaged,
    StoreError,
    StoreFull,
    StoreUnavailable,
    VaultDamaged,
    WriteConflict,
)
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import files, rows
from tokenkeep.vault.engine import Engine
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import MAX_HEADER_BYTES, Header
from tokenkeep.vault.holding import holding
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.slots import unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable
    from sqlite3 import Connection
    from typing import TypeVar

    from tokenkeep.item import Call
    from tokenkeep.vault.slots import Key

    T = TypeVar("T")

#: After an attempt that cost its call much of its time, other calls come first for as long.
_REWRITE_AGAIN_SECONDS = 60.0


class Vault:
    """The vault at a path, opened with the first of the keys that fits.

    Args:
        path: its directory.
        keys: what may open it.
        create: the first write makes the vault, and its key file, if nothing is there.
    """

    __slots__ = ("_create", "_is_settled", "_keks", "_open_state", "_opened", "_opening", "_pid",
                 "_rewrite_after", "keys", "path")  # fmt: skip

    def __init__(self, path: str, keys: tuple[Key, ...], create: bool = False) -> None:
        self.path = path
        self.keys = keys
        self._create = create
        self._opening = allocate_lock()
        self._pid = os.getpid()
        self._open_state: tuple[Engine, Keys] | None = None
        self._opened = 0
        self._is_settled = False
        self._rewrite_after = 0.0
        self._keks: dict[tuple[bytes, bytes], Secret] = {}

    @property
    def is_open(self) -> bool:
        """Whether its keys are at hand; it may have been moved or removed since."""
        return self._open_state is not None

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """The item's value; None if it is absent; raises as `Store.read`."""
        what = subject(name)
        state = self._state(call)
        while state is not None:
            keys = state[1]
            try:
                generation, sealed = rows.looked_up(state, name, what, call)
                if generation <= keys.header.generation:
                    if sealed is not None:
                        return keys.open_value(what, sealed)
                    self._require_fitting(state, generation, call)
                    return None
            except SecretDamaged:
                keys.forget(what)  # so that the next write looks at all of it
                raise
            state = self._reopen(state, generation, call)
        return None

    def contains(self, name: ItemName, call: Call) -> bool:
        """Whether the item is there, also if it would not open."""
        state = self._state(call)
        while state is not None:
            generation, is_there = rows.presence(state, name, call)
            if generation <= state[1].header.generation:
                if not is_there:
                    self._require_fitting(state, generation, call)
                return is_there
            state = self._reopen(state, generation, call)
        return False

    def names(
        self,
        service: str,
        call: Call,
        unnamed: list[SecretDamaged] | None = None,
    ) -> list[ItemName]:
        """The service's items of every kind, sorted; raises as `Store.names`.

        Args:
            unnamed: takes an error for each name that does not open, instead of the caller.
        """
        state = self._state(call)
        while state is not None:
            if unnamed is not None:
                unnamed.clear()  # of an attempt whose keys were no longer the right ones
            generation, found = rows.listing(state, service, call, unnamed)
            if generation <= state[1].header.generation:
                self._require_fitting(state, generation, call)
                return sorted(found)
            state = self._reopen(state, generation, call)
        return []

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """Keeps the value; raises as `Store.write`."""
        what = subject(name)
        state = self._open_state
        if state is not None and self._is_settled:
            engine, keys = state
            try:
                if engine.locked(call, rows.put_plainly, engine, keys, name, what, value, call):
                    return
            except StoreFull:
                pass  # the longer way makes room
            except StoreUnavailable:
                self._let_go_if_replaced(engine)
                raise

        def put(connection: Connection, keys: Keys) -> None:
            rows.put(connection, keys, name, value)

        self.transaction(call, put, create=True, size=value.size)

    def delete(self, name: ItemName, call: Call) -> bool:
        """Erases the item and its quarantine; True if it existed.

        Raises:
            StoreFull: there is not even room for that; nothing was erased.
        """

        def drop(connection: Connection, keys: Keys) -> bool:
            return rows.drop(connection, keys, name)

        try:
            return bool(self.transaction(call, drop, erases=True))
        except StoreFull as exc:
            raise StoreFull(f"{exc}; nothing was erased", hint=exc.hint) from None

    def replace(
        self, name: ItemName, expected: Secret | None, value: Secret | None, call: Call
    ) -> None:
        """Writes or deletes if the item is still what was expected; raises as `Store.replace`."""

        def exchange(connection: Connection, keys: Keys) -> None:
            what = subject(name)
            sealed = rows.found_in(connection, keys, name, what)
            found = None if sealed is None else keys.open_value(what, sealed)
            if found != expected:
                raise WriteConflict("somebody else wrote the item meanwhile")
            if value is not None:
                rows.put(connection, keys, name, value)
            else:
                rows.drop(connection, keys, name)

        if (self._open_state or self._open(call)) is None:
            if expected is not None:
                raise WriteConflict("somebody else erased the item meanwhile")
            if value is None:
                return
        size = 0 if value is None else value.size
        self.transaction(call, exchange, create=True, size=size, erases=value is None)

    def version(self, call: Call) -> object:
        """A value that differs after every change by anybody."""
        state = self._state(call)
        return None if state is None else (self._opened, *state[0].version(call))

    def transaction(
        self,
        call: Call,
        body: Callable[[Connection, Keys], T],
        create: bool = False,
        size: int = 0,
        erases: bool = False,
    ) -> T | None:
        """Runs `body` in one durable transaction under the keys that hold now.

        Args:
            create: make the vault if there is none, and that was allowed; else None is returned.
            size: about how many bytes are written.
            erases: on a full disk it may have the room that the vault keeps.
        """
        from tokenkeep.vault.agreeing import NewerHeader, agreed  # reading needs none of it

        state = self._open_state or self._open(call)
        if state is None:
            if not create:
                return None
            state = self._make(call)
        under_these: Callable[..., tuple[bool, T]] = agreed
        while True:
            engine, keys = state
            keys.header.require_writable()
            try:
                owed, result = engine.transaction(call, under_these, (keys, body), size, erases)
            except NewerHeader as exc:
                newer = exc.generation
            except StoreUnavailable:
                self._let_go_if_replaced(engine)
                raise
            else:
                if owed:
                    self._finish_erasing(engine, call)
                if erases:
                    self._is_settled = False  # it may have had the room that the vault keeps
                elif not self._is_settled:
                    self._settle(state, call)
                return result
            state = self._reopen(state, newer, call)

    def change_header(
        self,
        call: Call,
        change: Callable[[Connection, Keys], tuple[Header, Secret] | None],
        step: Callable[[str], None] = lambda _name: None,
        identity: tuple[int, int] | None = None,
    ) -> Keys:
        """Replaces the header, alone among all processes, and returns the keys that hold then.

        It begins with the header on disk, of which the database may not know: its writer may have
        died. Readers follow, because the database says that there is a newer header; where it
        could not, with the next write.

        Args:
            change: gives the new header and its root key; None leaves the header as it is.
            step: told before each step; what it raises is a crash there.
            identity: of the engine that has to be open still, if one has to.

        Raises:
            StoreUnavailable: there is no vault, or it was moved or replaced meanwhile.
            AccessDenied, StoreFull: nothing changed.
        """
        from tokenkeep.vault.agreeing import NewerHeader, agree  # reading needs none of it
        from tokenkeep.vault.header_file import replace_header

        state = self.opened(call)
        while True:
            engine, keys = state
            if identity not in (None, engine.identity):
                raise StoreUnavailable("the vault was replaced meanwhile", hint="try again")
            keys.header.require_writable()

            def alone(connection: Connection, engine: Engine = engine, keys: Keys = keys) -> Keys:
                newest = self._header_of(engine).generation
                if newest > keys.header.generation:
                    raise NewerHeader(newest)
                agree(connection, keys.header)
                changed = change(connection, keys)
                if changed is None:
                    return keys
                header, root = changed
                after = Keys(header, root)  # what would not open must not be written
                step("header")
                replace_header(engine, header.encode())
                step("state")
                rows.announce(connection, header.generation)
                return after

            try:
                after = engine.locked(call, alone)
            except NewerHeader as exc:
                newer = exc.generation
            except StoreUnavailable:
                self._let_go_if_replaced(engine)
                raise
            else:
                self._open_state = (engine, after)
                return after
            state = self._reopen(state, newer, call)

    def opened(self, call: Call) -> tuple[Engine, Keys]:
        """The engine and the keys that hold now.

        Raises:
            StoreUnavailable: there is no vault.
        """
        state = self.unlocked(call)
        row = state[0].row(call, "SELECT generation FROM state WHERE one = 1")
        generation = rows.generation_of(row)
        if generation > state[1].header.generation:
            state = self._reopen(state, generation, call)
        self._require_fitting(state, generation, call)
        return state

    def look(self, call: Call, body: Callable[[Engine, Keys], T]) -> T:
        """What `body` finds, under keys that held all the while: else it looks again."""
        state = self.opened(call)
        while True:
            try:
                found = body(*state)
            except SecretDamaged:
                newest = self.opened(call)
                if newest[1] is state[1]:
                    raise
            else:
                newest = self.opened(call)
                if newest[1] is state[1]:
                    return found
            state = newest

    def newest(self, call: Call) -> tuple[Engine, Keys]:
        """As `opened`, by the header on disk, of which the database may not know."""
        state = self.opened(call)
        generation = self._header_of(state[0]).generation
        if generation > state[1].header.generation:
            state = self._reopen(state, generation, call)
        return state

    def unlocked(self, call: Call) -> tuple[Engine, Keys]:
        """The engine and the keys as this process knows them; the database stays closed.

        It does not follow to another vault: what changes a vault in several steps, such as a
        rekey, would go on in one that it has not seen.

        Raises:
            StoreUnavailable: there is no vault.
        """
        state = self._open_state or self._open(call)
        if state is None:
            raise _no_vault(self.path)
        return state

    def header(self, *, with_database: bool = True) -> Header | None:
        """What the vault says about itself without a key; None if there is no vault.

        Args:
            with_database: look at the database's file too.

        Raises:
            NotAVault, VaultDamaged, FormatUnsupported, AccessDenied: as `Header.decode`.
        """
        if not files.require_vault_directory(self.path):
            return None
        header = Header.decode(files.read_header(self.path, MAX_HEADER_BYTES))
        if with_database:
            files.require_database(self.path)
        return header

    def close(self) -> None:
        """Closes the database and forgets the keys; the next call opens anew."""
        state, self._open_state = self._open_state, None
        self._keks = {}
        self._is_settled, self._rewrite_after = False, 0.0
        if state is not None:
            state[0].close()

    def _state(self, call: Call) -> tuple[Engine, Keys] | None:
        """What a reader goes by: the vault that has the name, as `_open`."""
        state = self._open_state
        if state is not None:
            if not state[0].is_replaced(call):
                return state
            self._let_go_if_replaced(state[0])
        return self._open(call)

    def _open(self, call: Call) -> tuple[Engine, Keys] | None:
        """The engine and the keys; None if there is no vault and one may be made."""
        return holding(self._turn(), call, self._open_alone, call)

    def _open_alone(self, call: Call) -> tuple[Engine, Keys] | None:
        if self._open_state is not None:
            return self._open_state
        header = self.header()
        if header is None and self._was_made():
            # A key file may name the vault only since another process published it.
            header = self.header()
            if header is None:
                raise StoreUnavailable(
                    f"the vault is gone: {self.path}",
                    hint="restore it, give its own path, or begin anew with another key file",
                )
        if header is None and not self._create:
            raise _no_vault(self.path)
        if header is None:
            return None
        keys = Keys(header, unlock(header, self.keys, call, self._keks).root)
        self._opened += 1
        self._open_state = (Engine.made(self.path, header.vault_id, call), keys)
        return self._open_state

    def _let_go_if_replaced(self, engine: Engine) -> None:
        """Lets the next call open what has the vault's name now, such as a backup of it."""
        state = self._open_state
        if engine.was_replaced and state is not None and state[0] is engine:
            self._open_state, self._is_settled = None, False

    def _was_made(self) -> bool:
        """Whether a key file knows a vault: one that is missing then is lost, not new."""
        for key in self.keys:
            if isinstance(key, KeyFile) and files.exists(key.path):
                _key, vault_id, _extra = key.read()
                if vault_id:
                    return True
        return False

    def _make(self, call: Call) -> tuple[Engine, Keys]:
        from tokenkeep.vault.creation import create

        create(self.path, self.keys, call)
        state = self._open_state or self._open(call)
        if state is None:
            raise StoreUnavailable(f"the vault vanished while it was made: {self.path}")
        return state

    def _reopen(
        self, stale: tuple[Engine, Keys], generation: int, call: Call
    ) -> tuple[Engine, Keys]:
        """The state with the header that the database speaks of."""
        return holding(self._turn(), call, self._reopen_alone, stale, generation, call)

    def _reopen_alone(
        self, stale: tuple[Engine, Keys], generation: int, call: Call
    ) -> tuple[Engine, Keys]:
        now = self._open_state
        if now is not None and now[1].header.generation >= generation:
            return now
        engine, _keys = stale
        header = self._header_of(engine)
        if header.generation < generation:
            raise VaultDamaged(
                "the vault's header is older than its database",
                hint="restore both from one backup",
            )
        keys = Keys(header, unlock(header, self.keys, call, self._keks).root)
        self._open_state = (engine, keys)
        return self._open_state

    def _require_fitting(self, state: tuple[Engine, Keys], generation: int, call: Call) -> None:
        """Raises as `rows.require_fitting`, where the database may not know of the header."""
        engine, keys = state
        if generation < keys.header.generation:
            row = engine.row(call, rows.FITTING, (b"".join(keys.header.wrapped_keys),))
            rows.require_fitting(keys.header, row)

    def _header_of(self, engine: Engine) -> Header:
        """The header on disk of the vault that is open; raises as `header`."""
        header = self.header()
        if header is None or header.vault_id != engine.vault_id:
            raise StoreUnavailable("the vault was replaced meanwhile", hint="open it again")
        return header

    def _finish_erasing(self, engine: Engine, call: Call) -> None:
        """Rewrites the database, which somebody before us could not; again later if we cannot.

        The caller's write is done and durable; that this fails must not say otherwise.
        """
        from tokenkeep.vault.rewriting import rewrite  # few writes owe it

        now = call.clock.monotonic()
        if now >= self._rewrite_after:
            try:
                rewrite(engine, call)
            except StoreError:
                self._rewrite_after = now + _REWRITE_AGAIN_SECONDS

    def _settle(self, state: tuple[Engine, Keys], call: Call) -> None:
        """Does what somebody before us could not; whether it can be done now or not."""
        from tokenkeep.vault.settling import settle  # reading needs none of it

        self._is_settled = True
        header = state[1].header
        settle(self.path, header, lambda: unlock(header, self.keys, call, self._keks).key)

    def _turn(self) -> LockType:
        """The lock around opening."""
        if self._pid != os.getpid():
            # Forked while another thread was opening: that thread does not exist here.
            self._opening, self._pid = allocate_lock(), os.getpid()
        return self._opening


def _no_vault(path: str) -> StoreUnavailable:
    return StoreUnavailable(f"there is no vault: {path}", hint="tokenkeep vault create")
