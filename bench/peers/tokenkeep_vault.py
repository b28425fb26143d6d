"""tokenkeep: `SecureStorage` over the vault, opened by a key file."""

from __future__ import annotations

import os

from tokenkeep import KeyFile, SecureStorage, VaultOptions

SERVICE = "org.example.bench"


class Peer:
    """A vault below `place`."""

    def __init__(self, place: str) -> None:
        key = KeyFile(os.path.join(place, "bench.key"))
        options = VaultOptions(path=os.path.join(place, "bench.vault"), key=key)
        self._storage = SecureStorage(SERVICE, options)

    def read(self, name: str) -> str | None:
        """The text under a name."""
        value = self._storage.read(name)
        return None if value is None else value.reveal()

    def write(self, name: str, value: str) -> None:
        """Keep a text under a name."""
        self._storage.write(name, value)

    def delete(self, name: str) -> None:
        """Erase what is under a name."""
        self._storage.delete(name)

    def close(self) -> None:
        """Close the vault."""
        self._storage.close()
