"""Metadata counts only if it is of the issuer that was asked, and leads to safe places."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.errors import ProtocolViolation, UnsupportedOption
from tokenkeep.oauth.metadata import Metadata, metadata_urls, parse_metadata

ISSUER = "https://issuer.example"
DOCUMENT: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "device_authorization_endpoint": f"{ISSUER}/device",
    "end_session_endpoint": f"{ISSUER}/end",
    "userinfo_endpoint": f"{ISSUER}/me",
    "jwks_uri": f"{ISSUER}/jwks",
    "authorization_response_iss_parameter_supported": True,
    "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
    "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    "code_challenge_methods_supported": ["S256"],
    "something_new": {"a": 1},
}

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def test_metadata_is_read_from_a_document() -> None:
    """Unknown fields are ignored (RFC 8414 section 3.2)."""
    metadata = parse_metadata(DOCUMENT, ISSUER)
    assert metadata.token_endpoint == f"{ISSUER}/token"
    assert metadata.end_session_endpoint == f"{ISSUER}/end"
    assert metadata.iss_in_response is True
    assert metadata.token_endpoint_auth_methods == ("none", "client_secret_post")
    assert metadata.id_token_signing_algs == ("RS256", "ES256")


def test_metadata_survives_its_own_json() -> None:
    """The session record keeps it so that restore and logout work offline."""
    full = parse_metadata(DOCUMENT, ISSUER)
    least = Metadata(issuer=ISSUER, token_endpoint=f"{ISSUER}/token")
    assert Metadata.from_json(full.to_json()) == full
    dated = replace(full, discovered_at=1_700_000_000.25)
    assert Metadata.from_json(dated.to_json()) == dated
    assert Metadata.from_json(least.to_json()) == least


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "7", "null", "{}", '{"issuer": 7}', "[" * 100_000, '"' * 3),
        json.dumps({**DOCUMENT, "tokenkeep_discovered_at": "yesterday"}),
    ],
)
def test_damaged_json_is_a_protocol_violation(text: str) -> None:
    """A typed error, whatever the bytes."""
    with pytest.raises(ProtocolViolation):
        Metadata.from_json(text)


def test_a_provider_cannot_say_when_it_was_asked() -> None:
    """Our own note in the document would keep an old answer for ever."""
    said = {**DOCUMENT, "tokenkeep_discovered_at": 1e12}
    assert parse_metadata(said, ISSUER).discovered_at is None


@pytest.mark.parametrize(
    "issuer", ["https://issuer.example/", "https://ISSUER.example", "https://evil.example"]
)
def test_metadata_of_another_issuer_is_refused(issuer: str) -> None:
    """Compared character by character (RFC 8414 section 3.3)."""
    with pytest.raises(ProtocolViolation) as caught:
        parse_metadata({**DOCUMENT, "issuer": issuer}, ISSUER)
    assert caught.value.hint == f"if it is the right provider, it calls itself {issuer}"


def test_a_hint_repeats_no_foreign_text() -> None:
    """What is not a clean URL comes from outside and is not shown."""
    with pytest.raises(ProtocolViolation) as caught:
        parse_metadata({**DOCUMENT, "issuer": "https://x.example/\x1b[31m"}, ISSUER)
    assert caught.value.hint == "check the issuer's address, or give the provider's metadata"


@pytest.mark.parametrize(
    "wrong",
    [
        {"token_endpoint": None},
        {"token_endpoint": 7},
        {"token_endpoint": "http://issuer.example/token"},
        {"token_endpoint": "javascript:alert(1)"},
        {"revocation_endpoint": "http://issuer.example/revoke"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "https://a@b.example"},
        {"authorization_response_iss_parameter_supported": "yes"},
        {"id_token_signing_alg_values_supported": "RS256"},
        {"id_token_signing_alg_values_supported": [1]},
        {"id_token_signing_alg_values_supported": ["a"] * 1000},
        {"token_endpoint_auth_methods_supported": ["a b"]},
    ],
)
def test_unsafe_or_malformed_metadata_is_refused(wrong: dict[str, Any]) -> None:
    """Every endpoint is https or on this machine, used today or not."""
    with pytest.raises(ProtocolViolation):
        parse_metadata({**DOCUMENT, **wrong}, ISSUER)


def test_metadata_given_by_hand_is_checked_too() -> None:
    """An application's own mistake is an option that cannot be."""
    with pytest.raises(UnsupportedOption):
        Metadata(issuer=ISSUER, token_endpoint="http://issuer.example/token")
    with pytest.raises(UnsupportedOption):
        Metadata(issuer="nowhere", token_endpoint=f"{ISSUER}/token")


@pytest.mark.parametrize(
    ("issuer", "openid", "oauth"),
    [
        (
            "https://a.example",
            "https://a.example/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://a.example/",
            "https://a.example/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://a.example:1/t/x",
            "https://a.example:1/t/x/.well-known/openid-configuration",
            "https://a.example:1/.well-known/oauth-authorization-server/t/x",
        ),
    ],
)
def test_metadata_lies_where_the_two_standards_say(issuer: str, openid: str, oauth: str) -> None:
    """OpenID Connect appends to the issuer's path; RFC 8414 inserts before it."""
    assert metadata_urls(issuer) == (openid, oauth)


@given(st.dictionaries(st.sampled_from(sorted(DOCUMENT)) | st.text(max_size=8), ANYTHING))
def test_any_document_is_metadata_or_a_protocol_violation(changes: dict[str, Any]) -> None:
    """Nothing else comes out, and what is read survives its own JSON."""
    try:
        metadata = parse_metadata({**DOCUMENT, **changes}, ISSUER)
    except ProtocolViolation:
        return
    assert Metadata.from_json(json.dumps(json.loads(metadata.to_json()))) == metadata


@given(ANYTHING)
def test_anything_at_all_is_metadata_or_a_protocol_violation(document: Any) -> None:
    """Not even an object."""
    with pytest.raises(ProtocolViolation):
        parse_metadata(document, ISSUER)
