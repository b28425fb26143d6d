"""The new place: a storage's items, written and erased only while they are what we think."""

from __future__ import annotations

from tokenkeep.errors import InvalidName, WriteConflict
from tokenkeep.item import ItemName
from tokenkeep.migrate.fingerprint import RESERVED
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Transactional


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
        """The names of all items."""
        return self._storage.names()

    def read(self, name: str) -> Secret | None:
        """The value under a name; see `SecureStorage.read`."""
        return self._storage.read(name)

    def put(self, name: str, there: Secret | None, value: Secret) -> None:
        """Keeps a value in place of `there`, and reads it back.

        Raises:
            WriteConflict: something else lies there now, or what was read back differs.
        """
        store = self._storage.store
        if isinstance(store, Transactional):
            item = ItemName(self._storage.service, name)
            store.replace(item, there, value, self._storage.call())
        else:
            self._require(name, there)
            self._storage.write(name, value)
        kept = self._storage.read(name)
        if kept is None or kept != value:
            raise WriteConflict(
                "an item did not read back as it was written",
                hint="try again, or use another store; the old place is untouched",
            )

    def put_over_damage(self, name: str, value: Secret) -> None:
        """Keeps a value in place of one that does not open, which the store sets aside."""
        self._storage.write(name, value)
        self._require(name, value)

    def take(self, name: str, there: Secret) -> None:
        """Erases the item.

        Raises:
            WriteConflict: it is not `there` any more.
        """
        store = self._storage.store
        if isinstance(store, Transactional):
            store.replace(ItemName(self._storage.service, name), there, None, self._storage.call())
        else:
            self._require(name, there)
            self._storage.delete(name)

    def drop(self, name: str) -> None:
        """Erases one of the migration's own items, if it is there."""
        self._storage.delete(name)

    def _require(self, name: str, there: Secret | None) -> None:
        if self._storage.read(name) != there:
            raise WriteConflict("an item was changed meanwhile")
