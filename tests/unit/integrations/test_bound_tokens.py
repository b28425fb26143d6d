"""`SessionAuth` with tokens that are bound to a key: what a repeated request carries."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from tokenkeep.clock import SystemClock
from tokenkeep.oauth.dpop import DpopKey
from tokenkeep.secret import Secret
from tokenkeep.session.state import AccessToken
from unit.integrations.test_session_auth import Send, every_library


class Resource:
    """Answers each request with the next of `answers`, and keeps what it was sent.

    An answer is a status and headers, of which some come twice.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, list[tuple[str, str]]]] = []
        self.requests: list[Message] = []
        resource = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                resource.requests.append(self.headers)
                status, headers = resource.answers.pop(0)
                self.send_response(status)
                for name, value in [*headers, ("Content-Length", "0")]:
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                """Quiet."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/data"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def resource() -> Iterator[Resource]:
    resource = Resource()
    yield resource
    resource.close()


def token(text: str, generation: int, key: DpopKey | None) -> AccessToken:
    return AccessToken(
        Secret(text),
        session_id="s",
        generation=generation,
        expires=1e12,
        renew=1e12,
        unusable=1e12,
        dpop_key=key,
    )


class FakeSession:
    """Has one token, and another one after a 401."""

    def __init__(self, first: AccessToken, second: AccessToken | None) -> None:
        self.sync = self
        self.tokens = SimpleNamespace(storage=SimpleNamespace(clock=SystemClock()))
        self._first, self._second = first, second

    def fresh_token(self) -> AccessToken:
        return self._first

    def token_after_401(self, _rejected: AccessToken) -> AccessToken | None:
        return self._second

    def is_current(self, _token: AccessToken) -> bool:
        return True


@every_library
def test_a_bearer_token_after_a_bound_one_goes_without_a_proof(
    send: Send, resource: Resource
) -> None:
    """Somebody logged in anew meanwhile: the proof of the other token would be refused."""
    session = FakeSession(token("bound", 1, DpopKey.generate()), token("plain", 2, None))
    resource.answers = [(401, []), (200, [])]
    assert 200 == send(session, resource.url)
    first, second = resource.requests
    assert ("DPoP bound", True) == (first["Authorization"], "DPoP" in first)
    assert ("Bearer plain", False) == (second["Authorization"], "DPoP" in second)


@every_library
def test_a_nonce_is_sent_whichever_challenge_asks_for_it(send: Send, resource: Resource) -> None:
    """RFC 9110, section 11.6.1: challenges come in one header or in several."""
    session = FakeSession(token("bound", 1, DpopKey.generate()), None)
    challenges = [
        ("WWW-Authenticate", 'Bearer realm="data"'),
        ("WWW-Authenticate", 'DPoP error="use_dpop_nonce"'),
        ("DPoP-Nonce", "n1"),
    ]
    resource.answers = [(401, challenges), (200, [])]
    assert 200 == send(session, resource.url)
    claims = resource.requests[1]["DPoP"].split(".")[1]
    padded = claims + "=" * (-len(claims) % 4)
    assert "n1" == json.loads(base64.urlsafe_b64decode(padded))["nonce"]
