"""Requests are what the standards say, and print nothing of what they carry."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from support.captured import assert_nothing_leaks
from tokenkeep.errors import ProviderRefused
from tokenkeep.oauth import requests
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


def fields_of(request: HttpRequest) -> dict[str, str]:
    return dict(parse_qsl(request.body().decode(), keep_blank_values=True, strict_parsing=True))


def test_the_challenge_is_that_of_the_standard() -> None:
    """RFC 7636, appendix B."""
    octets = bytes(
        (
            *(116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186),
            *(22, 212, 37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121),
        )
    )
    request = requests.begin_authorization(
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
    request = requests.begin_authorization(
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
            requests.begin_authorization(
                PROVIDER, metadata, redirect_uri="x", scope=[], random=bytes
            )


def test_a_code_is_exchanged_with_its_verifier() -> None:
    """RFC 6749 section 4.1.3 and RFC 7636 section 4.5; extra parameters go along."""
    request = requests.code_request(
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
    asked = requests.refresh_request(PROVIDER, METADATA, refresh_token=Secret("r"), scope=None)
    assert "scope" not in fields_of(asked)
    asked = requests.refresh_request(PROVIDER, METADATA, refresh_token=Secret("r"), scope="a")
    assert fields_of(asked)["scope"] == "a"
    assert fields_of(asked)["refresh_token"] == "r"


def test_a_revocation_names_the_kind_of_token() -> None:
    """RFC 7009 section 2.1; extra token parameters do not belong there."""
    request = requests.revoke_request(
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
    request = requests.refresh_request(provider, metadata, refresh_token=Secret("r"), scope=None)
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
    url = requests.logout_url(
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
        requests.logout_url(PROVIDER, BARE, id_token_hint=Secret("hint-secret"))
    assert_nothing_leaks(caught.value, "hint-secret")
