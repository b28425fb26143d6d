"""polkit: the desktop's own agent asks the person for the password of their account.

The action has to be one whose policy says `auth_self`; one that is allowed without a question
proves nothing about presence. An application installs its own action; `docs/how-to/presence.md`
has the file.
"""

from __future__ import annotations

import os

from tokenkeep.errors import PresenceDenied, PresenceUnavailable, UnsupportedOption
from tokenkeep.presence.system_bus import system_bus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call

_SERVICE = "org.freedesktop.PolicyKit1"
_AUTHORITY = "org.freedesktop.PolicyKit1.Authority"
_PATH = "/org/freedesktop/PolicyKit1/Authority"
_ALLOW_USER_INTERACTION = 1


class Polkit:
    """A `Verifier` by polkit.

    Args:
        action: the id of the application's own action, such as "org.example.notes.show-secret".

    Raises:
        UnsupportedOption: that cannot be an action.
    """

    name = "polkit"

    def __init__(self, action: str) -> None:
        if not action or not all(
            each.isascii() and (each.isalnum() or each in ".-") for each in action
        ):
            raise UnsupportedOption("a polkit action is letters, digits, dots and dashes")
        self.action = action

    def verify(self, reason: str, call: Call) -> None:
        """Asks polkit's agent; raises as `Verifier.verify`."""
        from tokenkeep.native.dbus.wire import Request

        pid = os.getpid()
        subject = (
            "unix-process",
            {"pid": ("u", pid), "start-time": ("t", _start_time(pid)), "uid": ("i", os.getuid())},
        )
        with system_bus(call) as bus:
            (answer,) = bus.ask(
                Request(
                    _SERVICE,
                    _PATH,
                    _AUTHORITY,
                    "CheckAuthorization",
                    "(sa{sv})sa{ss}us",
                    (subject, self.action, {}, _ALLOW_USER_INTERACTION, ""),
                    answer="(bba{ss})",
                ),
                call,
            )
        is_authorized, needs_challenge, details = answer
        if is_authorized:
            return
        if details.get("polkit.dismissed"):
            raise PresenceDenied(reason="cancelled")
        if needs_challenge:
            raise PresenceUnavailable(
                "polkit would ask, and no agent of the desktop is there to do it",
                hint="start the desktop's polkit agent",
            )
        raise PresenceDenied("polkit refuses this", reason="failed")


def _start_time(pid: int) -> int:
    """When the process started, in clock ticks: a process id alone can be another's by now."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The name in parentheses may hold anything.
        return int(file.read().rpartition(b")")[2].split()[19])
