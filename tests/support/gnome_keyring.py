"""A real gnome-keyring-daemon without a screen: the login keyring, locked and unlocked at will."""

from __future__ import annotations

import signal
import subprocess

from support.bus import Bus

PASSWORD = b"login password"
SERVICE = "org.freedesktop.secrets"
ROOT = "/org/freedesktop/secrets"
COLLECTION = f"{ROOT}/collection/login"
#: What gnome-keyring has for its own tools, instead of a prompt.
_INTERNAL = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"


class GnomeKeyring:
    """The daemon on a bus of its own.

    Args:
        with_login: without one there is no default collection, as on a server.
    """

    name = "gnome-keyring"
    collection = COLLECTION

    def __init__(self, bus: Bus, *, with_login: bool = True) -> None:
        self.bus = bus
        self._with_login = with_login
        self.process = self._start()

    def lock(self) -> None:
        """Locks the keyring, as the desktop does."""
        self.bus.call(SERVICE, ROOT, "org.freedesktop.Secret.Service.Lock", "ao", [COLLECTION])

    def unlock(self) -> None:
        """Unlocks the keyring with its password, without a prompt."""
        method = "org.freedesktop.Secret.Service.OpenSession"
        session = self.bus.call(SERVICE, ROOT, method, "sv", "plain", ("s", ""))[1]
        secret = (session, b"", PASSWORD, "text/plain")
        method = f"{_INTERNAL}.UnlockWithMasterPassword"
        self.bus.call(SERVICE, ROOT, method, "o(oayays)", COLLECTION, secret)

    def save(self) -> None:
        """Nothing: what was written is on the disk when the daemon answers."""

    def freeze(self) -> None:
        """Stops the daemon without ending it."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen daemon go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends the daemon at once."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Starts the daemon anew with the keyring unlocked, as after a new login."""
        self.bus.end(self.process)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = ["gnome-keyring-daemon", "--foreground", "--components=secrets"]
        if self._with_login:
            process = self.bus.spawn(*command, "--unlock", input=PASSWORD)
        else:
            process = self.bus.spawn(*command, "--start")
        self.bus.wait_for(SERVICE)
        return process
