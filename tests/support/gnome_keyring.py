"""A real gnome-keyring-daemon without a screen: the login keyring, locked and unlocked at will."""

from __future__ import annotations

import subprocess

from support.bus import Bus
from support.keyring_daemon import ROOT, SERVICE, KeyringDaemon
from support.waiting import eventually

PASSWORD = b"login password"
COLLECTION = f"{ROOT}/collection/login"
#: What gnome-keyring has for its own tools, instead of a prompt.
_INTERNAL = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"


class GnomeKeyring(KeyringDaemon):
    """The daemon on a bus of its own.

    Args:
        with_login: without one there is no default collection, as on a server.
    """

    name = "gnome-keyring"
    collection = COLLECTION

    def __init__(self, bus: Bus, *, with_login: bool = True) -> None:
        self.bus = bus
        self._with_login = with_login
        self.process = self.start()

    def lock(self) -> None:
        """Locks the keyring, as the desktop does."""
        self.bus.call(SERVICE, ROOT, "org.freedesktop.Secret.Service.Lock", "ao", [COLLECTION])
        interface = "org.freedesktop.Secret.Collection"
        eventually(
            lambda: bool(self.bus.get(SERVICE, COLLECTION, interface, "Locked")),
            "the keyring did not lock",
        )

    def unlock(self) -> None:
        """Unlocks the keyring with its password, without a prompt."""
        method = "org.freedesktop.Secret.Service.OpenSession"
        session = self.bus.call(SERVICE, ROOT, method, "sv", "plain", ("s", ""))[1]
        secret = (session, b"", PASSWORD, "text/plain")
        method = f"{_INTERNAL}.UnlockWithMasterPassword"
        self.bus.call(SERVICE, ROOT, method, "o(oayays)", COLLECTION, secret)

    def save(self) -> None:
        """Nothing: what was written is on the disk when the daemon answers."""

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the daemon with the keyring unlocked, as a login does."""
        command = ["gnome-keyring-daemon", "--foreground", "--components=secrets"]
        if self._with_login:
            process = self.bus.spawn(*command, "--unlock", input=PASSWORD)
        else:
            process = self.bus.spawn(*command, "--start")
        self.bus.wait_for(SERVICE)
        return process
