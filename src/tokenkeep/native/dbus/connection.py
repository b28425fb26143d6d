"""One connection to a message bus: many threads ask at once, each until its own deadline.

Whoever waits reads for everybody: the first waiting thread takes from the socket and hands out what
came, so there is no thread of ours. A connection belongs to the process that opened it; a forked
child opens its own and leaves this one alone.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections import deque

from tokenkeep.errors import AccessDenied, StoreTimeout, StoreUnavailable, ValueTooLarge
from tokenkeep.native.dbus.address import NO_BUS_HINT, sockets
from tokenkeep.native.dbus.errors import ConnectionLost, ErrorReply, translated
from tokenkeep.native.dbus.wire import Incoming, Reader, Request, SizeLimitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from tokenkeep.item import Call

BUS = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"
_CHUNK = 65_536
#: What the bus says while it authenticates is a short line.
_LONGEST_LINE = 4_096
#: Seconds between two looks at the clock of a call: its own may stand still.
_LONGEST_WAIT = 3_600.0


class Signals:
    """The signals that somebody waits for; made by `Connection.listen`."""

    __slots__ = ("arrived", "wants")

    def __init__(self, wants: Callable[[Incoming], bool]) -> None:
        self.wants = wants
        self.arrived: deque[Incoming] = deque(maxlen=64)


class Connection:
    """Connects, authenticates and says hello.

    Raises:
        StoreUnavailable: nobody listens at the address, the bus goes away meanwhile, or it takes
            no more connections; or this process can open no socket.
        AccessDenied: the bus is another user's.
        StoreTimeout: the bus does not answer in time.
    """

    def __init__(self, address: str, call: Call) -> None:
        self._pid = os.getpid()
        self._socket = _connected(address, call)
        self._reader = Reader()
        self._serial = 0
        self._sending = threading.Lock()
        self._changed = threading.Condition(threading.Lock())
        self._is_read = False
        self._replies: dict[int, Incoming | None] = {}
        self._signals: list[Signals] = []
        self._rules: set[str] = set()
        self.is_lost = False
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        is_lost, refusal = False, None
        try:
            _authenticate(self._socket, call)
            is_lost, others = True, _is_another_user_s(self._socket)
            self.ask(Request(BUS, BUS_PATH, BUS, "Hello", answer="s"), call)
            is_lost = False
        except ConnectionLost:
            pass
        except ErrorReply as exc:
            refusal = translated(exc)
        except BaseException:
            self.close()
            raise
        if is_lost:
            self.close()
            raise refusal or (_refused() if others else _gone())

    def ask(self, request: Request, call: Call) -> tuple[Any, ...]:
        """The answer's values.

        Raises:
            ErrorReply: the answer is an error.
            ConnectionLost: the connection is gone; nobody knows whether the request was obeyed.
            StoreTimeout: no answer by the deadline; one that comes later is dropped.
            StoreUnavailable: the answer is not of the kind that the request has to have.
            ValueTooLarge: it is more than a message may be.
        """
        answer = _answer(request, self._exchange((request,), call)[0])
        if isinstance(answer, ErrorReply):
            raise answer
        return answer

    def ask_all(
        self, requests: Sequence[Request], call: Call
    ) -> list[tuple[Any, ...] | ErrorReply]:
        """The answers to requests that are sent together, in their order; errors among them.

        Raises:
            ConnectionLost, StoreTimeout, StoreUnavailable, ValueTooLarge: as `ask`.
        """
        return list(map(_answer, requests, self._exchange(requests, call)))

    def listen(
        self, rules: Sequence[str], wants: Callable[[Incoming], bool], call: Call
    ) -> Signals:
        """Has the bus send the signals of these match rules; those that are wanted are kept.

        Raises:
            As `ask`.
        """
        signals = Signals(wants)
        with self._changed:
            self._signals.append(signals)
        for rule in rules:
            if rule not in self._rules:
                self.ask(Request(BUS, BUS_PATH, BUS, "AddMatch", "s", (rule,)), call)
                self._rules.add(rule)
        return signals

    def ignore(self, signals: Signals) -> None:
        """Keeps no more of these signals; the bus may go on sending them."""
        with self._changed:
            if signals in self._signals:
                self._signals.remove(signals)

    def next_signal(self, signals: Signals, call: Call) -> Incoming:
        """The oldest signal that was not taken yet, or the next one.

        Raises:
            ConnectionLost: the connection is gone.
            StoreTimeout: none came by the deadline.
        """
        self._wait(lambda: bool(signals.arrived), call)
        return signals.arrived.popleft()

    def close(self) -> None:
        """Lets go of the socket; whoever waits gets `ConnectionLost`. Twice is fine.

        In a forked child this closes the child's descriptor alone.
        """
        self.is_lost = True
        if self._pid == os.getpid():
            try:
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
            except OSError:
                pass
        self._socket.close()

    def __del__(self) -> None:
        made = getattr(self, "_socket", None)
        if made is not None:
            made.close()

    def _exchange(self, requests: Sequence[Request], call: Call) -> list[Incoming]:
        if self.is_lost:
            raise ConnectionLost
        serials: list[int] = []
        with self._changed:
            for _request in requests:
                self._serial = self._serial % 0xFFFF_FFFF + 1  # zero is no serial
                serials.append(self._serial)
                self._replies[self._serial] = None
        try:
            self._send(_encoded(requests, serials), call)
            replies = self._replies
            self._wait(lambda: all(replies[serial] is not None for serial in serials), call)
        finally:
            with self._changed:
                found = [self._replies.pop(serial) for serial in serials]
        return [reply for reply in found if reply is not None]

    def _send(self, data: memoryview, call: Call) -> None:
        remaining = call.remaining()
        if not self._sending.acquire(timeout=-1 if remaining is None else _bounded(remaining)):
            raise _late()
        rest = data
        try:
            while rest:
                try:
                    rest = rest[self._socket.send(rest, socket.MSG_NOSIGNAL) :]
                except BlockingIOError:
                    pass
                except OSError:
                    self._lose()
                else:
                    continue
                if self.is_lost:
                    raise ConnectionLost
                if call.remaining() == 0.0:
                    raise _late()
                _ready(self._socket, select.POLLOUT, call)
        finally:
            if 0 < len(rest) < len(data):
                self._lose()  # half a message is on its way
            self._sending.release()

    def _wait(self, is_over: Callable[[], bool], call: Call) -> None:
        """Returns once it is over; reads from the socket if nobody else does."""
        while True:
            with self._changed:
                while True:
                    if is_over():
                        return
                    if self.is_lost:
                        raise ConnectionLost
                    remaining = call.remaining()
                    if remaining == 0.0:
                        raise _late()
                    if not self._is_read:
                        self._is_read = True
                        break
                    self._changed.wait(_bounded(remaining))
            try:
                self._receive(remaining)
            except BaseException:
                self._lose()  # interrupted: what was taken from the socket may be handed to nobody
                raise
            finally:
                with self._changed:
                    self._is_read = False
                    self._changed.notify_all()

    def _receive(self, seconds: float | None) -> None:
        """Hands out what comes next, if anything comes in time."""
        try:
            if not self._poll.poll(_milliseconds(seconds)):
                return
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            data = b""
        if not data:
            self._lose()
            return
        try:
            messages = list(self._reader.feed(data))
        except ValueError:
            self._lose()
            return
        with self._changed:
            for message in messages:
                if message.reply_to is None:
                    for signals in self._signals:
                        if signals.wants(message):
                            signals.arrived.append(message)
                elif message.reply_to in self._replies:
                    self._replies[message.reply_to] = message

    def _lose(self) -> None:
        self.is_lost = True


def _answer(request: Request, reply: Incoming) -> tuple[Any, ...] | ErrorReply:
    """What a reply says: the one place where it is seen that it says what it has to.

    Raises:
        StoreUnavailable: it does not. No frame that this passes shows a reply's values.
    """
    if reply.error is not None:
        return ErrorReply(reply.error, request.path, request.has_value)
    if request.is_answered_by(reply):
        return request.values_in(reply)
    raise StoreUnavailable(
        f"{request.destination} answers {request.member} in another way than the specification"
        " says",
        hint=NO_BUS_HINT,
    )


def _encoded(requests: Sequence[Request], serials: Sequence[int]) -> memoryview:
    """The messages in one piece, as an object that shows nothing of it in a captured frame."""
    try:
        return memoryview(b"".join(map(Request.encode, requests, serials)))
    except SizeLimitError:
        pass  # raised below: the frames of the one above hold the values
    raise ValueTooLarge("a message may not be so large", hint=NO_BUS_HINT)


def _connected(address: str, call: Call) -> socket.socket:
    refused = False
    for place in sockets(address):
        call.check("connecting to the session bus")
        made = _unconnected()
        try:
            made.settimeout(call.remaining())
            made.connect(place)
        except PermissionError:
            refused = True
            made.close()
        except TimeoutError:
            made.close()
            call.check("connecting to the session bus")
        except OSError:
            made.close()
        except BaseException:
            made.close()
            raise
        else:
            made.setblocking(False)
            return made
    if refused:
        raise AccessDenied("the session bus's socket refuses this user")
    raise StoreUnavailable("nobody listens at the session bus's address", hint=NO_BUS_HINT)


def _unconnected() -> socket.socket:
    try:
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError as exc:
        raise StoreUnavailable(
            f"no socket can be had for the session bus: {exc.strerror}",
            hint="close files or connections of this process, or raise its limit: ulimit -n",
        ) from None


def _authenticate(connected: socket.socket, call: Call) -> None:
    """D-Bus Specification, "Authentication Protocol": the kernel says who we are."""
    identity = str(os.geteuid()).encode().hex().encode()
    line = b""
    try:
        connected.send(b"\0AUTH EXTERNAL " + identity + b"\r\n", socket.MSG_NOSIGNAL)
        while not line.endswith(b"\r\n") and len(line) < _LONGEST_LINE:
            call.check("authenticating with the session bus")
            if _ready(connected, select.POLLIN, call):
                data = connected.recv(_LONGEST_LINE)
                if not data:
                    break
                line += data
        if line.startswith(b"OK "):
            connected.send(b"BEGIN\r\n", socket.MSG_NOSIGNAL)
            return
    except OSError:
        line = b""
    raise _refused() if line.startswith(b"REJECTED") else _gone()


def _is_another_user_s(connected: socket.socket) -> bool:
    """Whether somebody else's program listens: dbus-daemon lets it begin, and then hangs up."""
    if not hasattr(socket, "SO_PEERCRED"):
        return False
    peer = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(peer[1] != os.geteuid())


def _refused() -> AccessDenied:
    return AccessDenied(
        "the session bus does not let this user in", hint="run as the user who is logged in"
    )


def _gone() -> StoreUnavailable:
    return StoreUnavailable("the session bus went away", hint=NO_BUS_HINT)


def _ready(connected: socket.socket, event: int, call: Call) -> bool:
    poll = select.poll()
    poll.register(connected, event)
    return bool(poll.poll(_milliseconds(call.remaining())))


def _bounded(seconds: float | None) -> float:
    return _LONGEST_WAIT if seconds is None else min(seconds, _LONGEST_WAIT)


def _milliseconds(seconds: float | None) -> int:
    return int(_bounded(seconds) * 1000) + 1


def _late() -> StoreTimeout:
    return StoreTimeout(
        "the Secret Service did not answer in time, perhaps as it waits for an unlock prompt",
        hint="unlock the keyring, then try again",
    )
