"""A connection to a message bus that was interrupted is used no more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bus import Bus
from tokenkeep.errors import AccessDenied, StoreError, StoreUnavailable
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


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([], StoreUnavailable),
        ([b"OK 1234deadbeef\r\n"], StoreUnavailable),
        ([b"OK 1234deadbeef\r\n", b"AGREE_UNIX_FD\r\n", b""], StoreUnavailable),
        ([b"REJECTED EXTERNAL\r\n"], AccessDenied),
    ],
    ids=["at once", "in the middle", "after the hello", "with a refusal"],
)
def test_bus_that_hangs_up_is_gone_unless_it_refuses(
    tmp_path: Path, answers: list[bytes], error: type[StoreError]
) -> None:
    """A bus that ends while somebody connects is no question of rights: later there is another."""
    path = str(tmp_path / "bus")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def hang_up() -> None:
            connected, _address = listening.accept()
            with connected:
                for answer in answers:
                    connected.recv(4096)
                    connected.sendall(answer)

        bus = threading.Thread(target=hang_up)
        bus.start()
        with pytest.raises(error):
            Connection(f"unix:path={path}", Call(10.0))
        bus.join()
