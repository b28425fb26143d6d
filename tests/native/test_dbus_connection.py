"""A connection to a message bus that was interrupted is used no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.bus import Bus
from tokenkeep.item import Call
from tokenkeep.native.dbus.connection import BUS, BUS_PATH, Connection
from tokenkeep.native.dbus.errors import ConnectionLost
from tokenkeep.native.dbus.wire import Incoming, Request

pytestmark = pytest.mark.requires("gnome-keyring")  # whose package brings the bus

RULE = f"type='signal',interface='{BUS}',member='NameOwnerChanged'"


@pytest.fixture
def bus() -> Iterator[Bus]:
    with Bus() as started:
        yield started


class Interrupt(BaseException):
    """Ctrl-C, without ending the tests."""


def test_interrupt_while_reading_loses_the_connection_and_not_a_reply(bus: Bus) -> None:
    """What was read and handed to nobody cannot be asked for again: a new connection can."""

    def interrupted(message: Incoming) -> bool:
        if message.member == "NameOwnerChanged":
            raise Interrupt
        return False

    connection = Connection(bus.address, Call(10.0))
    signals = connection.listen([RULE], interrupted, Call(10.0))
    other = Connection(bus.address, Call(10.0))
    with pytest.raises(Interrupt):
        connection.next_signal(signals, Call(10.0))
    other.close()
    with pytest.raises(ConnectionLost):
        connection.ask(Request(BUS, BUS_PATH, BUS, "GetId"), Call(10.0))
    connection.close()
