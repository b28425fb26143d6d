"""The loopback redirect: one port on 127.0.0.1 that waits for one browser (RFC 8252, section 7.3).

One thread, one selector: a client that is slow, silent or rude costs a slot for some seconds and
holds up nobody. The first request with the right state is the answer; every other one gets a
plain page, and the wait goes on. No page repeats anything that was sent.
"""

from __future__ import annotations

import hmac
import selectors
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from tokenkeep.errors import LoginFailed
from tokenkeep.oauth.login import never
from tokenkeep.oauth.remedies import WITH_A_DEVICE_CODE
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

#: A redirect carries a code, a state and an issuer; servers commonly stop at 8 KiB per line.
MAX_REQUEST_BYTES = 16384
#: Browsers open two or three at once, some without ever using them.
MAX_CONNECTIONS = 32
#: Seconds that one connection may take for its request, and then for our page.
CONNECTION_SECONDS = 10.0
MAX_PARAMETERS = 32

_RECEIVED = (200, "Received", "The answer has arrived. Go back to the application.")
_NOT_THIS = (404, "Not found", "There is nothing here.")
_NOT_HTTP = (400, "Bad request", "This request cannot be read.")


@dataclass(frozen=True, slots=True)
class Redirect:
    """What the provider sent back with the browser."""

    code: Secret | None
    error: str | None = field(repr=False)
    issuer: str | None = field(repr=False)


class Loopback:
    """A listener on an ephemeral port of 127.0.0.1, for one redirect. A context manager.

    Raises:
        LoginFailed: no port can be had.
    """

    def __init__(self, path: str) -> None:
        self._path = path.encode("ascii")
        self._connections: dict[socket.socket, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listener.bind(("127.0.0.1", 0))
            self._listener.listen(MAX_CONNECTIONS)
        except OSError:
            is_listening = False
        else:
            is_listening = True
        if not is_listening:
            self.close()
            raise LoginFailed(
                "no port on 127.0.0.1 can be opened for the redirect",
                hint=WITH_A_DEVICE_CODE,
            )
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        # RFC 8252, section 8.3: the address, not "localhost", which may lead elsewhere.
        port: int = self._listener.getsockname()[1]
        self.redirect_uri = f"http://127.0.0.1:{port}{path}"

    def wait(
        self,
        state: Secret,
        timeout: float,
        *,
        is_cancelled: Callable[[], bool] = never,
        is_hopeless: Callable[[], bool] = never,
    ) -> Redirect | None:
        """The first redirect with this state; None if none came in time.

        Args:
            timeout: seconds.
            is_cancelled: asked several times a second; True ends the wait, whatever came.
            is_hopeless: asked when nothing has come for a moment; True ends the wait.
        """
        deadline = time.monotonic() + timeout
        answer: Redirect | None = None
        while answer is None:
            now = time.monotonic()
            if now >= deadline:
                return None
            # Every time, however much is going on here.
            if is_cancelled():
                return None
            ready = self._selector.select(min(deadline - now, 0.25))
            # A redirect that is here already counts, whatever became of the browser's command.
            if not ready and is_hopeless():
                return None
            for key, _ in ready:
                if key.fileobj is self._listener:
                    self._accept()
                    continue
                assert isinstance(key.fileobj, socket.socket)
                answer = self._serve(key.fileobj, state)
                if answer is not None:
                    break
            self._drop_the_late()
        self._finish()
        return answer

    def close(self) -> None:
        """Frees the port; later requests are refused by the system."""
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.close()
        self._listener.close()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return  # gone again already
        accepted.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            # The oldest makes room: whoever holds connections open must not keep the browser out.
            self._drop(next(iter(self._connections)))
        self._connections[accepted] = _Connection(time.monotonic() + CONNECTION_SECONDS)
        self._selector.register(accepted, selectors.EVENT_READ)

    def _serve(self, peer: socket.socket, state: Secret | None) -> Redirect | None:
        """Goes on with a connection as far as it goes without waiting; no state, no answer."""
        connection = self._connections.get(peer)
        if connection is None:
            return None
        try:
            if connection.unsent is not None:
                self._send(peer, connection)
                return None
            received = peer.recv(4096)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self._drop(peer)
            return None
        if connection.is_answered:
            # Read on until the browser closes: closing first could reset the page away.
            connection.discarded += len(received)
            if not received or connection.discarded > MAX_REQUEST_BYTES:
                self._drop(peer)
            return None
        if not received:
            self._drop(peer)
            return None
        return self._take(peer, connection, received, state)

    def _take(
        self, peer: socket.socket, connection: _Connection, received: bytes, state: Secret | None
    ) -> Redirect | None:
        connection.received += received
        is_whole = b"\r\n\r\n" in connection.received or b"\n\n" in connection.received
        if not is_whole and len(connection.received) <= MAX_REQUEST_BYTES:
            return None
        answer: Redirect | None = None
        page = _NOT_HTTP
        is_head = connection.received.startswith(b"HEAD ")
        if is_whole and len(connection.received) <= MAX_REQUEST_BYTES:
            line = connection.received.split(b"\n", 1)[0].rstrip(b"\r").split(b" ")
            if len(line) == 3 and line[2].startswith(b"HTTP/1."):
                page = _NOT_THIS
                if line[0] == b"GET" and state is not None:
                    answer = self._redirect_in(bytes(line[1]), state)
                if answer is not None:
                    page = _RECEIVED
        connection.received.clear()
        connection.unsent = _page(page, is_head)
        connection.deadline = time.monotonic() + CONNECTION_SECONDS
        try:
            self._send(peer, connection)
        except (BlockingIOError, InterruptedError):
            pass  # the selector says when it goes on
        except OSError:
            self._drop(peer)
        return answer

    def _redirect_in(self, target: bytes, state: Secret) -> Redirect | None:
        """The redirect in a request's target, if it is ours by path and state."""
        path, _, query = target.partition(b"?")
        if path != self._path:
            return None
        try:
            pairs = parse_qsl(
                query.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=MAX_PARAMETERS,
            )
        except ValueError:
            return None
        fields = dict(pairs)
        # RFC 6749, section 3.1: no parameter comes twice.
        if len(fields) != len(pairs):
            return None
        if not hmac.compare_digest(fields.get("state", "").encode(), state.reveal_bytes()):
            return None
        code = fields.get("code")
        return Redirect(Secret(code) if code else None, fields.get("error"), fields.get("iss"))

    def _send(self, peer: socket.socket, connection: _Connection) -> None:
        assert connection.unsent is not None
        sent = peer.send(connection.unsent)
        connection.unsent = connection.unsent[sent:]
        if connection.unsent:
            self._selector.modify(peer, selectors.EVENT_WRITE)
            return
        connection.unsent = None
        connection.is_answered = True
        peer.shutdown(socket.SHUT_WR)
        self._selector.modify(peer, selectors.EVENT_READ)

    def _drop_the_late(self) -> None:
        now = time.monotonic()
        for peer in [peer for peer, each in self._connections.items() if each.deadline <= now]:
            self._drop(peer)

    def _finish(self) -> None:
        """Gives the pages that are on their way a second; nothing is taken any more."""
        until = time.monotonic() + 1.0
        while any(each.unsent or each.is_answered for each in self._connections.values()):
            left = until - time.monotonic()
            if left <= 0:
                return
            for key, _ in self._selector.select(left):
                if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._listener:
                    self._serve(key.fileobj, None)

    def _drop(self, peer: socket.socket) -> None:
        self._connections.pop(peer, None)
        try:
            self._selector.unregister(peer)
        except (KeyError, ValueError):
            pass
        peer.close()


class _Connection:
    """What one peer has sent so far; has no repr of its own, so that no traceback shows it."""

    __slots__ = ("deadline", "discarded", "is_answered", "received", "unsent")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.received = bytearray()
        self.unsent: bytes | None = None
        self.is_answered = False
        self.discarded = 0


def _page(content: tuple[int, str, str], is_head: bool) -> bytes:
    """A page without script or anything from the request, kept by nobody."""
    status, title, sentence = content
    body = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<link rel="icon" href="data:,">'
        f"<title>{title}</title><p>{sentence}</p></html>\n"
    ).encode("ascii")
    head = (
        f"HTTP/1.1 {status} {title}\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Content-Security-Policy: default-src 'none'; img-src data:; frame-ancestors 'none'\r\n"
        # The address of this page holds the code.
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n"
        "\r\n"
    ).encode("ascii")
    return head if is_head else head + body
