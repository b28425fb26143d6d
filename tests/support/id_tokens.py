"""ID tokens, and a client whose provider signs them with keys of the test's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from support.captured import assert_nothing_leaks, raised_in_library
from tokenkeep.errors import ProtocolViolation
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.idtoken import Claims
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.provider import Provider
from tokenkeep.oauth.transport import NoAnswer
from tokenkeep.oauth.wire import HttpRequest, HttpResponse
from tokenkeep.secret import Secret
from tokenkeep.testing.clock import FakeClock

ISSUER = "https://issuer.example"
NOW = 1_700_000_000
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OTHER = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
CLIENT_SECRET = "client-secret-of-at-least-32-bytes-length"
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "alice",
    "aud": "notes",
    "iat": NOW,
    "exp": NOW + 300,
    "nonce": "n-1",
    "auth_time": NOW - 10,
}


class Keys:
    """A transport that answers every request with a key set."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.requests: list[HttpRequest] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.is_down = False

    def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
        self.requests.append(request)
        if self.is_down:
            raise NoAnswer("issuer.example did not answer in time")
        return HttpResponse(self.status, self.headers, json.dumps({"keys": self.keys}).encode())

    def close(self) -> None:
        pass


def public(key: RSAKey | ECKey | OKPKey) -> dict[str, Any]:
    """What the provider publishes of a key."""
    return dict(key.as_dict(private=False))


def signed(claims: dict[str, Any], key: Any = EC, alg: str = "ES256", **header: Any) -> Secret:
    """A token with these claims; a field of the header that is None is left out."""
    content = {"alg": alg, "kid": key.kid, **header}
    return Secret(
        jwt.encode({k: v for k, v in content.items() if v is not None}, claims, key, [alg])
    )


class Setting:
    """A client, its provider's metadata and keys, and a clock at `NOW`."""

    def __init__(
        self,
        *,
        algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA", "HS256", "none"),
        client_secret: str | None = None,
        jwks_uri: str | None = f"{ISSUER}/jwks",
    ) -> None:
        self.keys = Keys(public(RSA), public(EC), public(ED))
        self.clock = FakeClock(wall=NOW)
        self.metadata = Metadata(
            issuer=ISSUER,
            token_endpoint=f"{ISSUER}/token",
            jwks_uri=jwks_uri,
            id_token_signing_algs=algorithms,
        )
        provider = Provider(ISSUER, client_id="notes", client_secret=client_secret)
        self.client = Client(provider, self.keys, self.clock)

    def check(self, token: Secret, **options: Any) -> Claims:
        return self.client.check_id_token(self.metadata, token, **options)

    def problem(self, token: Secret, **options: Any) -> str:
        with pytest.raises(ProtocolViolation) as caught:
            self.check(token, **options)
        assert raised_in_library(caught.value)
        assert caught.value.__context__ is None
        assert caught.value.hint
        assert_nothing_leaks(caught.value, token.reveal(), token.reveal().rpartition(".")[2] or "~")
        return str(caught.value)
