"""One port, one answer: nobody but the right redirect ends the wait, and nobody blocks it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from support.captured import captured
from tokenkeep.oauth.loopback import MAX_CONNECTIONS, Loopback, Redirect
from tokenkeep.secret import Secret

STATE = Secret("the-right-state")


class Waiting:
    """A loopback that waits on a thread."""

    def __init__(self, timeout: float = 10.0) -> None:
        self.loopback = Loopback("/callback")
        self.port = urlsplit(self.loopback.redirect_uri).port or 0
        self._pool = ThreadPoolExecutor(1)
        self._answer: Future[Redirect | None] = self._pool.submit(
            self.loopback.wait, STATE, timeout
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def say(self, request: bytes) -> bytes:
        """Sends bytes as they are and reads to the end."""
        with self.connect() as connection:
            connection.sendall(request)
            received = b""
            try:
                while piece := connection.recv(4096):
                    received += piece
            except ConnectionResetError:
                pass
            return received

    def get(self, target: str) -> bytes:
        return self.say(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def is_waiting(self) -> bool:
        return not self._answer.done()

    def answer(self) -> Redirect | None:
        return self._answer.result(10)

    def close(self) -> None:
        self.get("/callback?state=the-right-state&code=end")
        self._pool.shutdown()
        self.loopback.close()


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    each = Waiting()
    yield each
    if each.is_waiting():
        each.close()
    each.loopback.close()
    each._pool.shutdown()


def test_the_redirect_with_the_right_state_is_the_answer(waiting: Waiting) -> None:
    """Its code is a secret; the page says so little that nothing can be copied from it."""
    page = waiting.get("/callback?code=c%2F1&state=the-right-state&iss=https%3A%2F%2Fi.example")
    answer = waiting.answer()
    assert answer is not None
    assert answer.code == Secret("c/1")
    assert answer.issuer == "https://i.example"
    assert answer.error is None
    assert "c/1" not in repr(answer)
    assert page.startswith(b"HTTP/1.1 200 ")
    head, _, body = page.partition(b"\r\n\r\n")
    assert b"Cache-Control: no-store" in head
    assert b"Content-Security-Policy: default-src 'none'" in head
    assert b"Referrer-Policy: no-referrer" in head
    assert b"<script" not in body
    assert b"c/1" not in body


def test_an_error_with_the_right_state_is_an_answer_too(waiting: Waiting) -> None:
    """The person may have said no."""
    waiting.get("/callback?error=access_denied&state=the-right-state")
    answer = waiting.answer()
    assert answer is not None
    assert answer.error == "access_denied"
    assert answer.code is None


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /callback?code=c&state=wrong HTTP/1.1\r\n\r\n",
        b"GET /callback?code=c HTTP/1.1\r\n\r\n",
        b"GET /callback?code=c&state= HTTP/1.1\r\n\r\n",
        b"GET /callback HTTP/1.1\r\n\r\n",
        b"GET /callback?code=c&state=the-right-state&state=wrong HTTP/1.1\r\n\r\n",
        b"GET /callback?code=c&code=d&state=the-right-state HTTP/1.1\r\n\r\n",
        b"GET /callback?state=the-right-state&code=%ff HTTP/1.1\r\n\r\n",
        b"GET /callback?state=the-right-state&code=c&" + b"a&" * 100 + b" HTTP/1.1\r\n\r\n",
        b"GET /callback/?code=c&state=the-right-state HTTP/1.1\r\n\r\n",
        b"GET /other?code=c&state=the-right-state HTTP/1.1\r\n\r\n",
        b"GET /favicon.ico HTTP/1.1\r\n\r\n",
        b"GET http://127.0.0.1/callback?code=c&state=the-right-state HTTP/1.1\r\n\r\n",
        b"POST /callback?code=c&state=the-right-state HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"HEAD /callback?code=c&state=the-right-state HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"GET /callback?code=c&state=the-right-state\r\n\r\n",
        b"GET  /callback?code=c&state=the-right-state HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\r\n\r\n",
        b"GET /callback?state=<script>alert(1)</script> HTTP/1.1\r\n\r\n",
    ],
)
def test_anything_else_gets_a_plain_page_and_the_wait_goes_on(
    waiting: Waiting, request_: bytes
) -> None:
    """Nothing of it is echoed, and the true redirect is still awaited."""
    page = waiting.say(request_)
    assert page.split(b" ", 2)[1] in (b"404", b"400")
    assert b"alert" not in page
    assert b"code=c" not in page
    assert waiting.is_waiting()


def test_a_request_that_does_not_end_is_refused(waiting: Waiting) -> None:
    """16 KiB are enough for any redirect."""
    page = waiting.say(b"GET /callback?" + b"a" * 40_000)
    assert page == b"" or page.startswith(b"HTTP/1.1 400 ")
    page = waiting.say(b"GET /callback HTTP/1.1\r\n" + b"A: b\r\n" * 10_000)
    assert page == b"" or page.startswith(b"HTTP/1.1 400 ")
    assert waiting.is_waiting()


def test_silent_and_slow_clients_block_nobody(waiting: Waiting) -> None:
    """Browsers open connections that they never use; so do attackers."""
    held = [waiting.connect() for _ in range(MAX_CONNECTIONS * 3)]
    for number, connection in enumerate(held):
        try:
            connection.sendall(b"GET /call"[: number % 10])
        except OSError:
            pass  # had to make room already
    began = time.monotonic()
    assert b" 200 " in waiting.get("/callback?code=c&state=the-right-state")
    assert waiting.answer() is not None
    assert time.monotonic() - began < 3
    for connection in held:
        connection.close()


def test_a_request_in_pieces_is_one_request(waiting: Waiting) -> None:
    """TCP has no messages."""
    with waiting.connect() as connection:
        for byte in b"GET /callback?code=c&state=the-right-state HTTP/1.1\r\n\r\n":
            connection.sendall(bytes((byte,)))
        assert connection.recv(64).startswith(b"HTTP/1.1 200 ")
    answer = waiting.answer()
    assert answer is not None
    assert answer.code == Secret("c")


def test_only_the_first_right_redirect_counts(waiting: Waiting) -> None:
    """A second one comes too late, even in the same moment."""
    with waiting.connect() as first, waiting.connect() as second:
        first.sendall(b"GET /callback?code=one&state=the-right-state HTTP/1.1\r\n\r\n")
        answer = waiting.answer()
        second.close()
    assert answer is not None
    assert answer.code == Secret("one")


def test_a_browser_that_never_comes_back_ends_at_the_deadline() -> None:
    """In time, with or without connections that are open."""
    each = Waiting(timeout=0.5)
    with each.connect():
        began = time.monotonic()
        assert each.answer() is None
        assert time.monotonic() - began < 1.5
    each.loopback.close()
    each._pool.shutdown()


def test_a_hopeless_wait_ends_early() -> None:
    """No browser could be opened."""
    with Loopback("/callback") as loopback:
        began = time.monotonic()
        assert loopback.wait(STATE, 30, is_hopeless=lambda: True) is None
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(("reason", "code"), [("is_hopeless", "c"), ("is_cancelled", None)])
def test_a_redirect_that_waits_already_counts_unless_the_login_was_cancelled(
    reason: str, code: str | None
) -> None:
    """A browser's command may fail when it has done what it was for."""
    with Loopback("/callback") as loopback:
        port = urlsplit(loopback.redirect_uri).port or 0
        with socket.create_connection(("127.0.0.1", port), timeout=5) as browser:
            request = f"GET /callback?code=c&state={STATE.reveal()} HTTP/1.1\r\n\r\n"
            browser.sendall(request.encode())
            answer = loopback.wait(STATE, 5, **{reason: lambda: True})
    found = None if answer is None or answer.code is None else answer.code.reveal()
    assert code == found


def test_the_port_is_on_this_machine_only_and_free_afterwards() -> None:
    """127.0.0.1, not "localhost" and not every interface (RFC 8252 section 8.3)."""
    with Loopback("/a/b") as loopback:
        parts = urlsplit(loopback.redirect_uri)
        assert (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", "/a/b")
        port = parts.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port or 0), timeout=5)


def test_what_a_client_sends_shows_in_no_captured_frame() -> None:
    """An interruption while a code is half received prints nothing of it."""
    with Loopback("/callback") as loopback:
        port = urlsplit(loopback.redirect_uri).port or 0
        half = socket.create_connection(("127.0.0.1", port), timeout=5)
        half.sendall(b"GET /callback?code=code-12345&sta")

        def interrupt() -> bool:
            raise KeyboardInterrupt

        with half, pytest.raises(KeyboardInterrupt) as caught:
            loopback.wait(STATE, 5, is_hopeless=interrupt)
        assert "code-12345" not in captured(caught.value)


def test_a_flood_of_connections_leaves_no_sockets_open() -> None:
    """Everything is closed with the listener."""
    with Loopback("/callback") as loopback:
        port = urlsplit(loopback.redirect_uri).port or 0
        peers = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(20)]
        thread = threading.Thread(target=loopback.wait, args=(STATE, 0.5))
        thread.start()
        thread.join()
    for peer in peers:
        with peer:
            try:
                assert peer.recv(1) == b""
            except ConnectionResetError:
                pass
