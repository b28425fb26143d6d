"""keyrings.alt: the encrypted file, its passphrase given by the program."""

from __future__ import annotations

import sys

from keyrings.alt.file import EncryptedKeyring

SERVICE = "org.example.bench"


class Peer:
    """The file that the environment's XDG_DATA_HOME points to."""

    def __init__(self, place: str) -> None:
        self._keyring = EncryptedKeyring()
        self._keyring.keyring_key = "a passphrase for the bench"

    def read(self, name: str) -> str | None:
        """The text under a name."""
        return self._keyring.get_password(SERVICE, name)

    def write(self, name: str, value: str) -> None:
        """Keep a text under a name."""
        self._keyring.set_password(SERVICE, name, value)


if __name__ == "__main__":
    print(Peer(sys.argv[1]).read(sys.argv[2]))
