"""Another store as the source: the vault, a platform's store, or another service's items.

Items only: a session's record is bound to its log and fence, and two copies of a refresh token are
taken for theft. `sessions.py` moves those.
"""

from __future__ import annotations

from tokenkeep.item import ItemName
from tokenkeep.migrate.fingerprint import RESERVED
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage


class StoreSource:
    """The items of a storage.

    Args:
        storage: the old place; stays open.
        place: what tells its store from others of its kind, such as a vault's path.
    """

    def __init__(self, storage: SecureStorage, place: str = "") -> None:
        self._storage = storage
        self._place = place

    @property
    def identity(self) -> str:
        """The store's kind, its place and the service."""
        return f"store {self._storage.facts.backend} {self._place} {self._storage.service}"

    def names(self) -> list[str]:
        """The application's items; see `SecureStorage.names`."""
        return [name for name in self._storage.names() if not name.startswith(RESERVED)]

    def read(self, name: str) -> Secret | None:
        """See `SecureStorage.read`."""
        return self._storage.read(name)

    def sees(self, record: ItemName) -> bool:
        """Whether the record is one of this storage's service."""
        storage = self._storage
        if record.service != storage.service:
            return False
        return storage.store.read(record, storage.call()) is not None

    def remove(self, *names: str) -> None:
        """See `SecureStorage.delete`."""
        for name in names:
            self._storage.delete(name)
