"""Whether a bus has a Secret Service, without starting one."""

from __future__ import annotations

from tokenkeep.errors import StoreUnavailable
from tokenkeep.native.dbus.address import NO_BUS_HINT
from tokenkeep.native.dbus.connection import BUS, BUS_PATH, Connection
from tokenkeep.native.dbus.errors import ConnectionLost, ErrorReply, translated
from tokenkeep.native.dbus.wire import Request
from tokenkeep.native.secret_service.channel import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call


def is_running(address: str, call: Call) -> bool:
    """True if it runs; False if the bus would start it when it is asked.

    Raises:
        StoreUnavailable: neither, or no bus at the address.
        AccessDenied, StoreTimeout: the bus refuses us, or does not answer.
    """
    answer: list[object] = []
    connection = Connection(address, call)
    try:
        answer = _asked(connection, call)
    finally:
        connection.close()
    has_owner, startable = answer
    if has_owner:
        return True
    if NAME in startable:  # type: ignore[operator]
        return False
    raise StoreUnavailable("no program on this bus offers the Secret Service", hint=NO_BUS_HINT)


def _asked(connection: Connection, call: Call) -> list[object]:
    has_owner = Request(BUS, BUS_PATH, BUS, "NameHasOwner", "s", (NAME,), answer="b")
    startable = Request(BUS, BUS_PATH, BUS, "ListActivatableNames", answer="as")
    problem = StoreUnavailable("the session bus went away", hint=NO_BUS_HINT)
    try:
        return [
            connection.ask(has_owner, call)[0],
            connection.ask(startable, call)[0],
        ]
    except ErrorReply as exc:
        raise translated(exc) from None
    except ConnectionLost:
        pass
    raise problem
