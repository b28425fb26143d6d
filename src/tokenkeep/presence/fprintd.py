"""fprintd: a finger on the machine's reader."""

from __future__ import annotations

from tokenkeep.errors import NotEnrolled, PresenceDenied, PresenceError, PresenceUnavailable
from tokenkeep.presence.system_bus import system_bus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tokenkeep.item import Call
    from tokenkeep.native.dbus.connection import Connection
    from tokenkeep.native.dbus.wire import Incoming

_SERVICE = "net.reactivated.Fprint"
_MANAGER_PATH = "/net/reactivated/Fprint/Manager"
_DEVICE = "net.reactivated.Fprint.Device"
#: Who asks, as the bus knows them: no environment variable says whose finger confirms. See
#: "Usernames" in fprintd's D-Bus interface.
_CALLER = ""
_ERROR = "net.reactivated.Fprint.Error."

#: fprintd's D-Bus interface, "Errors".
ERRORS: dict[str, tuple[type[PresenceError], str]] = {
    _ERROR + "NoSuchDevice": (PresenceUnavailable, "there is no fingerprint reader"),
    _ERROR + "NoEnrolledPrints": (NotEnrolled, "no finger is enrolled"),
    _ERROR + "AlreadyInUse": (PresenceUnavailable, "somebody else is using the reader"),
    _ERROR + "PermissionDenied": (PresenceUnavailable, "the reader refuses this program"),
    _ERROR + "Internal": (PresenceUnavailable, "the reader failed"),
    _ERROR + "ClaimDevice": (PresenceUnavailable, "the reader was taken away"),
    _ERROR + "NoActionInProgress": (PresenceUnavailable, "the reader stopped by itself"),
    _ERROR + "InvalidFingername": (PresenceUnavailable, "the reader does not know the finger"),
    _ERROR + "PrintsNotDeleted": (PresenceUnavailable, "the reader failed"),
    "org.freedesktop.DBus.Error.ServiceUnknown": (PresenceUnavailable, "fprintd is not installed"),
    "org.freedesktop.DBus.Error.NameHasNoOwner": (PresenceUnavailable, "fprintd is not running"),
    "org.freedesktop.DBus.Error.AccessDenied": (
        PresenceUnavailable,
        "the system bus refuses this program",
    ),
}
#: fprintd's D-Bus interface, "Verification results"; anything else asks for another scan.
_RESULTS: dict[str, tuple[type[PresenceError], str] | None] = {
    "verify-match": None,
    "verify-no-match": (PresenceDenied, "another finger"),
    "verify-disconnected": (PresenceUnavailable, "the reader was unplugged"),
    "verify-unknown-error": (PresenceUnavailable, "the reader failed"),
}


class Fprintd:
    """A `Verifier` by fingerprint.

    Args:
        finger: such as "right-index-finger"; "any" that is enrolled.
    """

    name = "fingerprint"

    def __init__(self, finger: str = "any") -> None:
        self.finger = finger

    def verify(self, reason: str, call: Call) -> None:
        """Waits for the finger; raises as `Verifier.verify`.

        The reader has no room for the reason: show it yourself.
        """
        with system_bus(call) as bus:
            (device,) = _ask(
                bus, _MANAGER_PATH, f"{_SERVICE}.Manager", "GetDefaultDevice", (), call, "o"
            )
            _ask(bus, device, _DEVICE, "ListEnrolledFingers", (_CALLER,), call, "as")
            _ask(bus, device, _DEVICE, "Claim", (_CALLER,), call)
            try:
                self._scan(bus, device, call)
            finally:
                _quietly(bus, device, "Release")

    def _scan(self, bus: Connection, device: str, call: Call) -> None:
        rule = f"type='signal',interface='{_DEVICE}',member='VerifyStatus',path='{device}'"
        signals = bus.listen([rule], _is_status, call)
        _ask(bus, device, _DEVICE, "VerifyStart", (self.finger,), call)
        try:
            while True:
                result, _is_done = bus.next_signal(signals, call).body
                if result not in _RESULTS:
                    continue
                verdict = _RESULTS[result]
                if verdict is None:
                    return
                kind, message = verdict
                if kind is PresenceDenied:
                    raise PresenceDenied(message, reason="failed")
                raise kind(message)
        finally:
            bus.ignore(signals)
            _quietly(bus, device, "VerifyStop")


def _is_status(message: Incoming) -> bool:
    return message.member == "VerifyStatus" and message.signature == "sb"


def _ask(
    bus: Connection,
    path: str,
    interface: str,
    member: str,
    values: tuple[str, ...],
    call: Call,
    answer: str = "",
) -> tuple[Any, ...]:
    from tokenkeep.native.dbus.errors import ErrorReply
    from tokenkeep.native.dbus.wire import Request

    problem: PresenceError
    try:
        request = Request(
            _SERVICE, path, interface, member, "s" * len(values), values, answer=answer
        )
        return bus.ask(request, call)
    except ErrorReply as exc:
        kind, message = ERRORS.get(exc.name, (PresenceUnavailable, f"fprintd answered {exc.name}"))
        problem = kind(message)
    raise problem


def _quietly(bus: Connection, path: str, member: str) -> None:
    """Gives back what was taken, also after the deadline, which must not hide why."""
    from tokenkeep.errors import StoreError
    from tokenkeep.item import Call
    from tokenkeep.native.dbus.errors import ConnectionLost

    try:
        _ask(bus, path, _DEVICE, member, (), Call(2.0))
    except (PresenceError, StoreError, ConnectionLost):
        return  # closing the connection gives it back, too
