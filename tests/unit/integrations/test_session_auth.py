"""`SessionAuth`: one flow, the same behaviour in every library."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests

from tokenkeep import MemoryStore, Provider, SecureStorage, Session, TokenStorage
from tokenkeep.errors import LoginRequired, RefreshUnavailable, UnsupportedOption
from tokenkeep.integrations import aiohttp as for_aiohttp
from tokenkeep.integrations import httpx as for_httpx
from tokenkeep.integrations import httpx2 as for_httpx2
from tokenkeep.integrations import requests as for_requests
from tokenkeep.testing.authorization_server import (
    AuthorizationServer,
    Endpoint,
    RedirectTo,
    Status,
)

#: Sends a GET or, with a body, a POST: (session, url, body, options) -> status.
Send = Callable[..., int]


def by_httpx2(session: Session, url: str, body: Any = None, **options: Any) -> int:
    auth = for_httpx2.SessionAuth(session, **options)
    with httpx2.Client(auth=auth, follow_redirects=True) as client:
        return client.request("POST" if body else "GET", url, content=body).status_code


def by_httpx2_async(session: Session, url: str, body: Any = None, **options: Any) -> int:
    async def run() -> int:
        auth = for_httpx2.SessionAuth(session, **options)
        async with httpx2.AsyncClient(auth=auth, follow_redirects=True) as client:
            answer = await client.request("POST" if body else "GET", url, content=body)
            return answer.status_code

    return asyncio.run(run())


def by_httpx(session: Session, url: str, body: Any = None, **options: Any) -> int:
    auth = for_httpx.SessionAuth(session, **options)
    with httpx.Client(auth=auth, follow_redirects=True) as client:
        return client.request("POST" if body else "GET", url, content=body).status_code


def by_requests(session: Session, url: str, body: Any = None, **options: Any) -> int:
    with requests.Session() as client:
        client.auth = for_requests.SessionAuth(session, **options)
        return client.request("POST" if body else "GET", url, data=body).status_code


def by_aiohttp(session: Session, url: str, body: Any = None, **options: Any) -> int:
    async def run() -> int:
        auth = for_aiohttp.SessionAuth(session, **options)
        async with (
            aiohttp.ClientSession(middlewares=(auth,)) as client,
            client.request("POST" if body else "GET", url, data=body) as answer,
        ):
            return answer.status

    return asyncio.run(run())


every_library = pytest.mark.parametrize(
    "send", [by_httpx2, by_httpx2_async, by_httpx, by_requests, by_aiohttp]
)


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as server:
        yield server


@pytest.fixture
def session(server: AuthorizationServer) -> Session:
    storage = SecureStorage("org.example.notes", MemoryStore())
    session = Session(Provider(server.issuer, client_id="notes"), TokenStorage(storage))
    session.begin(server.login("notes"))
    return session


@every_library
def test_a_request_carries_the_token(
    send: Send, session: Session, server: AuthorizationServer
) -> None:
    """A protected resource answers."""
    assert 200 == send(session, f"{server.issuer}/userinfo")


@every_library
def test_a_rejected_token_is_refreshed_once(
    send: Send, session: Session, server: AuthorizationServer
) -> None:
    """A 401 on the current generation causes one refresh and one repetition."""
    before = server.token_requests
    server.faults.add(Endpoint.USERINFO, Status(401))
    assert 200 == send(session, f"{server.issuer}/userinfo")
    assert 1 == server.token_requests - before


@every_library
def test_a_resource_that_always_refuses_gets_two_requests(
    send: Send, session: Session, server: AuthorizationServer
) -> None:
    """A 401 that a fresh token does not mend is the answer; no loop, no second refresh."""
    before = server.token_requests
    server.faults.add(Endpoint.USERINFO, Status(401), times=6)
    assert [401, 401, 401] == [send(session, f"{server.issuer}/userinfo") for _ in range(3)]
    assert 1 == server.token_requests - before


@every_library
def test_a_body_is_sent_again(send: Send, session: Session, server: AuthorizationServer) -> None:
    """The repetition after a 401 carries the same body."""
    server.faults.add(Endpoint.USERINFO, Status(401))
    assert 200 == send(session, f"{server.issuer}/userinfo", b"the body")


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def served_by(handler: type[Quiet]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as resource:
        thread = threading.Thread(target=resource.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{resource.server_port}/"
        finally:
            resource.shutdown()
            thread.join()


@contextmanager
def uploads(refusing: int) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A resource server that takes chunked bodies: what it was sent, token and body.

    The first `refusing` requests are answered with 401.
    """
    received: list[tuple[str, bytes]] = []

    class Handler(Quiet):
        def do_POST(self) -> None:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            received.append((self.headers["Authorization"], body))
            self.send_response(401 if len(received) <= refusing else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with served_by(Handler) as url:
        yield url, received


@contextmanager
def orders() -> Iterator[tuple[str, list[str]]]:
    """A resource server that takes an order, shows where it is, and then refuses to show it."""
    asked: list[str] = []

    class Handler(Quiet):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(303)

        def do_GET(self) -> None:
            self.answer(401)

        def answer(self, status: int) -> None:
            asked.append(self.command)
            self.send_response(status)
            self.send_header("Location", "/order")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with served_by(Handler) as url:
        yield url, asked


@every_library
def test_what_was_done_is_not_done_again(send: Send, session: Session) -> None:
    """The 401 is about the page that a redirect led to, not about the order."""
    with orders() as (url, asked):
        assert 401 == send(session, url, b"one of them")
    assert 1 == asked.count("POST")


async def later(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def streamed(send: Send) -> object:
    """A body that is gone once it was read."""
    chunks = [b"the ", b"body"]
    return later(chunks) if send in (by_httpx2_async, by_aiohttp) else iter(chunks)


@every_library
def test_a_stream_is_sent_once_and_the_next_one_has_a_better_token(
    send: Send, session: Session, server: AuthorizationServer
) -> None:
    """What was read from it is gone, so its 401 is the answer; one refresh, for those to come."""
    with uploads(refusing=1) as (url, received):
        assert [401, 200] == [send(session, url, streamed(send)) for _ in range(2)]
    assert [b"the body", b"the body"] == [body for _, body in received]
    assert 2 == len({token for token, _ in received})
    assert 1 == server.token_requests


@every_library
def test_a_stream_has_its_answer_though_no_better_token_is_to_be_had(
    send: Send, session: Session, server: AuthorizationServer
) -> None:
    """The refresh is for the next request, which says why there is none."""
    server.faults.add(Endpoint.TOKEN, Status(503))
    with uploads(refusing=1) as (url, received):
        assert 401 == send(session, url, streamed(send))
        assert 1 == len(received)


@every_library
def test_signed_out_sends_nothing(
    send: Send, session: Session, server: AuthorizationServer
) -> None:
    """Without a session no request leaves."""
    session.logout()
    before = server.requests.count(Endpoint.USERINFO)
    with pytest.raises(LoginRequired):
        send(session, f"{server.issuer}/userinfo")
    assert before == server.requests.count(Endpoint.USERINFO)


@every_library
def test_a_token_goes_to_no_plain_host(send: Send, session: Session) -> None:
    """Neither http beyond this machine nor an origin outside the list gets a token."""
    for url in (
        "http://api.example/",
        "http://127.0.0.1.attacker.example/",
        "http://127.x.example/",
        "http://localhost.example/",
    ):
        with pytest.raises(UnsupportedOption):
            send(session, url)
    with pytest.raises(UnsupportedOption):
        send(session, "https://api.example/", origins=["https://other.example"])


def test_a_single_origin_may_be_text(session: Session) -> None:
    """Not so many letters, none of which would ever be asked."""
    auth = for_httpx2.SessionAuth(session, origins="https://API.example/v1")
    assert auth.allows("https://api.example:443/notes")
    assert not auth.allows("https://other.example/")
    wrongs = [
        "api.example",
        "//api.example",
        "https://api.example:no",
        "https://a:99999",
        "https://[::1",
    ]
    for wrong in (*wrongs, ["https://api.example", "h"], [""]):
        with pytest.raises(UnsupportedOption):
            for_httpx2.SessionAuth(session, origins=wrong)


@every_library
def test_a_redirect_to_another_origin_carries_no_token(
    send: Send, session: Session, server: AuthorizationServer
) -> None:
    """Where a server sends us is not where the token belongs."""
    with AuthorizationServer() as other:
        server.faults.add(Endpoint.USERINFO, RedirectTo(f"{other.issuer}/userinfo"))
        assert 401 == send(session, f"{server.issuer}/userinfo")
        seen = other.requests.to(Endpoint.USERINFO)
        assert 1 == len(seen)
        assert "authorization" not in {name.lower() for name in seen[0].request.headers}


def test_a_redirect_to_nowhere_is_aiohttps_own_error(
    session: Session, server: AuthorizationServer
) -> None:
    """Whoever sends requests with aiohttp knows what it raises."""
    server.faults.add(Endpoint.USERINFO, RedirectTo("http://127.0.0.1:99999/"))
    with pytest.raises(aiohttp.InvalidUrlRedirectClientError):
        by_aiohttp(session, f"{server.issuer}/userinfo")


def test_requests_sends_bytes_of_either_kind_again(
    session: Session, server: AuthorizationServer
) -> None:
    """Whoever put them together may have used a buffer."""
    server.faults.add(Endpoint.USERINFO, Status(401))
    assert 200 == by_requests(session, f"{server.issuer}/userinfo", bytearray(b"the body"))


def test_requests_rewinds_a_file(session: Session, server: AuthorizationServer) -> None:
    """A file is sent again from where it stood."""
    server.faults.add(Endpoint.USERINFO, Status(401))
    body = io.BytesIO(b"skipped:the body")
    body.seek(8)
    assert 200 == by_requests(session, f"{server.issuer}/userinfo", body)


@contextmanager
def resource_that_never_ends_its_answer() -> Iterator[tuple[str, threading.Event]]:
    """A resource server with a 401 whose body does not come; the event: its client hung up."""
    hung_up = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            while b"\r\n\r\n" not in connection.recv(65536):
                pass
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nhalf")
            if not connection.recv(1):
                hung_up.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/", hung_up
        finally:
            thread.join()


def test_requests_lets_go_of_an_answer_that_nobody_gets(
    session: Session, server: AuthorizationServer
) -> None:
    """No other token is to be had, and the error is all that the caller gets."""
    server.faults.add(Endpoint.TOKEN, Status(503))
    with resource_that_never_ends_its_answer() as (url, hung_up), requests.Session() as client:
        client.auth = for_requests.SessionAuth(session)
        with pytest.raises(RefreshUnavailable) as caught:
            client.get(url, stream=True)
        assert hung_up.wait(5)
        assert caught.value.retry_after == 5.0


def test_aiohttp_lets_go_of_an_answer_that_nobody_gets(
    session: Session, server: AuthorizationServer
) -> None:
    """No other token is to be had, and the error is all that the caller gets."""

    async def run() -> None:
        auth = for_aiohttp.SessionAuth(session)
        async with aiohttp.ClientSession(middlewares=(auth,)) as client:
            with pytest.raises(RefreshUnavailable) as caught:
                await client.get(url)
            assert await asyncio.to_thread(hung_up.wait, 5)
            assert caught.value.retry_after == 5.0

    server.faults.add(Endpoint.TOKEN, Status(503))
    with resource_that_never_ends_its_answer() as (url, hung_up):
        asyncio.run(run())
