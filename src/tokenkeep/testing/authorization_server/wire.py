"""A request as the endpoints see it and an answer as they give it.

Values only: what turns them into bytes on a socket is in `listener`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


class Endpoint(Enum):
    """The doors of the server, for counting requests and for aiming faults."""

    METADATA = "metadata"
    AUTHORIZE = "authorize"
    TOKEN = "token"
    REVOKE = "revoke"
    DEVICE = "device"
    ACTIVATE = "activate"
    USERINFO = "userinfo"
    JWKS = "jwks"
    END_SESSION = "end_session"


PATHS: Mapping[str, Endpoint] = {
    "/.well-known/openid-configuration": Endpoint.METADATA,
    "/.well-known/oauth-authorization-server": Endpoint.METADATA,
    "/authorize": Endpoint.AUTHORIZE,
    "/token": Endpoint.TOKEN,
    "/revoke": Endpoint.REVOKE,
    "/device": Endpoint.DEVICE,
    "/activate": Endpoint.ACTIVATE,
    "/userinfo": Endpoint.USERINFO,
    "/jwks": Endpoint.JWKS,
    "/end_session": Endpoint.END_SESSION,
}


@dataclass(frozen=True)
class Request:
    """One HTTP request, read to its end.

    Args:
        headers: Names in lower case.
        repeated: Parameters that came more than once, which OAuth forbids (RFC 6749 section 3.1).
        id_token_claims: Claims that a fault puts into the ID token of the answer; None removes one.
        forge_id_token: A fault wants the ID token signed by a key that nobody published.
    """

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)
    repeated: frozenset[str] = frozenset()
    id_token_claims: Mapping[str, object] = field(default_factory=dict)
    forge_id_token: bool = False

    @property
    def parameters(self) -> dict[str, str]:
        """Query and form as one; the form wins."""
        return {**self.query, **self.form}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer and the way in which it is delivered.

    Args:
        document: A JSON object, encoded when it is sent so that faults can still alter it; without
            it `body` is sent.
        filler_bytes: So many letters follow the body.
        date_skew_seconds: By how much the `Date` header is wrong.
        seconds_per_byte: The pause after every byte of the body.
        cut: Promise the whole body, send half of it, then close the connection.
        truncated: Send half of the body, and say that this is all.
        dropped: Close the connection without a word.
        reset: Close it with a TCP reset.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    document: Mapping[str, object] | None = None
    filler_bytes: int = 0
    date_skew_seconds: float = 0.0
    seconds_per_byte: float = 0.0
    cut: bool = False
    truncated: bool = False
    dropped: bool = False
    reset: bool = False

    def encoded(self) -> bytes:
        """The body as it would be sent by an honest server."""
        if self.document is not None:
            return json.dumps(self.document).encode()
        return self.body


def json_answer(document: Mapping[str, object], status: int = 200) -> Answer:
    """A JSON object that nobody may cache (RFC 6749 section 5.1)."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Answer(status, headers, document=document)


def error_answer(error: str, description: str, status: int = 400) -> Answer:
    """An OAuth error (RFC 6749 section 5.2)."""
    return json_answer({"error": error, "error_description": description}, status)


def page(heading: str, links: Mapping[str, str] | None = None, status: int = 200) -> Answer:
    """A page for a person; `links` are addresses by their relation (`approve`, `deny`)."""
    anchors = "".join(
        f'<p><a rel="{escape(rel)}" href="{escape(address)}">{escape(rel)}</a></p>'
        for rel, address in (links or {}).items()
    )
    html = f"<!doctype html><title>{escape(heading)}</title><h1>{escape(heading)}</h1>{anchors}"
    return Answer(status, {"Content-Type": "text/html; charset=utf-8"}, html.encode())


def redirect(address: str, parameters: Mapping[str, str | None], status: int = 302) -> Answer:
    """A redirect to `address` with these query parameters set; None removes one."""
    return Answer(status, {"Location": with_query(address, parameters)})


def with_query(address: str, parameters: Mapping[str, str | None]) -> str:
    """`address` with these query parameters set; None removes one."""
    parts = urlsplit(address)
    query: dict[str, str | None] = dict(parse_qsl(parts.query, keep_blank_values=True))
    query.update(parameters)
    kept = {name: value for name, value in query.items() if value is not None}
    return urlunsplit(parts._replace(query=urlencode(kept)))
