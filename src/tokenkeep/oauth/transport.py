"""Carries requests to a provider: a one-method Protocol, and httpx2 behind it.

Every request ends at its deadline, whatever the network does, and has a connection of its own: a
kept connection that the server closes while we send cannot be told from a lost answer, and a lost
answer costs a session.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from tokenkeep.errors import MissingExtra
from tokenkeep.oauth.urls import is_loopback_url
from tokenkeep.oauth.wire import HttpRequest, HttpResponse
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from types import ModuleType

#: A token response has a few KB, a large key set some tens; more is a mistake or an attack.
MAX_BODY_BYTES = 1 << 20
_ENCODINGS = ("", "identity", "gzip", "deflate")
#: A wait that ends so much too late was itself kept from running, by SIGSTOP or a busy machine; and
#: what it then leaves the worker to read the answer that came meanwhile.
_LATE_SECONDS, _READING_SECONDS = 0.25, 1.0


class NotSent(Exception):
    """The request never left this machine."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoAnswer(Exception):
    """The request may have been sent, and no usable answer came."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Transport(Protocol):
    """Sends one request, follows no redirect, keeps no cookies."""

    def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
        """The answer, read to its end.

        Args:
            timeout: seconds for everything: name resolution, connecting, sending and reading.

        Raises:
            NotSent: nothing of the request was sent, or it cannot have been.
            NoAnswer: it may have been, and no usable answer came in time.
        """
        ...

    def close(self) -> None:
        """Lets go of what is held; a later `send` starts anew."""
        ...


class Httpx2Transport:
    """HTTP/1.1 over httpx2, with verified TLS.

    Proxies and certificate files come from the environment as usual, except for this machine's
    own addresses. Safe to use from many threads, and in a child after a fork.

    Args:
        tls: for providers with certificates of their own; None takes the system's.
        max_body_bytes: the largest answer, after decompression too.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        self._given_tls = tls
        self._max_body_bytes = max_body_bytes
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
        """See `Transport.send`.

        Raises:
            MissingExtra: httpx2 is not installed.
        """
        httpx2 = _httpx2()
        if timeout <= 0:
            raise NotSent("no time was left to send the request")
        exchange = _Exchange(httpx2, request, timeout, self._max_body_bytes, self._tls_for)
        try:
            threading.Thread(target=exchange.run, name="tokenkeep-http", daemon=True).start()
        except RuntimeError:
            if threading.main_thread().is_alive():
                raise NotSent("no thread could be started for the request") from None
            # Python 3.12 starts none while the interpreter's exit waits for a refresh; what a
            # thread of its own could leave, a stuck name resolution, then ends by itself.
            exchange.run()
        exchange.wait()
        if exchange.response is not None:
            return exchange.response
        if exchange.is_sent:
            raise NoAnswer(exchange.problem)
        raise NotSent(exchange.problem)

    def close(self) -> None:
        """Forgets the loaded certificates; no connection outlives its request."""
        self._contexts.clear()

    def _tls_for(self, httpx2: ModuleType, url: str) -> ssl.SSLContext:
        if self._given_tls is not None:
            return self._given_tls
        # Loading the certificates takes tens of milliseconds that plain http need not spend; the
        # empty context trusts nobody, should it ever be used.
        is_plain = url.startswith("http:")
        context = self._contexts.get(is_plain)
        if context is None:
            if is_plain:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            else:
                context = httpx2.create_ssl_context(trust_env=not is_loopback_url(url))
            assert isinstance(context, ssl.SSLContext)
            self._contexts[is_plain] = context
        return context


def preload() -> None:
    """Loads what a request imports, unless httpx2 is not installed; for event loops."""
    try:
        httpx2 = _httpx2()
    except MissingExtra:
        return
    # What carries the requests of a client is loaded with the first one.
    httpx2.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False).close()
    "localhost".encode("idna")  # as a name's resolution does


class _Abandoned(Exception):
    """The deadline passed before anything was sent, so nothing is."""


class _Exchange:
    """One request on a thread of its own, so that even a stuck name resolution can be left.

    Under the lock exactly one of two things comes first: the worker marks the request as sent, or
    the waiting side abandons it. So "not sent" is never a guess.
    """

    def __init__(
        self,
        httpx2: ModuleType,
        request: HttpRequest,
        timeout: float,
        max_body_bytes: int,
        tls_for: Any,
    ) -> None:
        self.response: HttpResponse | None = None
        self.problem = ""
        self.is_sent = False
        self._httpx2 = httpx2
        self._request = request
        self._timeout = timeout
        self._max_body_bytes = max_body_bytes
        self._tls_for = tls_for
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._is_abandoned = False
        self._stream: Any = None

    def run(self) -> None:
        """The worker: leaves a response or a failure, and never raises."""
        response: HttpResponse | None = None
        problem = ""
        try:
            response = self._perform()
        except _TooLarge:
            problem = f"the answer is larger than {self._max_body_bytes} bytes"
        except BaseException as exc:
            problem = _reason_of(exc, self._host())
        with self._lock:
            if not self._is_abandoned:
                self.response, self.problem = response, problem
        self._done.set()

    def wait(self) -> None:
        """The caller: returns when the worker is through or the time is."""
        began = time.monotonic()
        if self._done.wait(self._timeout):
            return
        late = time.monotonic() - began - self._timeout
        if late > _LATE_SECONDS and self._done.wait(_READING_SECONDS):
            return
        with self._lock:
            if self.response is not None or self.problem:
                return
            self._is_abandoned = True
            stream = self._stream
            if self.is_sent:
                self.problem = f"{self._host()} did not answer in time"
            else:
                self.problem = f"no connection to {self._host()} in time"
        _shut_down(stream)

    def _perform(self) -> HttpResponse:
        httpx2, request = self._httpx2, self._request
        headers = {"user-agent": "tokenkeep", "accept-encoding": "identity"}
        if request.form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        for name, value in request.headers:
            headers[name] = value.reveal() if isinstance(value, Secret) else value
        with (
            httpx2.Client(
                verify=self._tls_for(httpx2, request.url),
                trust_env=not is_loopback_url(request.url),
                follow_redirects=False,
                timeout=httpx2.Timeout(self._timeout),
                headers=headers,
            ) as client,
            client.stream(
                request.method,
                request.url,
                content=None if request.form is None else request.body(),
                extensions={"trace": self._on_event},
            ) as answer,
        ):
            if answer.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
                raise _UnknownEncoding
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if max(len(body), answer.num_bytes_downloaded) > self._max_body_bytes:
                    raise _TooLarge
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return HttpResponse(answer.status_code, headers, bytes(body))

    def _on_event(self, name: str, info: dict[str, Any]) -> None:
        """What httpcore2's trace extension reports, in the worker."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._stream = stream = info["return_value"]
                is_abandoned = self._is_abandoned
            if is_abandoned:
                # The connection is not in anybody's hands yet who would close it.
                stream.close()
                raise _Abandoned
        elif name.endswith("send_request_headers.started"):
            # A proxy's CONNECT is not yet the request.
            if getattr(info.get("request"), "method", b"") == b"CONNECT":
                return
            with self._lock:
                if self._is_abandoned:
                    raise _Abandoned
                self.is_sent = True

    def _host(self) -> str:
        return urlsplit(self._request.url).hostname or "the provider"


class _TooLarge(Exception):
    pass


class _UnknownEncoding(Exception):
    pass


def _httpx2() -> ModuleType:
    try:
        import httpx2
    except ImportError:
        raise MissingExtra("talking to a provider needs httpx2", extra="oauth") from None
    return httpx2


def _reason_of(exc: BaseException, host: str) -> str:
    """One clause about a failure, made from the types in its chain and never from their text."""
    chain: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in chain and len(chain) < 16:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(isinstance(each, socket.gaierror) for each in chain):
        return f"the name {host} does not resolve"
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"the certificate of {host} is not trusted"
    for each in chain:
        if isinstance(each, ssl.SSLError):
            return f"TLS with {host} failed ({type(each).__name__})"
    kind = type(exc).__name__
    if kind.endswith("Timeout"):
        # In the words of `_Exchange.wait`, which may come first or second.
        is_early = kind in ("ConnectTimeout", "PoolTimeout")
        return f"no connection to {host} in time" if is_early else f"{host} did not answer in time"
    for each in chain:
        if isinstance(each, OSError) and each.errno is not None:
            return f"the connection to {host} failed ({os.strerror(each.errno)})"
    return f"the exchange with {host} failed ({kind})"


def _shut_down(stream: Any) -> None:
    """Wakes a worker that is still reading; best effort, its own time-outs end it anyway."""
    if stream is None:
        return
    try:
        connection = stream.get_extra_info("socket")
        if connection is not None:
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except (OSError, ValueError, AttributeError):
        pass
