"""The new place: a storage's items, written and erased only while they are what we think."""

from __future__ import annotations

from tokenkeep.errors import InvalidName, WriteConflict
from tokenkeep.item import MIGRATION, ItemName
from tokenkeep.migrate.fingerprint import RESERVED
from tokenkeep.migrate.source import Seeing, Source
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Transactional

#: Behind the record with what was set aside: whose it was. Neither place may list that any more.
_NAME = ".name"


class NewPlace:
    """A storage as the target of a migration."""

    def __init__(self, storage: SecureStorage) -> None:
        self._storage = storage

    def takes_name(self, name: str) -> bool:
        """Whether an item can have the name."""
        try:
            ItemName(self._storage.service, name)
        except InvalidName:
            return False
        return not name.startswith(RESERVED)

    def takes_size(self, size: int) -> bool:
        """Whether a value can have so many bytes."""
        limit = self._storage.facts.max_value_bytes
        return size <= self._storage.max_value_bytes and (limit is None or size <= limit)

    def names(self) -> list[str]:
        """The names of the application's items."""
        return self._storage.names()

    def read(self, name: str) -> Secret | None:
        """The value under a name; see `SecureStorage.read`."""
        return self._storage.read(name)

    def put(self, name: str, there: Secret | None, value: Secret) -> None:
        """Keeps a value in place of `there`, and reads it back.

        Raises:
            WriteConflict: something else lies there now, or what was read back differs.
        """
        with self._storage.marker.claimed(self._storage.call(), name):
            self._put(ItemName(self._storage.service, name), there, value)

    def put_over_damage(self, name: str, value: Secret) -> None:
        """Keeps a value in place of one that does not open, which the store sets aside."""
        self._storage.write(name, value)
        self._require(ItemName(self._storage.service, name), value)

    def take(self, name: str, there: Secret) -> None:
        """Erases the item.

        Raises:
            WriteConflict: it is not `there` any more.
        """
        item, store = ItemName(self._storage.service, name), self._storage.store
        if isinstance(store, Transactional):
            store.replace(item, there, None, self._storage.call())
        else:
            self._require(item, there)
            store.delete(item, self._storage.call())

    def shows(self, source: Source, record: str) -> bool:
        """Whether a source finds what lies here: both are one place then.

        One that only finds the application's items is shown one, for a moment.
        """
        if isinstance(source, Seeing):
            seen = source.sees(self._record(record))
            if seen is not None:
                return seen
        self._storage.write(RESERVED + record, b"")
        try:
            return source.read(RESERVED + record) is not None
        finally:
            self.hide(record)

    def hide(self, record: str) -> None:
        """Erases the item that `shows` may have left behind where it was killed."""
        self._storage.delete(RESERVED + record)

    # What a migration keeps for itself, which the application never sees.

    def records(self, beginning: str) -> list[str]:
        """The names of the records that begin so."""
        found = self._storage.store.names(self._storage.service, self._storage.call())
        kept = [item.name for item in found if item.kind == MIGRATION]
        return [name for name in kept if name.startswith(beginning)]

    def record(self, name: str) -> Secret | None:
        """What a record holds; None if there is none."""
        return self._storage.store.read(self._record(name), self._storage.call())

    def keep(self, name: str, value: Secret) -> None:
        """Keeps a record, in place of what it held."""
        self._put(self._record(name), self.record(name), value)

    def drop(self, name: str) -> None:
        """Erases a record, if it is there."""
        self._storage.store.delete(self._record(name), self._storage.call())

    def set_aside(self, record: str, name: str, value: Secret | None) -> None:
        """Keeps what an item is about to lose, and first of all its name.

        Args:
            value: None if it does not open: the store itself keeps it, in quarantine.
        """
        self.keep(record + _NAME, Secret(name))
        if value is not None:
            self.keep(record, value)

    def names_aside(self, beginning: str) -> list[str]:
        """The names of the items that were set aside, whatever became of them."""
        kept = [self.record(name) for name in self.records(beginning) if name.endswith(_NAME)]
        return [name.reveal() for name in kept if name is not None]

    def was_set_aside(self, record: str) -> bool:
        """Whether an item was, also if it did not open."""
        return self.record(record + _NAME) is not None

    def _record(self, name: str) -> ItemName:
        return ItemName(self._storage.service, name, MIGRATION)

    def _put(self, item: ItemName, there: Secret | None, value: Secret) -> None:
        store = self._storage.store
        if isinstance(store, Transactional):
            store.replace(item, there, value, self._storage.call())
        else:
            self._require(item, there)
            store.write(item, value, self._storage.call())
        kept = store.read(item, self._storage.call())
        if kept is None or kept != value:
            raise WriteConflict(
                "an item did not read back as it was written",
                hint="try again, or use another store; the old place is untouched",
            )

    def _require(self, item: ItemName, there: Secret | None) -> None:
        if self._storage.store.read(item, self._storage.call()) != there:
            raise WriteConflict("an item was changed meanwhile")
