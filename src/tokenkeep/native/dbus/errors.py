"""What D-Bus and the Secret Service answer, and which of our errors it means: the one table.

`Verdict.SEARCH` is an answer about an object that is not there any more: the caller looks again.
`Verdict.REOPEN` is a session or a connection that is gone: it is made anew and the call repeated
within its deadline.
"""

from __future__ import annotations

from tokenkeep.errors import (
    AccessDenied,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    ValueTooLarge,
)
from tokenkeep.native.dbus.address import NO_BUS_HINT

#: What to do about a keyring that is locked, or whatever else waits for a person.
ASK_HINT = "allow a prompt: Interaction.ALLOWED in Python, a terminal for the command"
UNLOCK_HINT = f"unlock it, or {ASK_HINT}"


class Verdict:
    """What an answer asks the caller to do, where it is no error yet."""

    SEARCH = "search again"
    REOPEN = "open again"


#: Secret Service API, "Errors"; D-Bus Specification, "Standard error names"; what the daemons send.
TABLE: dict[str, type[StoreError] | str] = {
    "org.freedesktop.Secret.Error.IsLocked": StoreLocked,
    "org.freedesktop.Secret.Error.NoSession": Verdict.REOPEN,
    "org.freedesktop.Secret.Error.NoSuchObject": Verdict.SEARCH,
    # libsecret's, for implementations that send it: somebody else created the item first.
    "org.freedesktop.Secret.Error.AlreadyExists": Verdict.SEARCH,
    "org.freedesktop.DBus.Error.UnknownObject": Verdict.SEARCH,
    # GLib's answer for an object that is not there, as the interface is looked for on the object.
    "org.freedesktop.DBus.Error.UnknownMethod": Verdict.SEARCH,
    "org.freedesktop.DBus.Error.UnknownInterface": Verdict.SEARCH,
    # Qt's (KWallet, KeePassXC) for an object that went away between two answers.
    "org.qtproject.QtDBus.Error.InvalidObjectPath": Verdict.SEARCH,
    "org.freedesktop.DBus.Error.ServiceUnknown": StoreUnavailable,
    "org.freedesktop.DBus.Error.NameHasNoOwner": StoreUnavailable,
    "org.freedesktop.DBus.Error.NoServer": StoreUnavailable,
    "org.freedesktop.DBus.Error.NotSupported": StoreUnavailable,
    "org.freedesktop.DBus.Error.AccessDenied": AccessDenied,
    "org.freedesktop.DBus.Error.AuthFailed": AccessDenied,
    "org.gnome.keyring.Error.Denied": AccessDenied,
    "org.freedesktop.DBus.Error.NoReply": StoreTimeout,
    "org.freedesktop.DBus.Error.Timeout": StoreTimeout,
    "org.freedesktop.DBus.Error.TimedOut": StoreTimeout,
    "org.freedesktop.DBus.Error.LimitsExceeded": ValueTooLarge,
    "org.freedesktop.DBus.Error.Disconnected": Verdict.REOPEN,
    "org.freedesktop.DBus.Error.NoMemory": Verdict.REOPEN,
}
_SPAWN = "org.freedesktop.DBus.Error.Spawn."

_MESSAGES: dict[type[StoreError], tuple[str, str | None]] = {
    StoreLocked: ("the keyring is locked", UNLOCK_HINT),
    StoreUnavailable: ("no Secret Service can be reached", NO_BUS_HINT),
    AccessDenied: ("the session bus or the Secret Service refuses this program", None),
    StoreTimeout: (
        "the Secret Service did not answer, perhaps as it waits for an unlock prompt",
        "unlock the keyring, then try again",
    ),
    ValueTooLarge: ("the value is too large for the Secret Service", NO_BUS_HINT),
}


class ErrorReply(Exception):
    """An error as the answer to a request; its text, which may say anything, is not kept.

    Args:
        path: the object that was asked.
        had_value: the request brought a value to keep.
    """

    def __init__(self, name: str, path: str = "", had_value: bool = False) -> None:
        super().__init__(name)
        self.name = name
        self.path = path
        self.had_value = had_value


class ConnectionLost(Exception):
    """The bus closed the connection, or it can no longer be used."""


def verdict(name: str) -> type[StoreError] | str:
    """What an error's name means; `StoreUnavailable` for a name nobody has heard of."""
    if name.startswith(_SPAWN):
        return StoreUnavailable
    return TABLE.get(name, StoreUnavailable)


def translated(reply: ErrorReply) -> StoreError:
    """The error to raise for an error reply that cannot be answered by trying again.

    An object that is not there although it cannot be missing means that the service is no full
    implementation. A limit is the value's only where there was one: else it is the bus's own, on
    connections or on questions under way.
    """
    name, meant = reply.name, verdict(reply.name)
    if meant is ValueTooLarge and not reply.had_value:
        return StoreUnavailable(
            f"the bus serves no more than it does now ({name})",
            hint="end programs that hold connections to it, then try again",
        )
    if isinstance(meant, str):
        return StoreUnavailable(
            f"the Secret Service does not do what the specification asks for ({name})",
            hint=NO_BUS_HINT,
        )
    text, hint = _MESSAGES[meant]
    return meant(f"{text} ({name})", hint=hint)
