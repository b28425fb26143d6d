"""An ID token counts only if the provider signed it, for this client, for this login, in time."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from support.captured import assert_nothing_leaks, raised_in_library
from tokenkeep.errors import MissingExtra, ProtocolViolation, RefreshUnavailable
from tokenkeep.oauth import idtoken
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
    return dict(key.as_dict(private=False))


def signed(claims: dict[str, Any], key: Any = EC, alg: str = "ES256", **header: Any) -> Secret:
    content = {"alg": alg, "kid": key.kid, **header}
    return Secret(
        jwt.encode({k: v for k, v in content.items() if v is not None}, claims, key, [alg])
    )


def hmac_signed(key: bytes, header: dict[str, Any]) -> Secret:
    """By hand: joserfc knows better than to sign with a public key."""
    parts = [json.dumps(part).encode() for part in (header, CLAIMS)]
    said = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(key, said, "sha256")).rstrip(b"=")
    return Secret(said + b"." + signature)


class Setting:
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


def test_keys_are_fetched_once_and_again_for_an_unknown_one() -> None:
    """Keys rotate; however many tokens no key fits, they cost one request in ten seconds."""
    setting = Setting()
    setting.check(signed(CLAIMS))
    setting.check(signed(CLAIMS))
    assert len(setting.keys.requests) == 1
    new = ECKey.generate_key("P-256", {"kid": "new"})
    for wait, requests in [(0.0, 1), (9.9, 1), (0.1, 2), (0.0, 2), (9.9, 2)]:
        setting.clock.advance(wait)
        assert "no key" in setting.problem(signed(CLAIMS, new))
        assert requests == len(setting.keys.requests)
    setting.keys.keys.append(public(new))
    setting.clock.advance(0.1)
    assert setting.check(signed(CLAIMS, new)).subject == "alice"
    assert len(setting.keys.requests) == 3


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 3600.0),
        ("public", 3600.0),
        ("max-age=600", 600.0),
        ('Public, MAX-AGE="600", must-revalidate', 600.0),
        ("max-age=0", 60.0),
        ("max-age=600, no-cache", 60.0),
        ("no-store", 60.0),
        ("max-age=86400", 3600.0),
        ("max-age=" + "9" * 400, 3600.0),
        ("max-age=-1", 3600.0),
        ("max-age=soon", 3600.0),
        ("s-maxage=600", 3600.0),
    ],
)
def test_a_key_that_the_provider_withdrew_is_trusted_for_an_hour_at_most(
    said: str | None, seconds: float
) -> None:
    """As long as the answer says, between a minute and an hour; the wall clock means nothing."""
    setting = Setting()
    setting.keys.headers = {} if said is None else {"cache-control": said}
    claims = {**CLAIMS, "exp": NOW + 2 * 86400}
    setting.check(signed(claims))
    setting.keys.keys = [public(OTHER)]
    setting.clock.advance(seconds - 0.1)
    setting.clock.jump_wall(86400.0)
    assert "alice" == setting.check(signed(claims)).subject
    setting.clock.advance(0.1)
    assert "no key" in setting.problem(signed(claims))
    assert 2 == len(setting.keys.requests)


@pytest.mark.parametrize(("age", "seconds"), [("500", 100.0), ("900", 60.0), ("soon", 600.0)])
def test_what_a_cache_on_the_way_has_used_up_counts(age: str, seconds: float) -> None:
    """An answer that is 500 seconds old when it comes may be kept for 500 less."""
    setting, token = Setting(), signed({**CLAIMS, "exp": NOW + 86400})
    setting.keys.headers = {"cache-control": "max-age=600", "age": age}
    setting.check(token)
    setting.clock.advance(seconds - 0.1)
    setting.check(token)
    assert 1 == len(setting.keys.requests)
    setting.clock.advance(0.1)
    setting.check(token)
    assert 2 == len(setting.keys.requests)


def test_old_keys_that_cannot_be_fetched_anew_are_a_passing_failure() -> None:
    """As at the first time: whether they are trusted still, nobody knows."""
    setting = Setting()
    setting.check(signed(CLAIMS))
    setting.clock.advance(3600.0)
    setting.keys.is_down = True
    token = signed({**CLAIMS, "exp": NOW + 86400})
    for _attempt in range(2):
        with pytest.raises(RefreshUnavailable):
            setting.check(token)
    setting.keys.is_down = False
    setting.clock.advance(5.0)
    assert "alice" == setting.check(token).subject
    assert 4 == len(setting.keys.requests)


@pytest.mark.parametrize("token", [signed(CLAIMS), signed(CLAIMS, OTHER, kid="new")])
@pytest.mark.parametrize("known", [False, True], ids=["no keys", "old keys"])
def test_a_provider_that_fails_is_not_asked_by_every_caller(known: bool, token: Secret) -> None:
    """One failure may be a hiccup; after the second in a row it is left alone for five seconds."""
    setting = Setting()
    if known:
        setting.check(signed(CLAIMS))
        setting.clock.advance(3600.0)
    asked = len(setting.keys.requests)
    setting.keys.is_down = True
    problems, waits = [], []
    for _caller in range(9):
        with pytest.raises(RefreshUnavailable) as caught:
            setting.check(token)
        problems.append(str(caught.value))
        waits.append(caught.value.retry_after)
        setting.clock.advance(1.0)
    assert 3 == len(setting.keys.requests) - asked
    late = "issuer.example did not answer in time"
    again = [f"{late} ({ago} s ago; not asked again yet)" for ago in (1, 2, 3, 4)]
    assert [late, late, *again, late, *again[:2]] == problems
    assert [None, 5.0, 4.0, 3.0, 2.0, 1.0, 5.0, 4.0, 3.0] == waits


def test_a_key_set_that_is_none_is_not_asked_for_by_every_caller() -> None:
    """The failure is remembered as what it is, and forgotten once there are keys."""
    setting = Setting()
    setting.keys.status = 404
    for _caller in range(3):
        problem = setting.problem(signed(CLAIMS))
        assert problem.startswith("the provider's key set cannot be read")
    assert 2 == len(setting.keys.requests)
    setting.keys.status = 200
    setting.clock.advance(5.0)
    setting.check(signed(CLAIMS))
    setting.clock.advance(3600.0)
    setting.keys.status = 404
    for _caller in range(2):
        assert "the provider's key set cannot be read" == setting.problem(signed(CLAIMS))
    assert 5 == len(setting.keys.requests)


@pytest.mark.parametrize(("said", "seconds"), [("30", 30.0), ("9999", 60.0)])
def test_keys_are_asked_for_again_when_the_provider_says(said: str, seconds: float) -> None:
    """Even after the first failure; a minute at most."""
    setting = Setting()
    setting.keys.status, setting.keys.headers = 503, {"retry-after": said}
    for left, asked in ((seconds, 1), (0.1, 1), (seconds, 2)):
        with pytest.raises(RefreshUnavailable) as caught:
            setting.check(signed(CLAIMS))
        assert (left, asked) == (caught.value.retry_after, len(setting.keys.requests))
        setting.clock.advance(seconds - 0.1 if left > 1 else 0.1)


def test_many_logins_at_once_ask_for_the_keys_once() -> None:
    """Those who come while they are being fetched wait for them."""
    setting = Setting()
    is_asked, goes_on = threading.Event(), threading.Event()
    send = setting.keys.send

    def slow(request: HttpRequest, timeout: float) -> HttpResponse:
        is_asked.set()
        assert goes_on.wait(5)
        return send(request, timeout)

    setting.keys.send = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(8) as pool:
        checks = [pool.submit(setting.check, signed(CLAIMS)) for _caller in range(8)]
        assert is_asked.wait(5)
        goes_on.set()
        assert {"alice"} == {check.result(5).subject for check in checks}
    assert 1 == len(setting.keys.requests)


def test_keys_from_another_address_are_fetched_there() -> None:
    """The provider's metadata was discovered anew, and names another one."""
    setting = Setting()
    setting.check(signed(CLAIMS))
    setting.metadata = dataclasses.replace(setting.metadata, jwks_uri=f"{ISSUER}/moved")
    setting.check(signed(CLAIMS))
    assert [f"{ISSUER}/jwks", f"{ISSUER}/moved"] == [each.url for each in setting.keys.requests]


def test_a_token_may_be_long_and_its_header_may_have_fields_of_the_providers_own() -> None:
    """Hundreds of groups; `pi.atm` and the like."""
    claims = {**CLAIMS, "groups": [f"group-{number:05}" for number in range(3000)]}
    assert len(Setting().check(signed(claims)).raw["groups"]) == 3000
    lenient = JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    own = {"alg": "ES256", "kid": "ec", "pi.atm": "1" * 2000}
    token = Secret(jwt.encode(own, CLAIMS, EC, registry=lenient))
    assert Setting().check(token).subject == "alice"


def test_a_token_without_a_key_id_is_checked_against_every_fitting_key() -> None:
    """A provider with one key may leave `kid` out."""
    assert Setting().check(signed(CLAIMS, EC, "ES256", kid=None)).subject == "alice"


def test_keys_that_make_no_sense_do_not_hide_those_that_do() -> None:
    """RFC 7517 section 5: unknown kinds are ignored."""
    setting = Setting()
    setting.keys.keys = [
        {"kty": "EC", "kid": "ec", "crv": "P-999", "x": "?", "y": "?"},
        {"kty": "EC", "kid": "ec"},
        {"kty": 7},
        public(EC),
        {"kty": "AKP", "kid": "ec"},
        "key",  # type: ignore[list-item]
    ]
    assert setting.check(signed(CLAIMS)).subject == "alice"


def test_keys_for_encryption_sign_nothing() -> None:
    """`use` is `enc`."""
    setting = Setting()
    setting.keys.keys = [{**public(EC), "use": "enc"}]
    assert "no key" in setting.problem(signed(CLAIMS))


def test_keys_that_cannot_be_fetched_are_a_passing_failure() -> None:
    """The token may be good: nothing is concluded."""
    setting = Setting()
    setting.keys.is_down = True
    token = signed(CLAIMS)
    with pytest.raises(RefreshUnavailable) as caught:
        setting.check(token)
    assert caught.value.__context__ is None
    assert_nothing_leaks(caught.value, token.reveal())


@pytest.mark.parametrize("kid", [None, "ec"], ids=["unnamed", "of the same name"])
def test_keys_that_rotate_without_a_new_name_are_looked_for_once(kid: str | None) -> None:
    """A signature that fits no known key is a reason to ask; a forged one costs one request."""
    setting = Setting()
    setting.check(signed(CLAIMS, kid=kid))
    assert 1 == len(setting.keys.requests)
    setting.clock.advance(10.0)
    rotated = public(OTHER)
    if kid is None:
        del rotated["kid"]
    setting.keys.keys = [rotated]
    assert "alice" == setting.check(signed(CLAIMS, OTHER, kid=kid)).subject
    assert 2 == len(setting.keys.requests)
    setting.clock.advance(10.0)
    setting.problem(signed(CLAIMS, EC, kid=kid))
    assert 3 == len(setting.keys.requests)
    setting.keys.is_down = True
    assert "alice" == setting.check(signed(CLAIMS, OTHER, kid=kid)).subject


def test_a_key_set_that_is_none_is_a_violation() -> None:
    """And so is a provider without one."""
    setting = Setting()
    setting.keys.status = 404
    assert setting.problem(signed(CLAIMS)) == "the provider's key set cannot be read"
    assert "publishes no keys" in Setting(jwks_uri=None).problem(signed(CLAIMS))


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
