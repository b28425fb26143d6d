"""Proofs of possession: RFC 9449, checked by a library that nobody here wrote."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from tokenkeep.errors import ProviderRefused, SecretDamaged, UnsupportedOption
from tokenkeep.oauth.browser_login import browser_login
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.dpop import DpopKey, usable_nonce
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.outcome import Answered, Misconfigured, Unanswered
from tokenkeep.oauth.provider import Provider
from tokenkeep.oauth.wire import HttpRequest, HttpResponse
from tokenkeep.secret import Secret

ISSUER = "https://issuer.example"
METADATA = Metadata(issuer=ISSUER, token_endpoint=f"{ISSUER}/token")


def opened(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a proof, its signature checked with the key that it names."""
    head = proof.split(".")[0]
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    checked = jws.deserialize_compact(proof, ECKey.import_key(header["jwk"]), algorithms=["ES256"])
    assert checked.payload is not None
    return header, json.loads(checked.payload)


def test_a_proof_is_what_the_standard_says() -> None:
    """Type, algorithm, public key only; method, address without query, time, an id of its own."""
    key = DpopKey.generate()
    header, claims = opened(key.proof("post", f"{ISSUER}/token?a=b#c", at=1795482882.9))
    assert ("dpop+jwt", "ES256") == (header["typ"], header["alg"])
    assert {"crv", "kty", "x", "y"} == set(header["jwk"])
    jti = claims.pop("jti")
    assert len(jti) > 20
    assert {"htm": "POST", "htu": f"{ISSUER}/token", "iat": 1795482882} == claims
    _header, again = opened(key.proof("post", f"{ISSUER}/token", at=0))
    assert jti != again["jti"]


def test_a_proof_for_a_resource_names_the_token_and_the_nonce() -> None:
    """The access token's hash, and whatever the server gave."""
    token = Secret("at-1")
    _header, claims = opened(
        DpopKey.generate().proof("GET", "https://api.example", at=0, nonce="n", access_token=token)
    )
    digest = hashlib.sha256(b"at-1").digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == claims["ath"]
    assert "n" == claims["nonce"]
    assert "https://api.example/" == claims["htu"]
    _header, claims = opened(DpopKey.generate().proof("GET", "https://me:pw@api.example/a", at=0))
    assert "https://api.example/a" == claims["htu"]


def test_the_thumbprint_is_the_libraries() -> None:
    """RFC 7638, computed by another hand."""
    key = DpopKey.generate()
    header, _claims = opened(key.proof("GET", ISSUER, at=0))
    assert ECKey.import_key(header["jwk"]).thumbprint() == key.thumbprint()


def test_a_kept_key_is_the_same_key() -> None:
    """What is stored is all there is to it; it does not print."""
    key = DpopKey.generate()
    assert key.thumbprint() == DpopKey(key.secret).thumbprint()
    assert 32 == key.secret.size
    assert key.secret.reveal_bytes().hex() not in repr(key)


@pytest.mark.parametrize("secret", [b"", b"\0" * 32, b"\xff" * 32, b"x" * 31])
def test_what_is_no_key_is_damage(secret: bytes) -> None:
    """No number of the curve, or not of its size."""
    with pytest.raises(SecretDamaged):
        DpopKey(Secret(secret))


@pytest.mark.parametrize("nonce", [None, "", "a b", 'a"b', "a\\b", "é", "a" * 2000])
def test_what_cannot_be_a_nonce_is_ignored(nonce: str | None) -> None:
    """A header that a server should not send is not repeated in a proof."""
    assert usable_nonce(nonce) is None


class Server:
    """A token endpoint that wants a nonce, however often it is told one if it is stubborn."""

    def __init__(self, *, token_type: str = "DPoP", is_stubborn: bool = False) -> None:
        self.nonce = 0
        self.token_type = token_type
        self.is_stubborn = is_stubborn
        self.seen: list[dict[str, Any]] = []

    def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
        _header, claims = opened(str(dict(request.headers)["dpop"]))
        self.seen.append(claims)
        if self.is_stubborn or claims.get("nonce") != f"n{self.nonce}":
            self.nonce += self.is_stubborn
            return HttpResponse(
                400, {"dpop-nonce": f"n{self.nonce}"}, b'{"error": "use_dpop_nonce"}'
            )
        answer = {"access_token": "a", "token_type": self.token_type, "expires_in": 60}
        return HttpResponse(200, {}, json.dumps(answer).encode())

    def close(self) -> None:
        pass


def client_of(server: Server) -> Client:
    return Client(Provider(ISSUER, client_id="notes", dpop=True, metadata=METADATA), server)


def test_a_nonce_is_fetched_once_and_used_from_then_on() -> None:
    """Two requests for the first redemption, one for each later one, and one more when it turns."""
    server, key = Server(), DpopKey.generate()
    client = client_of(server)
    for wanted in (2, 1, 1):
        server.seen.clear()
        outcome = client.refresh(METADATA, Secret("rt"), dpop_key=key)
        assert isinstance(outcome, Answered)
        assert wanted == len(server.seen)
    server.nonce += 1
    server.seen.clear()
    assert isinstance(client.refresh(METADATA, Secret("rt"), dpop_key=key), Answered)
    assert ["n0", "n1"] == [each["nonce"] for each in server.seen]
    assert 2 == len({each["jti"] for each in server.seen})


def test_a_server_that_always_wants_another_nonce_is_left() -> None:
    """One more try, then it is the provider's refusal: the refresh token is unspent."""
    server = Server(is_stubborn=True)
    outcome = client_of(server).refresh(METADATA, Secret("rt"), dpop_key=DpopKey.generate())
    assert isinstance(outcome, Misconfigured)
    assert 2 == len(server.seen)


def test_bearer_tokens_for_a_bound_session_are_no_answer() -> None:
    """Whether the refresh token is spent nobody knows; the weaker tokens are not used."""
    server = Server(token_type="Bearer")
    outcome = client_of(server).refresh(METADATA, Secret("rt"), dpop_key=DpopKey.generate())
    assert isinstance(outcome, Unanswered)


def test_a_provider_that_says_it_cannot_is_refused_before_anything_is_sent() -> None:
    """Its metadata lists other algorithms only."""
    metadata = Metadata(
        issuer=ISSUER,
        token_endpoint=f"{ISSUER}/token",
        authorization_endpoint=f"{ISSUER}/auth",
        dpop_signing_algs=("PS256",),
    )
    client = Client(Provider(ISSUER, client_id="notes", dpop=True, metadata=metadata), Server())
    with pytest.raises(ProviderRefused, match="ES256"):
        browser_login(client, open_browser=lambda _url: True, timeout=1)


def test_the_thumbprint_parameter_is_ours() -> None:
    """An application cannot name another key."""
    with pytest.raises(UnsupportedOption, match="dpop_jkt"):
        Provider(ISSUER, client_id="notes", authorization_parameters={"dpop_jkt": "x"})
