"""Requests are what the standards say, and a token response is checked before it is one."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.captured import assert_nothing_leaks, raised_in_library
from tokenkeep.errors import ProtocolViolation, ProviderRefused
from tokenkeep.oauth import messages
from tokenkeep.oauth.messages import (
    MAX_LIFETIME,
    TokenResponse,
    parse_device_authorization,
    parse_token_response,
)
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.provider import Provider
from tokenkeep.oauth.wire import HttpRequest
from tokenkeep.secret import Secret

ISSUER = "https://issuer.example"
METADATA = Metadata(
    issuer=ISSUER,
    token_endpoint=f"{ISSUER}/token",
    authorization_endpoint=f"{ISSUER}/authorize?tenant=a",
    revocation_endpoint=f"{ISSUER}/revoke",
    device_authorization_endpoint=f"{ISSUER}/device",
    end_session_endpoint=f"{ISSUER}/end",
)
BARE = Metadata(issuer=ISSUER, token_endpoint=f"{ISSUER}/token")
PROVIDER = Provider(ISSUER, client_id="notes", token_parameters={"resource": "https://api.example"})
TOKENS: dict[str, Any] = {
    "access_token": "at-4f1c",
    "refresh_token": "rt 91ab",
    "id_token": "a.b.c",
    "expires_in": 300,
    "scope": "openid offline_access",
    "token_type": "bearer",
    "session_state": {"a": [1, None]},
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
#: As `json.loads` may give them: lone surrogates, NaN and infinity included.
FIELDS = st.dictionaries(
    st.sampled_from(sorted(TOKENS)) | st.text(max_size=8),
    ANYTHING | st.text(st.characters(codec=None), max_size=20) | st.sampled_from(["Bearer", "a.b"]),
)


def fields_of(request: HttpRequest) -> dict[str, str]:
    return dict(parse_qsl(request.body().decode(), keep_blank_values=True, strict_parsing=True))


def test_a_token_response_is_read_whole() -> None:
    """Tokens become secrets, unknown fields are kept (RFC 6749 section 5.1)."""
    response = parse_token_response(TOKENS)
    assert response.access_token.reveal() == "at-4f1c"
    assert response.refresh_token == Secret("rt 91ab")
    assert response.id_token == Secret("a.b.c")
    assert response.expires_in == 300.0
    assert response.scope == "openid offline_access"
    assert response.token_type == "Bearer"
    assert response.extra == {"session_state": {"a": [1, None]}}
    assert "at-4f1c" not in repr(response)
    assert "session_state" not in repr(response)


def test_only_the_access_token_and_its_type_are_required() -> None:
    """Everything else may be absent, or null as some providers and libraries write it."""
    least = {"access_token": "a", "token_type": "Bearer"}
    assert parse_token_response(least) == TokenResponse(Secret("a"))
    nulls = dict.fromkeys(("refresh_token", "id_token", "expires_in", "scope"))
    assert parse_token_response({**least, **nulls}) == TokenResponse(Secret("a"))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (0, 0.0),
        (0.5, 0.5),
        ("3600", 3600.0),
        (2**31 - 1, 2147483647.0),
        ("9999999999", MAX_LIFETIME),
    ],
)
def test_a_lifetime_may_be_any_plausible_number(given: object, seconds: float) -> None:
    """Also as text (Azure v1), also "never" as 2**31 - 1."""
    assert parse_token_response({**TOKENS, "expires_in": given}).expires_in == seconds


def test_a_scope_may_be_a_list() -> None:
    """As Twitch writes it."""
    assert parse_token_response({**TOKENS, "scope": ["a", "b"]}).scope == "a b"


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_token": None},
        {"access_token": 7},
        {"access_token": ""},
        {"access_token": "a b"},
        {"access_token": "a\r\nX-Header: b"},
        {"access_token": "täglich"},
        {"access_token": ["a"]},
        {"access_token": "a" * 70_000},
        {"refresh_token": ""},
        {"refresh_token": {"a": 1}},
        {"refresh_token": "a\x00"},
        {"refresh_token": "a\ud800"},
        {"id_token": 7},
        {"id_token": "a\nb"},
        {"token_type": None},
        {"token_type": "DPoP"},
        {"token_type": "mac"},
        {"token_type": 7},
        {"expires_in": -1},
        {"expires_in": True},
        {"expires_in": "soon"},
        {"expires_in": "-5"},
        {"expires_in": "٣"},
        {"expires_in": 1e300},
        {"expires_in": float("nan")},
        {"expires_in": float("inf")},
        {"expires_in": [1]},
        {"scope": 7},
        {"scope": [7]},
        {"scope": "a\nb"},
        {"scope": "a" * 10_000},
        {"session_state": object()},
        {"session_state": float("nan")},
        {"session_state": "\ud800"},
        {"session_state": "a" * 70_000},
        {7: "a"},
    ],
    ids=lambda wrong: "-".join(f"{name}" for name in wrong),
)
def test_a_wrong_token_response_is_refused_without_repeating_it(wrong: dict[Any, Any]) -> None:
    """A typed error, and no token of it in any frame of ours."""
    secrets = {"access_token": "at-secret-1", "refresh_token": "rt-secret-2"}
    with pytest.raises(ProtocolViolation) as caught:
        parse_token_response({**TOKENS, **secrets, **wrong})
    assert raised_in_library(caught.value)
    assert_nothing_leaks(caught.value, *secrets.values())


@pytest.mark.parametrize("wrong", [None, 7, "text", [], ["access_token"], b"{}"])
def test_something_that_is_no_object_is_refused(wrong: object) -> None:
    """HTML, text, a list."""
    with pytest.raises(ProtocolViolation):
        parse_token_response(wrong)


@given(FIELDS)
def test_any_object_is_a_token_response_or_a_protocol_violation(changes: dict[str, Any]) -> None:
    """Nothing else comes out; what comes out can be kept, sent and printed."""
    try:
        response = parse_token_response({**TOKENS, **changes})
    except ProtocolViolation as exc:
        assert_nothing_leaks(exc, *(TOKENS[name] for name in ("access_token", "refresh_token")))
        return
    assert response.access_token.reveal().isprintable()
    assert response.expires_in is None or 0 <= response.expires_in <= MAX_LIFETIME
    json.dumps(response.extra, ensure_ascii=False, allow_nan=False).encode()
    assert response.scope is None or response.scope.isascii()


@given(ANYTHING)
def test_anything_at_all_is_a_protocol_violation_or_a_token_response(document: Any) -> None:
    """Whatever JSON can say."""
    try:
        parse_token_response(document)
    except ProtocolViolation:
        pass


def test_the_challenge_is_that_of_the_standard() -> None:
    """RFC 7636, appendix B."""
    octets = bytes(
        (
            *(116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186),
            *(22, 212, 37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121),
        )
    )
    request = messages.begin_authorization(
        PROVIDER,
        METADATA,
        redirect_uri="http://127.0.0.1:1/callback",
        scope=[],
        random=lambda _: octets,
    )
    assert request.verifier.reveal() == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    asked = dict(parse_qsl(urlsplit(request.url.reveal()).query))
    assert asked["code_challenge"] == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert asked["code_challenge_method"] == "S256"


def authorization(scope: list[str], **extra: str) -> dict[str, str]:
    provider = Provider(ISSUER, client_id="notes", authorization_parameters={"audience": "api"})
    request = messages.begin_authorization(
        provider,
        METADATA,
        redirect_uri="http://127.0.0.1:1/callback",
        scope=scope,
        random=bytes,
        extra=extra,
    )
    return dict(parse_qsl(urlsplit(request.url.reveal()).query))


def test_an_authorization_request_has_everything_and_keeps_the_endpoints_query() -> None:
    """Code flow with PKCE, state, and a nonce for OpenID Connect."""
    asked = authorization(["openid", "mail"])
    assert asked["tenant"] == "a"
    assert asked["response_type"] == "code"
    assert asked["client_id"] == "notes"
    assert asked["redirect_uri"] == "http://127.0.0.1:1/callback"
    assert asked["scope"] == "openid mail"
    assert asked["audience"] == "api"
    assert len(asked["state"]) == 43
    assert len(asked["nonce"]) == 43
    assert "prompt" not in asked


def test_a_plain_oauth_login_sends_no_nonce() -> None:
    """There is no ID token that could answer it."""
    assert "nonce" not in authorization(["mail"])


def test_offline_access_asks_for_consent_unless_told_otherwise() -> None:
    """OpenID Connect Core section 11: without it the scope may be ignored."""
    assert authorization(["offline_access"])["prompt"] == "consent"
    assert authorization(["offline_access"], prompt="login")["prompt"] == "login"
    assert "prompt" not in authorization(["offline_access"], prompt="")


def test_a_provider_without_s256_or_without_a_login_page_is_refused() -> None:
    """Plain PKCE is no PKCE."""
    plain = Metadata(
        issuer=ISSUER,
        token_endpoint=f"{ISSUER}/token",
        authorization_endpoint=f"{ISSUER}/authorize",
        code_challenge_methods=("plain",),
    )
    for metadata in (plain, BARE):
        with pytest.raises(ProviderRefused):
            messages.begin_authorization(
                PROVIDER, metadata, redirect_uri="x", scope=[], random=bytes
            )


def test_a_code_is_exchanged_with_its_verifier() -> None:
    """RFC 6749 section 4.1.3 and RFC 7636 section 4.5; extra parameters go along."""
    request = messages.code_request(
        PROVIDER, METADATA, code=Secret("c&d"), verifier=Secret("v"), redirect_uri="http://a/b"
    )
    assert fields_of(request) == {
        "grant_type": "authorization_code",
        "code": "c&d",
        "redirect_uri": "http://a/b",
        "code_verifier": "v",
        "resource": "https://api.example",
        "client_id": "notes",
    }
    assert request.method == "POST"
    assert request.url == METADATA.token_endpoint
    assert "c&d" not in repr(request)


def test_a_refresh_names_a_scope_only_if_one_is_wanted() -> None:
    """RFC 6749 section 6."""
    asked = messages.refresh_request(PROVIDER, METADATA, refresh_token=Secret("r"), scope=None)
    assert "scope" not in fields_of(asked)
    asked = messages.refresh_request(PROVIDER, METADATA, refresh_token=Secret("r"), scope="a")
    assert fields_of(asked)["scope"] == "a"
    assert fields_of(asked)["refresh_token"] == "r"


def test_a_revocation_names_the_kind_of_token() -> None:
    """RFC 7009 section 2.1; extra token parameters do not belong there."""
    request = messages.revoke_request(
        PROVIDER, METADATA, endpoint=f"{ISSUER}/revoke", token=Secret("r"), hint="refresh_token"
    )
    assert fields_of(request) == {
        "token": "r",
        "token_type_hint": "refresh_token",
        "client_id": "notes",
    }


@pytest.mark.parametrize(
    ("methods", "in_body"),
    [
        ((), False),
        (("client_secret_basic", "client_secret_post"), False),
        (("client_secret_post",), True),
    ],
)
def test_a_confidential_client_authenticates_as_the_provider_wants(
    methods: tuple[str, ...], in_body: bool
) -> None:
    """Basic by default (RFC 8414 section 2), with both parts form-encoded (RFC 6749, 2.3.1)."""
    provider = Provider(ISSUER, client_id="a:b", client_secret="p%q r")
    metadata = Metadata(
        issuer=ISSUER, token_endpoint=f"{ISSUER}/token", token_endpoint_auth_methods=methods
    )
    request = messages.refresh_request(provider, metadata, refresh_token=Secret("r"), scope=None)
    headers = dict(request.headers)
    if in_body:
        assert fields_of(request)["client_secret"] == "p%q r"
        assert "authorization" not in headers
    else:
        # base64 of "a%3Ab:p%25q+r"
        assert headers["authorization"] == Secret("Basic YSUzQWI6cCUyNXErcg==")
        assert "client_secret" not in fields_of(request)
        assert "client_id" not in fields_of(request)


def test_the_logout_address_has_what_it_was_given() -> None:
    """OpenID Connect RP-Initiated Logout section 2."""
    url = messages.logout_url(
        PROVIDER,
        METADATA,
        id_token_hint=Secret("a.b.c"),
        post_logout_redirect_uri="http://127.0.0.1:1/bye",
        state="s t",
    )
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": "notes",
        "id_token_hint": "a.b.c",
        "post_logout_redirect_uri": "http://127.0.0.1:1/bye",
        "state": "s t",
    }
    with pytest.raises(ProviderRefused) as caught:
        messages.logout_url(PROVIDER, BARE, id_token_hint=Secret("hint-secret"))
    assert_nothing_leaks(caught.value, "hint-secret")


DEVICE: dict[str, Any] = {
    "device_code": "dc-secret",
    "user_code": "WDJB-MJHT",
    "verification_uri": f"{ISSUER}/activate",
    "verification_uri_complete": f"{ISSUER}/activate?user_code=WDJB-MJHT",
    "expires_in": 600,
}


def test_a_device_authorization_is_read_with_the_standards_interval() -> None:
    """RFC 8628 section 3.2: 5 seconds if none is given."""
    device = parse_device_authorization(DEVICE)
    assert device.interval == 5.0
    assert device.device_code == Secret("dc-secret")
    assert device.shown.user_code == "WDJB-MJHT"
    assert device.shown.expires_in == 600.0
    assert "WDJB" not in repr(device)
    assert parse_device_authorization({**DEVICE, "interval": 1}).interval == 1.0


def test_googles_older_name_for_the_address_is_understood() -> None:
    """`verification_url`, from before the standard."""
    older = {**DEVICE, "verification_url": f"{ISSUER}/g"}
    del older["verification_uri"]
    assert parse_device_authorization(older).shown.verification_uri == f"{ISSUER}/g"


@pytest.mark.parametrize(
    "wrong",
    [
        {"device_code": None},
        {"device_code": ""},
        {"user_code": None},
        {"user_code": "\x1b[2J"},
        {"user_code": "A" * 65},
        {"verification_uri": None},
        {"verification_uri": "http://issuer.example/"},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri_complete": "file:///"},
        {"expires_in": None},
        {"expires_in": -1},
        {"interval": "often"},
        {"interval": -3},
    ],
)
def test_a_wrong_device_authorization_is_refused(wrong: dict[str, Any]) -> None:
    """What would be shown to a person is checked: addresses are https, codes printable."""
    with pytest.raises(ProtocolViolation) as caught:
        parse_device_authorization({**DEVICE, **wrong})
    assert_nothing_leaks(caught.value, "dc-secret", "WDJB-MJHT")


@given(st.dictionaries(st.sampled_from([*sorted(DEVICE), "interval"]), ANYTHING))
def test_any_object_is_a_device_authorization_or_a_protocol_violation(
    changes: dict[str, Any],
) -> None:
    """Nothing else comes out."""
    try:
        device = parse_device_authorization({**DEVICE, **changes})
    except ProtocolViolation:
        return
    assert device.interval >= 0
