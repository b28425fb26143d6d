"""HTTP on a loopback port: reads requests, sends answers, including the ones that break the rules.

Invariant: between `stop` and `start` the port stays bound but nobody listens, so that clients get
"connection refused" and no other program can take the port.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tokenkeep.testing.authorization_server.injection import Stopped
from tokenkeep.testing.authorization_server.wire import Answer, Request

# Far above any OAuth request; a test that sends more by mistake should hear of it.
_MAX_REQUEST_BYTES = 1024 * 1024
_FILLER = b"a" * 65536
# How often the accepting thread looks whether it should end; 50 looks a second cost nothing.
_POLL_SECONDS = 0.02
_IDLE_CONNECTION_SECONDS = 60
_STOP_SECONDS = 5.0

Respond = Callable[[Request], Answer]


class Listener:
    """A port on 127.0.0.1 that can be opened and closed again and again."""

    def __init__(self, respond: Respond, now: Callable[[], float], port: int = 0) -> None:
        self.failures: list[str] = []
        self._respond = respond
        self._now = now
        self._bound: socket.socket | None = _bind(port)
        self.port: int = self._bound.getsockname()[1]
        self._http: _HTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen."""
        if self._http is not None:
            return
        bound = self._bound if self._bound is not None else _bind(self.port)
        self._bound = None
        self._http = _HTTPServer(bound, self._respond, self._now, self.failures)
        self._thread = threading.Thread(
            target=self._http.serve_forever,
            args=(_POLL_SECONDS,),
            name="authorization-server",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection; waits for requests that are being answered."""
        http, thread = self._http, self._thread
        if http is None or thread is None:
            return
        http.shutdown()
        thread.join()
        # A forked child may have inherited the socket; shutting it down ends its listening too.
        with contextlib.suppress(OSError):
            http.socket.shutdown(socket.SHUT_RDWR)
        http.server_close()
        self._bound = _bind(self.port)
        self._http = self._thread = None
        http.close_connections()

    def close(self) -> None:
        """Stop for good and give the port back."""
        self.stop()
        if self._bound is not None:
            self._bound.close()
            self._bound = None


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # On Windows this option would let another program take the port as well.
        if sys.platform != "win32":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    # A herd of a hundred callers connects at once; the default of 5 would make some wait a second.
    request_queue_size = 512

    def __init__(
        self,
        bound: socket.socket,
        respond: Respond,
        now: Callable[[], float],
        failures: list[str],
    ) -> None:
        super().__init__(bound.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.respond = respond
        self.now = now
        self.failures = failures
        self._connections: set[socket.socket] = set()
        self._resets: set[socket.socket] = set()
        self._changed = threading.Condition()
        self.server_activate()

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        if isinstance(request, socket.socket):
            with self._changed:
                self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        if request in self._resets:
            # The polite shutdown of the parent would send FIN before the reset.
            self.close_request(request)
        else:
            super().shutdown_request(request)
        if isinstance(request, socket.socket):
            with self._changed:
                self._connections.discard(request)
                self._resets.discard(request)
                self._changed.notify_all()

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Keep a defect for `close` to report; a client that went away is none."""
        failure = sys.exception()
        if not isinstance(failure, OSError):
            self.failures.append(f"{type(failure).__name__}: {failure}")

    def reset_on_close(self, connection: socket.socket) -> None:
        """End this connection by a TCP reset instead of politely."""
        # Lingering for zero seconds makes close() send RST instead of FIN.
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        with self._changed:
            self._resets.add(connection)

    def close_connections(self) -> None:
        """Break every open connection and wait until their threads have let go."""
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._connections, _STOP_SECONDS)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_CONNECTION_SECONDS
    disable_nagle_algorithm = True
    server: _HTTPServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
        """Say nothing: a request line may carry a code."""

    def _answer(self) -> None:
        request = self._read()
        if request is None:
            self._send(Answer(413), close=True)
            return
        try:
            answer = self.server.respond(request)
        except Stopped:
            self.close_connection = True
            return
        except Exception as exc:  # a defect of the server must not look like a test's fault
            self.server.failures.append(f"{request.path}: {type(exc).__name__}: {exc}")
            answer = Answer(500, body=b"the test server failed")
        self._send(answer)

    def _read(self) -> Request | None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            return None
        if not 0 <= length <= _MAX_REQUEST_BYTES or "Transfer-Encoding" in self.headers:
            return None
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        parts = urlsplit(self.path)
        query = parse_qsl(parts.query, keep_blank_values=True)
        form: list[tuple[str, str]] = []
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            form = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        names = [name for pairs in (query, form) for name, _ in pairs]
        repeated = frozenset(name for name in names if names.count(name) > 1)
        return Request(
            method=self.command,
            path=parts.path,
            query=dict(query),
            form=dict(form),
            headers=headers,
            body=body,
            repeated=repeated,
        )

    def _send(self, answer: Answer, *, close: bool = False) -> None:
        if answer.dropped:
            if answer.reset:
                self.server.reset_on_close(self.connection)
            self.close_connection = True
            return
        self.close_connection = self.close_connection or close or answer.cut
        body = answer.encoded()
        sent = body[: len(body) // 2] if answer.cut or answer.truncated else body
        promised = len(sent if answer.truncated else body) + answer.filler_bytes
        head = self._head(answer, promised)
        if answer.seconds_per_byte > 0:
            self.wfile.write(head)
            for byte in sent:
                time.sleep(answer.seconds_per_byte)
                self.wfile.write(bytes([byte]))
        else:
            self.wfile.write(head + sent)
        for begin in range(0, answer.filler_bytes, len(_FILLER)):
            self.wfile.write(_FILLER[: answer.filler_bytes - begin])

    def _head(self, answer: Answer, length: int) -> bytes:
        try:
            reason = HTTPStatus(answer.status).phrase
        except ValueError:
            reason = ""
        lines = [f"HTTP/1.1 {answer.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines.append(
            f"Date: {formatdate(self.server.now() + answer.date_skew_seconds, usegmt=True)}"
        )
        if answer.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {length}")
        if self.close_connection:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def read_json(request: Request) -> dict[str, object]:
    """The JSON object in a request's body; empty if there is no body.

    Raises:
        ValueError: It is something else.
    """
    document = json.loads(request.body or b"{}")
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object")
    return document
