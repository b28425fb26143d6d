"""What a Linux desktop says when something may have been unlocked: D-Bus signals, as hints.

The Secret Service and KWallet tell of their keyrings, logind of the login session and of waking up,
screen savers of the screen. A hint is a reason to look, never an answer: whoever waits looks at the
store itself, and looks now and then without a hint, too.
"""

from __future__ import annotations

import os
import select
import time

from tokenkeep.errors import StoreError
from tokenkeep.item import Call
from tokenkeep.native.dbus.connection import BUS, Connection
from tokenkeep.native.dbus.errors import ConnectionLost, ErrorReply
from tokenkeep.native.dbus.wire import Incoming

_LOGIN = "org.freedesktop.login1"
_SECRET = "org.freedesktop.Secret.Service"
_SECRETS = "org.freedesktop.secrets"
_SECRETS_PATH = "/org/freedesktop/secrets"
_PROPERTIES = "org.freedesktop.DBus.Properties"

#: Secret Service API, "Signals"; org.kde.KWallet.xml; screen savers' own interfaces.
SESSION_RULES = (
    f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{_SECRETS}'",
    f"type='signal',interface='{_SECRET}'",
    f"type='signal',interface='{_PROPERTIES}',path_namespace='{_SECRETS_PATH}'",
    "type='signal',interface='org.kde.KWallet',member='walletOpened'",
    "type='signal',interface='org.gnome.ScreenSaver',member='ActiveChanged'",
    "type='signal',interface='org.freedesktop.ScreenSaver',member='ActiveChanged'",
)
#: org.freedesktop.login1(5).
SYSTEM_RULES = (
    f"type='signal',interface='{_LOGIN}.Session'",
    f"type='signal',interface='{_PROPERTIES}',path_namespace='/org/freedesktop/login1/session'",
    f"type='signal',interface='{_LOGIN}.Manager',member='PrepareForSleep'",
)
#: D-Bus Specification, "Well-known Message Bus Instances".
_SYSTEM_BUS = "unix:path=/var/run/dbus/system_bus_socket"
#: The system bus is worth so many seconds: its hints are no more than that.
_SYSTEM_SECONDS = 0.5
#: Seconds that `poll` can count; a longer wait begins again.
_LONGEST_WAIT = 1e6


class LockSignals:
    """Listens on the session bus, and on the system bus where it answers.

    Raises:
        StoreError: the session bus cannot be reached or does not answer in time.
    """

    def __init__(self, session_address: str, call: Call) -> None:
        self._ears = [_Ear(session_address, SESSION_RULES, call)]
        try:
            system = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS
            left = call.remaining()
            seconds = _SYSTEM_SECONDS if left is None else min(_SYSTEM_SECONDS, left)
            self._ears.append(_Ear(system, SYSTEM_RULES, Call(seconds)))
        except StoreError:
            pass  # no logind, a container: the session bus tells what matters most

    def wait(self, seconds: float) -> bool:
        """Waits for a hint, so long at most: True if one came. Hints that came before count."""
        end = time.monotonic() + seconds
        while True:
            heard = [ear.has_heard() for ear in self._ears]  # all: each forgets what it heard
            if any(heard):
                return True
            for ear in [ear for ear in self._ears if ear.is_lost]:
                self._ears.remove(ear)
                ear.close()
            left = end - time.monotonic()
            if left <= 0:
                return False
            poll = select.poll()
            for ear in self._ears:
                poll.register(ear, select.POLLIN)
            poll.poll(min(left, _LONGEST_WAIT) * 1000)

    def close(self) -> None:
        """Stops listening."""
        for ear in self._ears:
            ear.close()
        self._ears.clear()


class _Ear(Connection):
    """A connection that remembers whether it heard a hint."""

    def __init__(self, address: str, rules: tuple[str, ...], call: Call) -> None:
        super().__init__(address, call)
        try:
            self._heard = self.listen(rules, is_hint, call)
        except BaseException as exc:
            self.close()
            if isinstance(exc, (ConnectionLost, ErrorReply)):
                raise StoreError("the bus does not let this program listen") from None
            raise

    def fileno(self) -> int:
        """For `select.poll`."""
        return self._socket.fileno()

    def has_heard(self) -> bool:
        """Whether a hint came since the last question; does not wait."""
        if not self.is_lost:
            self._receive(0.0)
        has_heard = bool(self._heard.arrived)
        self._heard.arrived.clear()
        return has_heard


def is_hint(message: Incoming) -> bool:
    """Whether a signal may mean that something was unlocked, rather than locked."""
    if message.interface == _SECRET or message.member in ("NameOwnerChanged", "walletOpened"):
        return True
    if message.member == "Unlock":
        return message.interface == f"{_LOGIN}.Session"
    if message.member in ("ActiveChanged", "PrepareForSleep"):
        return message.body[:1] == (False,)
    if message.interface != _PROPERTIES or message.member != "PropertiesChanged":
        return False
    if message.path.startswith(_SECRETS_PATH):
        return True
    # Anybody may send such a signal on the system bus: one of another shape is no hint.
    changed = message.body[1] if len(message.body) > 1 else None
    return isinstance(changed, dict) and changed.get("LockedHint") == ("b", False)
