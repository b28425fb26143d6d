"""HTTP and OAuth spelled out by hand: what a client under test is not asked to do."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet

from tokenkeep.testing.authorization_server import AuthorizationServer

VERIFIER = "v" * 43
#: The time of a server whose clock stands still.
START = 1_800_000_000.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str,
    form: Mapping[str, str] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> Reply:
    """GET, or POST of a form; follows nothing, reuses nothing."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        if form is None:
            connection.request("GET", path, headers=dict(headers or {}))
        else:
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", path, urlencode(form), {**kind, **(headers or {})})
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def refresh(issuer: str, token: str, client_id: str = "notes", **more: str) -> Reply:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id}
    return ask(f"{issuer}/token", {**form, **more})


def userinfo(issuer: str, access_token: str) -> Reply:
    return ask(f"{issuer}/userinfo", headers={"Authorization": f"Bearer {access_token}"})


def authorization_url(issuer: str, **changes: str | None) -> str:
    """A proper authorization request; a change of None leaves a parameter out."""
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    parameters: dict[str, str | None] = {
        "response_type": "code",
        "client_id": "notes",
        "redirect_uri": "http://127.0.0.1:1234/callback",
        "scope": "openid offline_access",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        **changes,
    }
    kept = {name: value for name, value in parameters.items() if value is not None}
    return f"{issuer}/authorize?{urlencode(kept)}"


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def redeem_code(issuer: str, code: str, **changes: str) -> Reply:
    form = {
        "grant_type": "authorization_code",
        "client_id": "notes",
        "code": code,
        "redirect_uri": "http://127.0.0.1:1234/callback",
        "code_verifier": VERIFIER,
    }
    return ask(f"{issuer}/token", {**form, **changes})


def logged_in(server: AuthorizationServer, **options: str) -> tuple[str, str]:
    """A login without an ID token: its refresh token and its access token."""
    answer = server.login(**{"scope": "notes offline_access", **options})
    return str(answer["refresh_token"]), str(answer["access_token"])


def error_of(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["error"]


def claims_of(server: AuthorizationServer, id_token: object) -> dict[str, object]:
    """What an ID token says, by the server's published keys."""
    keys = KeySet.import_key_set(ask(f"{server.issuer}/jwks").json)
    return dict(jwt.decode(str(id_token), keys, algorithms=["ES256"]).claims)
