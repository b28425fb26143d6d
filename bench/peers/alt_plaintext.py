"""keyrings.alt: the file without encryption, in the user's data directory."""

from __future__ import annotations

from keyrings.alt.file import PlaintextKeyring

SERVICE = "org.example.bench"


class Peer:
    """The file that the environment's XDG_DATA_HOME points to."""

    def __init__(self, place: str) -> None:
        self._keyring = PlaintextKeyring()

    def read(self, name: str) -> str | None:
        """The text under a name."""
        return self._keyring.get_password(SERVICE, name)

    def write(self, name: str, value: str) -> None:
        """Keep a text under a name."""
        self._keyring.set_password(SERVICE, name, value)
