"""Our own older names as the source: items that an application calls something else now."""

from __future__ import annotations

from collections.abc import Mapping

from tokenkeep.errors import UnsupportedOption
from tokenkeep.item import ItemName
from tokenkeep.migrate.looking import FAIL
from tokenkeep.migrate.migration import Migration
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage


class OlderNames:
    """Items of a storage under the names that an earlier version gave them."""

    def __init__(self, storage: SecureStorage, names: Mapping[str, str]) -> None:
        self._storage = storage
        self._names = dict(names)
        if set(self._names) & set(self._names.values()):
            raise UnsupportedOption("a name is both an old one and a new one")

    @property
    def identity(self) -> str:
        """The service and the names: each renaming is a migration of its own."""
        return f"renamed {self._storage.service} {sorted(self._names.items())!r}"

    def names(self) -> list[str]:
        """The old names that are there."""
        return [name for name in self._storage.names() if name in self._names]

    def read(self, name: str) -> Secret | None:
        """The value under an old name."""
        return self._storage.read(name) if name in self._names else None

    def sees(self, _record: ItemName) -> bool:
        """It is the same place, and may be: no name is both an old one and a new one."""
        return False

    def remove(self, *names: str) -> None:
        """Erases items under their old names."""
        for name in names:
            self._storage.delete(name)


def rename(storage: SecureStorage, names: Mapping[str, str], *, existing: str = FAIL) -> Migration:
    """The migration of items from their old names to their new ones, within one storage.

    Args:
        names: new names by old ones.

    Raises:
        UnsupportedOption: a name is both an old one and a new one, or two would get the same.
    """
    return Migration(OlderNames(storage, names), storage, names=names, existing=existing)
