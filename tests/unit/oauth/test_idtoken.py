"""An ID token counts only if the provider signed it, for this client, for this login, in time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry

from support.captured import assert_nothing_leaks
from support.id_tokens import (
    CLAIMS,
    CLIENT_SECRET,
    EC,
    ED,
    ISSUER,
    NOW,
    OTHER,
    RSA,
    Setting,
    signed,
)
from tokenkeep.errors import MissingExtra, ProtocolViolation
from tokenkeep.oauth import idtoken
from tokenkeep.secret import Secret


def hmac_signed(key: bytes, header: dict[str, Any]) -> Secret:
    """By hand: joserfc knows better than to sign with a public key."""
    parts = [json.dumps(part).encode() for part in (header, CLAIMS)]
    said = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(key, said, "sha256")).rstrip(b"=")
    return Secret(said + b"." + signature)


@pytest.mark.parametrize(
    ("key", "alg"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")], ids=["RS", "ES", "Ed"]
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # what signs here says so
def test_a_proper_token_gives_its_claims(key: Any, alg: str) -> None:
    """Signed by a published key, for this client, in time, answering the nonce."""
    claims = Setting().check(signed(CLAIMS, key, alg), nonce="n-1")
    assert claims.subject == "alice"
    assert claims.issuer == ISSUER
    assert claims.audience == ("notes",)
    assert claims.raw["auth_time"] == NOW - 10
    assert "alice" not in repr(claims)
    assert "n-1" not in repr(claims)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"iss": "https://issuer.example/"}, "belongs to another issuer"),
        ({"iss": None}, "names no issuer"),
        ({"sub": None}, "names no usable subject"),
        ({"sub": ""}, "names no usable subject"),
        ({"sub": "a" * 256}, "names no usable subject"),
        ({"sub": 7}, "names no usable subject"),
        ({"sub": "a\nb"}, "names no usable subject"),
        ({"aud": "other"}, "another client"),
        ({"aud": []}, "another client"),
        ({"aud": None}, "names no audience"),
        ({"aud": [7]}, "names no audience"),
        ({"aud": ["notes", "other"]}, "several clients"),
        ({"aud": ["notes", "other"], "azp": "other"}, "another client"),
        ({"azp": "other"}, "another client"),
        ({"exp": NOW - 61}, "has expired"),
        ({"exp": None}, "no usable time"),
        ({"exp": "tomorrow"}, "no usable time"),
        ({"exp": True}, "no usable time"),
        ({"iat": NOW + 61}, "issued in the future"),
        ({"iat": None}, "no usable time"),
        ({"nonce": "n-2"}, "its nonce is another"),
        ({"nonce": None}, "its nonce is another"),
        ({"nonce": 7}, "a nonce that is not text"),
        ({"auth_time": "x"}, "no usable time of authentication"),
    ],
)
def test_a_wrong_claim_is_refused(change: dict[str, Any], problem: str) -> None:
    """OpenID Connect Core section 3.1.3.7, point by point."""
    claims = {name: value for name, value in {**CLAIMS, **change}.items() if value is not None}
    assert problem in Setting().problem(signed(claims), nonce="n-1")


def test_several_audiences_are_fine_if_this_client_asked() -> None:
    """`azp` says who asked."""
    claims = {**CLAIMS, "aud": ["notes", "api"], "azp": "notes"}
    assert Setting().check(signed(claims)).audience == ("notes", "api")


def test_clocks_may_differ_by_a_minute() -> None:
    """Honest clocks do."""
    Setting().check(signed({**CLAIMS, "exp": NOW - 59}))
    Setting().check(signed({**CLAIMS, "iat": NOW + 60}))


def test_a_clock_set_back_a_day_does_not_stop_a_login() -> None:
    """The Date of the answer that brought the token tells the true time; neither clock must fit."""
    setting = Setting()
    setting.clock.jump_wall(-86400)
    token = signed(CLAIMS)
    assert "issued in the future" in setting.problem(token)
    assert setting.check(token, server_time=float(NOW)).subject == "alice"
    setting.clock.jump_wall(86400)
    assert setting.check(token, server_time=NOW - 86400.0).subject == "alice"


def test_a_wrong_clock_is_hinted_at() -> None:
    """It is the likeliest reason."""
    with pytest.raises(ProtocolViolation) as caught:
        Setting().check(signed({**CLAIMS, "exp": NOW - 3600}))
    assert caught.value.hint == "check this machine's clock"


def test_a_login_that_is_too_old_is_refused_if_an_age_was_asked() -> None:
    """Core section 3.1.2.1: `max_age` makes `auth_time` required."""
    setting = Setting()
    assert setting.check(signed(CLAIMS), max_age=10).auth_time == NOW - 10
    assert "too long ago" in setting.problem(signed({**CLAIMS, "auth_time": NOW - 100}), max_age=10)
    without = {name: value for name, value in CLAIMS.items() if name != "auth_time"}
    assert "does not say when" in setting.problem(signed(without), max_age=10)


def test_a_forged_signature_is_refused() -> None:
    """Another key under the published key's name."""
    assert "no key of the provider fits" in Setting().problem(signed(CLAIMS, OTHER))


def test_a_tampered_token_is_refused() -> None:
    """Other claims under the old signature."""
    head, _, signature = signed(CLAIMS).reveal().split(".")
    body = base64.urlsafe_b64encode(json.dumps({**CLAIMS, "sub": "eve"}).encode()).decode()
    assert "no key" in Setting().problem(Secret(f"{head}.{body.rstrip('=')}.{signature}"))


def test_an_unsigned_token_is_refused_though_metadata_lists_it() -> None:
    """`none` is never allowed."""
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(json.dumps(CLAIMS).encode()).decode().rstrip("=")
    assert "not allowed" in Setting().problem(Secret(f"{head}.{body}."))


def test_a_public_key_is_no_shared_secret() -> None:
    """HS256 keyed with the provider's public key, the classic confusion, is refused."""
    token = hmac_signed(RSA.as_pem(private=False), {"alg": "HS256", "kid": "rsa"})
    assert "not allowed" in Setting().problem(token)
    confidential = Setting(client_secret=CLIENT_SECRET)
    assert "no key" in confidential.problem(token)


def test_a_confidential_client_may_have_tokens_signed_with_its_secret() -> None:
    """Core section 10.1, if the provider says so; another secret does not fit."""
    setting = Setting(client_secret=CLIENT_SECRET)
    token = signed(CLAIMS, OctKey.import_key(CLIENT_SECRET), "HS256", kid=None)
    assert setting.check(token).subject == "alice"
    assert setting.keys.requests == []
    forged = signed(CLAIMS, OctKey.import_key("x" * 41), "HS256", kid=None)
    assert "no key" in setting.problem(forged)
    silent = Setting(client_secret=CLIENT_SECRET, algorithms=("RS256",))
    assert "not allowed" in silent.problem(token)


def test_without_a_list_only_rs256_is_allowed() -> None:
    """Core section 3.1.3.7, point 7."""
    setting = Setting(algorithms=())
    assert setting.check(signed(CLAIMS, RSA, "RS256")).subject == "alice"
    assert "not allowed" in setting.problem(signed(CLAIMS, EC, "ES256"))


def test_a_token_may_be_long_and_its_header_may_have_fields_of_the_providers_own() -> None:
    """Hundreds of groups; `pi.atm` and the like."""
    claims = {**CLAIMS, "groups": [f"group-{number:05}" for number in range(3000)]}
    assert len(Setting().check(signed(claims)).raw["groups"]) == 3000
    lenient = JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    own = {"alg": "ES256", "kid": "ec", "pi.atm": "1" * 2000}
    token = Secret(jwt.encode(own, CLAIMS, EC, registry=lenient))
    assert Setting().check(token).subject == "alice"


def test_an_access_token_must_be_the_one_the_id_token_names() -> None:
    """Core section 3.1.3.8, where `at_hash` is there."""
    digest = hashlib.sha256(b"at-1").digest()[:16]
    at_hash = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    token = signed({**CLAIMS, "at_hash": at_hash})
    assert Setting().check(token, access_token=Secret("at-1")).subject == "alice"
    assert "does not belong to the access token" in Setting().problem(
        token, access_token=Secret("at-2")
    )


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "..",
        "e30.e30.",
        base64.urlsafe_b64encode(b'{"alg":"ES256","crit":["x"]}').decode() + ".e30.AA",
        base64.urlsafe_b64encode(b'{"alg":7}').decode() + ".e30.AA",
        base64.urlsafe_b64encode(b'{"alg":"ES256","kid":7}').decode() + ".e30.AA",
        base64.urlsafe_b64encode(b"[" * 50_000).decode() + ".e30.AA",
    ],
)
def test_what_is_no_signed_token_is_refused(token: str) -> None:
    """Opaque, encrypted, with extensions that must be understood."""
    with pytest.raises(ProtocolViolation) as caught:
        Setting().check(Secret(token))
    assert "is not a signed JWT" in str(caught.value)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is one command, and the token is in no frame."""
    monkeypatch.setitem(__import__("sys").modules, "joserfc", None)
    token = signed(CLAIMS)
    with pytest.raises(MissingExtra) as caught:
        Setting().check(token)
    assert_nothing_leaks(caught.value, token.reveal())


def test_a_refreshed_token_must_be_of_the_same_person_client_and_issuer() -> None:
    """Core section 12.2; offline, since it came from the token endpoint itself."""
    setting = Setting()
    check = setting.client.check_refreshed_id_token
    assert check(signed(CLAIMS, OTHER), subject="alice").subject == "alice"
    assert check(signed(CLAIMS), subject=None).subject == "alice"
    for change in ({"sub": "eve"}, {"iss": "https://evil.example"}, {"aud": "other"}):
        token = signed({**CLAIMS, **change})
        with pytest.raises(ProtocolViolation) as caught:
            check(token, subject="alice")
        assert_nothing_leaks(caught.value, token.reveal())
    with pytest.raises(ProtocolViolation):
        check(Secret("opaque"), subject="alice")
    assert setting.keys.requests == []


PARTS: list[Callable[[str], str]] = [str, lambda part: part + "=", lambda part: part[:-1]]


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(PARTS))
def test_any_token_is_read_or_not(head: bytes, body: bytes, bend: Callable[[str], str]) -> None:
    """Never an exception, whatever the bytes."""
    encoded = [base64.urlsafe_b64encode(part).decode() for part in (head, body, b"s")]
    token = Secret(".".join(bend(part) for part in encoded))
    idtoken.read_header(token)
    idtoken.read_claims(token)
