"""The system bus as verifiers need it: its address, and its failures as presence errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tokenkeep.errors import (
    AccessDenied,
    PresenceDenied,
    PresenceUnavailable,
    StoreTimeout,
    StoreUnavailable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call
    from tokenkeep.native.dbus.connection import Connection

#: D-Bus Specification, "System message bus".
_SYSTEM_BUS = "unix:path=/var/run/dbus/system_bus_socket"


@contextmanager
def system_bus(call: Call) -> Iterator[Connection]:
    """A connection to the system bus, for one question.

    Raises:
        MissingExtra: jeepney is not installed.
        PresenceUnavailable: there is no bus, or what was asked for is not on it.
        PresenceDenied: nobody answered in time.
    """
    from tokenkeep.native.dbus.connection import Connection
    from tokenkeep.native.dbus.errors import ConnectionLost, ErrorReply

    connection: Connection | None = None
    problem: PresenceUnavailable | PresenceDenied
    try:
        connection = Connection(os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS, call)
        yield connection
        return
    except StoreTimeout:
        problem = PresenceDenied("nobody answered in time", reason="timed out")
    except (StoreUnavailable, AccessDenied, ConnectionLost):
        problem = PresenceUnavailable("the system bus cannot be used")
    except ErrorReply as exc:
        problem = PresenceUnavailable(f"the system bus answered {exc.name}")
    finally:
        if connection is not None:
            connection.close()
    raise problem
