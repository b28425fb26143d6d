"""A connection to a message bus: interrupted it is used no more, and a message has a limit."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaks.cases import SECRET, found_in
from support.bus import Bus
from tokenkeep.errors import AccessDenied, StoreError, StoreUnavailable, ValueTooLarge
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


def test_message_that_is_too_large_is_refused_and_the_connection_goes_on(bus: Bus) -> None:
    """An array has at most 64 MiB (D-Bus Specification, "Marshalling"): no byte of a larger one is
    sent, so that the stream stays whole; and no frame shows what was in it.
    """
    connection = Connection(bus.address, Call(10.0))
    value = SECRET.encode() + bytes(64 << 20)
    refused = Request(BUS, BUS_PATH, BUS, "GetId", "ay", (value,), answer="s", has_value=True)
    for ask in (
        lambda: connection.ask(refused, Call(10.0)),
        lambda: connection.ask_all([refused, refused], Call(10.0)),
    ):
        with pytest.raises(ValueTooLarge) as caught:
            ask()
        assert "tokenkeep vault create" == caught.value.hint
        assert caught.value.__context__ is None
        shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        library = [frame for frame in shown.stack if "/tokenkeep/native/" in frame.filename]
        assert library
        assert not found_in("".join(str(frame.locals) for frame in library))
    known = Request(BUS, BUS_PATH, BUS, "NameHasOwner", "s", (BUS,), answer="b")
    assert (True,) == connection.ask(known, Call(10.0))
    connection.close()
