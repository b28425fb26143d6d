"""Where the session bus listens: from the environment, as every D-Bus library finds it."""

from __future__ import annotations

import os

from tokenkeep.errors import StoreUnavailable

#: What to do where there is no session bus: servers, containers, ssh without a login session.
NO_BUS_HINT = "tokenkeep vault create"


def session_bus() -> str:
    """The address of the user's session bus; nothing is connected to.

    `DBUS_SESSION_BUS_ADDRESS`, else the socket that systemd's user session has
    (D-Bus Specification, "Well-known Message Bus Instances").

    Raises:
        StoreUnavailable: there is none.
    """
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    if address:
        return address
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        socket = os.path.join(runtime, "bus")
        if os.path.exists(socket):
            return f"unix:path={_escaped(socket)}"
    raise StoreUnavailable(
        "there is no D-Bus session bus: DBUS_SESSION_BUS_ADDRESS is not set", hint=NO_BUS_HINT
    )


def sockets(address: str) -> list[bytes]:
    """The Unix sockets an address names, in its order; an abstract one begins with NUL.

    Raises:
        StoreUnavailable: it names none, for example only TCP.
    """
    found = []
    for alternative in address.split(";"):
        transport, _, rest = alternative.partition(":")
        if transport != "unix":
            continue
        values = dict(part.partition("=")[::2] for part in rest.split(","))
        if "path" in values:
            found.append(_unescaped(values["path"]))
        elif "abstract" in values:
            found.append(b"\0" + _unescaped(values["abstract"]))
    if not found:
        raise StoreUnavailable("DBUS_SESSION_BUS_ADDRESS names no Unix socket", hint=NO_BUS_HINT)
    return found


def _unescaped(text: str) -> bytes:
    """Undoes the address syntax's %XX, which stands for bytes; the rest is the file system's."""
    head, *rest = os.fsencode(text).split(b"%")
    parts = [head]
    for part in rest:
        try:
            parts.append(bytes([int(part[:2], 16)]) + part[2:])
        except ValueError:
            parts.append(b"%" + part)
    return b"".join(parts)


def _escaped(path: str) -> str:
    """A path as a value in an address: every byte but the optionally escaped ones as %XX."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.*"
    return "".join(chr(b) if b in plain else f"%{b:02x}" for b in os.fsencode(path))
