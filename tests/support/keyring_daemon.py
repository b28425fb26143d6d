"""What every daemon that keeps a keyring can be told, real and without a screen."""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod

from support.bus import Bus
from support.waiting import eventually

SERVICE = "org.freedesktop.secrets"
ROOT = "/org/freedesktop/secrets"


class KeyringDaemon(ABC):
    """A daemon on a bus of its own."""

    name: str
    bus: Bus
    process: subprocess.Popen[bytes]

    @property
    @abstractmethod
    def collection(self) -> str:
        """The collection's path."""

    @abstractmethod
    def lock(self) -> None:
        """Locks the keyring, as the person or the desktop does."""

    @abstractmethod
    def unlock(self) -> None:
        """Unlocks the keyring with its password, without a prompt."""

    @abstractmethod
    def start(self) -> subprocess.Popen[bytes]:
        """Starts the program with the keyring open, as a login does."""

    def save(self) -> None:
        """Has what was written on the disk, which is otherwise done later."""
        self.lock()
        self.unlock()

    def freeze(self) -> None:
        """Stops the program without ending it."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen program go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends the program at once."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Starts the program anew with the keyring open, as after a new login."""
        self.bus.end(self.process)
        eventually(lambda: not self.bus.has(SERVICE), "the name stayed")
        self.process = self.start()
