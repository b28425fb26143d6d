"""One connection to a TPM: a packet out, a packet in, until a deadline.

The kernel's `/dev/tpmrm0` (its resource manager flushes what a connection leaves behind), or a
socket that speaks the same packets, as `unix:PATH`: the emulator swtpm.
"""

from __future__ import annotations

import os
import sys
import threading

from tokenkeep.errors import StoreTimeout, StoreUnavailable
from tokenkeep.native.again import Pauses
from tokenkeep.native.tpm.codes import BUSY_DEVICE, device_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import TypeVar

    from tokenkeep.item import Call

    T = TypeVar("T")

#: The kernel's resource manager, since Linux 4.12.
DEFAULT_DEVICE = "/dev/tpmrm0"
_UNIX = "unix:"
#: TCG PC Client: no command or response is longer.
MAX_PACKET_BYTES = 4096
_HEADER_BYTES = 10
#: Seconds that `poll` can count, and far more than any TPM takes.
_LONGEST_WAIT = 1e6


def is_socket(path: str) -> bool:
    """Whether it names a socket, as an emulator has, rather than a device."""
    return path.startswith(_UNIX)


class Device:
    """A TPM's device or socket, opened; made for one call and closed with it.

    Raises:
        StoreUnavailable: there is none. AccessDenied: this user may not use it.
        StoreTimeout: another program holds it.
    """

    def __init__(self, path: str, call: Call) -> None:
        self._path = path
        self._call = call
        #: A command has no answer: nothing more can be asked, and closing may wait for the driver.
        self.is_stuck = False
        self._fd = -1
        self._socket: socket.socket | None = None
        if sys.platform == "win32":
            raise StoreUnavailable("tokenkeep reaches a TPM through Linux only")
        if is_socket(path):
            self._socket = self._until_free(self._connected)
            self._fd = self._socket.fileno()
        else:
            self._fd = self._until_free(self._opened)

    def exchange(self, command: bytes) -> bytes:
        """The response to a command.

        Raises:
            StoreTimeout: it did not come in time, or the device was busy until then.
            StoreUnavailable: the device went away.
        """
        self._call.check("the TPM")
        self.is_stuck = True
        # Short: it is taken whole, or not at all while the device is busy.
        self._until_free(lambda: os.write(self._fd, command))
        response = self._received()
        self.is_stuck = False
        if len(response) < _HEADER_BYTES:
            raise StoreUnavailable(f"the TPM's answer is cut short: {self._path}")
        return response

    def close(self) -> None:
        """Lets go of the device; never waits."""
        fd, self._fd = self._fd, -1
        if self._socket is not None:
            self._socket.close()
        elif fd >= 0 and self.is_stuck:
            # The driver lets nobody close before the command is through.
            threading.Thread(target=os.close, args=(fd,), daemon=True).start()
        elif fd >= 0:
            os.close(fd)

    def _opened(self) -> int:
        # Not blocking: a command runs in the background, and poll says when the answer is there.
        return os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)

    def _connected(self) -> socket.socket:
        import socket

        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(self._call.remaining())
            opened.connect(self._path.removeprefix(_UNIX))
        except OSError:
            opened.close()
            raise
        opened.setblocking(False)
        return opened

    def _received(self) -> bytes:
        response, wanted = b"", _HEADER_BYTES
        while len(response) < wanted:
            piece = self._until_free(self._piece)
            if not piece:
                break
            response += piece
            if len(response) >= _HEADER_BYTES:
                wanted = min(int.from_bytes(response[2:6], "big"), MAX_PACKET_BYTES)
        return response if len(response) == wanted else b""

    def _piece(self) -> bytes:
        self._wait()
        return os.read(self._fd, MAX_PACKET_BYTES)

    def _wait(self) -> None:
        import select

        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        remaining = self._call.remaining()
        if not poll.poll(None if remaining is None else min(remaining, _LONGEST_WAIT) * 1000):
            raise StoreTimeout(f"the TPM did not answer in time: {self._path}")

    def _until_free(self, attempt: Callable[[], T]) -> T:
        """What the attempt gives, made again while the device is busy, until the deadline."""
        pauses = Pauses(self._call)
        while True:
            number: int | None = None
            try:
                return attempt()
            except TimeoutError:
                raise StoreTimeout(f"the TPM did not answer in time: {self._path}") from None
            except OSError as exc:
                number = exc.errno
            if number not in BUSY_DEVICE or not pauses.wait():
                raise device_error(number, self._path)
