"""A request ends in time, is bounded in size, and says truthfully whether it was sent."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.captured import assert_nothing_leaks, raised_in_library
from tokenkeep.errors import MissingExtra
from tokenkeep.oauth.transport import Httpx2Transport, NoAnswer, NotSent
from tokenkeep.oauth.wire import HttpRequest
from tokenkeep.secret import Secret

TOKEN = "rt-5cr3t/with+signs"
Script = Callable[[socket.socket], None]


@contextmanager
def serving(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that runs a script on every connection; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        try:
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            script(connection)
        except OSError:
            pass
        finally:
            connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    scheme = "http" if tls is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/token"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def saying(*pieces: bytes, pause: float = 0.0, then: float = 0.0) -> Script:
    def script(connection: socket.socket) -> None:
        received = b""
        while TOKEN_END not in received:
            received += connection.recv(4096)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        time.sleep(then)

    return script


TOKEN_END = b"grant_type=x"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Thing: A\r\n\r\nok"


def refresh(url: str) -> HttpRequest:
    headers = (("accept", "application/json"), ("authorization", Secret("Basic c2VjcmV0LTk4")))
    return HttpRequest(
        "POST", url, headers, (("refresh_token", Secret(TOKEN)), ("grant_type", "x"))
    )


def failure(url: str, timeout: float = 5.0, **options: int) -> NotSent | NoAnswer:
    """What sending raises, after looking for leaks in it."""
    with pytest.raises((NotSent, NoAnswer)) as caught:
        Httpx2Transport(**options).send(refresh(url), timeout)  # type: ignore[arg-type]
    assert raised_in_library(caught.value)
    assert caught.value.__context__ is None
    assert_nothing_leaks(caught.value, TOKEN, "c2VjcmV0LTk4")
    return caught.value


def test_a_request_arrives_whole_and_its_answer_comes_back() -> None:
    """Form, headers, status; header names in lower case; no cookies, no kept connection."""
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        received = b""
        while TOKEN_END not in received:
            received += connection.recv(4096)
        seen.append(received)
        connection.sendall(OK.replace(b"X-Thing", b"Set-Cookie: a=b\r\nX-Thing"))

    with serving(script) as url:
        transport = Httpx2Transport()
        first = transport.send(refresh(url), 5)
        transport.send(refresh(url), 5)
    assert (200, b"ok", "A") == (first.status, first.body, first.headers["x-thing"])
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert body == b"refresh_token=rt-5cr3t%2Fwith%2Bsigns&grant_type=x"
    assert head.startswith(b"POST /token HTTP/1.1\r\n")
    assert b"authorization: basic c2vjcmv0ltk4" in head.lower()
    assert b"content-type: application/x-www-form-urlencoded" in head.lower()
    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """A token must not travel to where an answer points."""
    moved = b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    with serving(saying(moved)) as url:
        assert Httpx2Transport().send(refresh(url), 5).status == 307


@pytest.mark.parametrize(
    "script",
    [
        saying(then=30),
        saying(*[b"H"] * 300, pause=0.1),
        saying(b"HTTP/1.1 200 OK\r\n", *[b"A: b\r\n"] * 300, pause=0.1),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", *[b"x"] * 300, pause=0.1),
        saying(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 300, pause=0.1),
    ],
    ids=["silence", "slow status", "slow headers", "slow body", "endless interim"],
)
def test_a_slow_server_is_left_at_the_deadline(script: Script) -> None:
    """However it drips: each piece in time, all of it too late. It may have taken the token."""
    with serving(script) as url:
        began = time.monotonic()
        problem = failure(url, timeout=0.6)
        took = time.monotonic() - began
    assert isinstance(problem, NoAnswer)
    assert 0.5 < took < 1.5
    assert problem.reason == "127.0.0.1 did not answer in time"


def test_a_worker_that_was_left_ends_by_itself() -> None:
    """Its connection is shut down: no thread waits on."""
    with serving(saying(*[b"H"] * 300, pause=0.1)) as url:
        failure(url, timeout=0.3)
        until = time.monotonic() + 3
        while any(each.name == "tokenkeep-http" for each in threading.enumerate()):
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.mark.parametrize(
    "script",
    [
        saying(),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        saying(b"\x00\x01\x02 nonsense\r\n\r\n"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"),
        saying(b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 300_000 + b"\r\n\r\n"),
    ],
    ids=["nothing", "cut", "not HTTP", "not gzip", "unknown encoding", "huge headers"],
)
def test_a_broken_answer_is_no_answer(script: Script) -> None:
    """The request was sent, so nobody may say that it was not."""
    with serving(script) as url:
        assert isinstance(failure(url), NoAnswer)


def test_an_answer_that_is_too_large_is_left_where_it_gets_too_large() -> None:
    """64 MiB are not read to find out that they are more than 1 MiB."""
    sent = 0

    def script(connection: socket.socket) -> None:
        nonlocal sent
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")(connection)
        for _ in range(1024):
            connection.sendall(b"x" * 65536)
            sent += 65536

    with serving(script) as url:
        assert failure(url).reason == "the answer is larger than 1048576 bytes"
    assert sent < 32 << 20


def test_an_answer_of_exactly_the_limit_is_read() -> None:
    """One byte more is not."""
    for size, is_read in ((1000, True), (1001, False)):
        said = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size
        with serving(saying(said)) as url:
            if is_read:
                assert len(Httpx2Transport(max_body_bytes=1000).send(refresh(url), 5).body) == size
            else:
                assert isinstance(failure(url, max_body_bytes=1000), NoAnswer)


def test_a_refused_connection_is_not_sent() -> None:
    """Nobody listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        problem = failure(f"http://127.0.0.1:{port}/token")
    assert isinstance(problem, NotSent)
    assert "refused" in problem.reason


def test_a_name_that_does_not_resolve_is_not_sent() -> None:
    """RFC 2606: .invalid never does."""
    problem = failure("https://issuer.invalid/token")
    assert isinstance(problem, NotSent)


def test_a_name_that_takes_too_long_to_resolve_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system's resolver knows no deadline; the request is left, and is never sent later."""
    asked, resolved = threading.Event(), threading.Event()
    truly = socket.getaddrinfo
    received: list[bytes] = []

    def slowly(*arguments: object, **options: object) -> object:
        asked.set()
        resolved.wait(10)
        return truly(*arguments, **options)  # type: ignore[arg-type]

    def script(connection: socket.socket) -> None:
        received.append(connection.recv(4096))

    with serving(script) as url:
        monkeypatch.setattr(socket, "getaddrinfo", slowly)
        began = time.monotonic()
        problem = failure(url.replace("127.0.0.1", "localhost"), timeout=0.4)
        assert time.monotonic() - began < 2
        assert isinstance(problem, NotSent)
        assert asked.is_set()
        resolved.set()
        until = time.monotonic() + 3
        while any(each.name == "tokenkeep-http" for each in threading.enumerate()):
            assert time.monotonic() < until
            time.sleep(0.02)
    assert b"".join(received) == b""


def test_no_time_left_is_not_sent() -> None:
    """The deadline passed before the request was made."""
    with serving(saying(OK)) as url:
        assert isinstance(failure(url, timeout=0.0), NotSent)
        assert isinstance(failure(url, timeout=-1.0), NotSent)


def test_a_stalled_tls_handshake_is_not_sent() -> None:
    """Nothing of the request leaves before the handshake is through."""
    with serving(lambda connection: time.sleep(30)) as url:
        problem = failure(url.replace("http:", "https:"), timeout=0.5)
    assert isinstance(problem, NotSent)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signed itself, with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


def test_a_certificate_that_nobody_vouches_for_is_not_sent_to(certificate: Path) -> None:
    """Verification is on, for this machine's addresses too."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serving(saying(OK), tls) as url:
        problem = failure(url)
    assert isinstance(problem, NotSent)
    assert problem.reason == "the certificate of 127.0.0.1 is not trusted"


def test_a_providers_own_certificate_is_trusted_if_given(certificate: Path) -> None:
    """For providers inside a company."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serving(saying(OK), tls) as url:
        transport = Httpx2Transport(tls=ssl.create_default_context(cafile=str(certificate)))
        assert transport.send(refresh(url), 5).body == b"ok"


def test_a_proxy_of_the_environment_does_not_see_this_machines_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a proxy that is not there does not stop them."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(saying(OK)) as url:
        assert Httpx2Transport().send(refresh(url), 5).body == b"ok"


def test_a_proxy_of_the_environment_is_used_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel that is refused is a request that was not sent: CONNECT carries no token."""
    seen: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        seen.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with serving(proxy) as url:
        monkeypatch.setenv("HTTPS_PROXY", url.removesuffix("/token"))
        problem = failure("https://issuer.example/token")
    assert isinstance(problem, NotSent)
    assert seen[0].startswith(b"CONNECT issuer.example:443")
    assert TOKEN.encode() not in b"".join(seen)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is one command."""
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(MissingExtra) as caught:
        Httpx2Transport().send(refresh("http://127.0.0.1:1/"), 5)
    assert caught.value.extra == "oauth"
    assert_nothing_leaks(caught.value, TOKEN)


def test_many_threads_share_one_transport() -> None:
    """Each gets its own answer; closing in between harms nobody."""
    transport = Httpx2Transport()
    answers: list[int] = []
    with serving(saying(OK)) as url:

        def ask() -> None:
            answers.append(transport.send(refresh(url), 10).status)
            transport.close()

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 16


@pytest.mark.requires("fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_after_a_fork_talks_for_itself() -> None:
    """No connection, lock or thread of the parent is needed."""
    transport = Httpx2Transport()
    with serving(saying(OK)) as url:
        transport.send(refresh(url), 5)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if transport.send(refresh(url), 5).status == 200 else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert transport.send(refresh(url), 5).status == 200
