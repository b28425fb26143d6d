"""tokenkeep: `SecureStorage` over the Secret Service, here a real gnome-keyring."""

from __future__ import annotations

from tokenkeep import SecretServiceOptions, SecureStorage

SERVICE = "org.example.bench"


class Peer:
    """The default collection of the bus in the environment; `place` is the daemon's affair."""

    def __init__(self, place: str) -> None:
        self._storage = SecureStorage(SERVICE, SecretServiceOptions(), timeout=60.0)

    def read(self, name: str) -> str | None:
        """The text under a name."""
        value = self._storage.read(name)
        return None if value is None else value.reveal()

    def write(self, name: str, value: str) -> None:
        """Keep a text under a name."""
        self._storage.write(name, value)

    def delete(self, name: str) -> None:
        """Erase an item."""
        self._storage.delete(name)
