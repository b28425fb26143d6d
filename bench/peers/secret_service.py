"""keyring with its own choice of backend: here the Secret Service, by a real gnome-keyring."""

from __future__ import annotations

import keyring

SERVICE = "org.example.bench"


class Peer:
    """The default collection of the bus in the environment; `place` is the daemon's affair."""

    def __init__(self, place: str) -> None:
        backend = type(keyring.get_keyring()).__module__
        if backend != "keyring.backends.SecretService":
            raise RuntimeError(f"keyring chose {backend}")

    def read(self, name: str) -> str | None:
        """The text under a name."""
        return keyring.get_password(SERVICE, name)

    def write(self, name: str, value: str) -> None:
        """Keep a text under a name."""
        keyring.set_password(SERVICE, name, value)

    def delete(self, name: str) -> None:
        """Erase an item."""
        keyring.delete_password(SERVICE, name)
