"""An answer is checked field by field before it counts as tokens or as a device code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.captured import assert_nothing_leaks, raised_in_library
from tokenkeep.errors import ProtocolViolation
from tokenkeep.oauth.messages import (
    MAX_LIFETIME,
    DeviceAuthorization,
    TokenResponse,
    parse_token_response,
    read_device_authorization,
)
from tokenkeep.secret import Secret

ISSUER = "https://issuer.example"
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
        {"token_type": "N_A"},
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
        {"session_state": {1: "a", "b": 2}},
        {"session_state": json.loads("[" * 80 + "]" * 80)},
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


DEVICE: dict[str, Any] = {
    "device_code": "dc-secret",
    "user_code": "WDJB-MJHT",
    "verification_uri": f"{ISSUER}/activate",
    "verification_uri_complete": f"{ISSUER}/activate?user_code=WDJB-MJHT",
    "expires_in": 600,
}


def device_of(fields: dict[str, Any]) -> DeviceAuthorization:
    device = read_device_authorization(fields)
    assert isinstance(device, DeviceAuthorization)
    return device


def test_a_device_authorization_is_read_with_the_standards_interval() -> None:
    """RFC 8628 section 3.2: 5 seconds if none is given."""
    device = device_of(DEVICE)
    assert device.interval == 5.0
    assert device.device_code == Secret("dc-secret")
    assert device.shown.user_code == "WDJB-MJHT"
    assert device.shown.expires_in == 600.0
    assert "WDJB" not in repr(device)
    assert device_of({**DEVICE, "interval": 1}).interval == 1.0


def test_googles_older_name_for_the_address_is_understood() -> None:
    """`verification_url`, from before the standard."""
    older = {**DEVICE, "verification_url": f"{ISSUER}/g"}
    del older["verification_uri"]
    assert device_of(older).shown.verification_uri == f"{ISSUER}/g"


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
    problem = read_device_authorization({**DEVICE, **wrong})
    assert isinstance(problem, str)
    assert "dc-secret" not in problem
    assert "WDJB-MJHT" not in problem


@given(st.dictionaries(st.sampled_from([*sorted(DEVICE), "interval"]), ANYTHING))
def test_any_object_is_a_device_authorization_or_a_problem(
    changes: dict[str, Any],
) -> None:
    """Nothing else comes out."""
    device = read_device_authorization({**DEVICE, **changes})
    assert isinstance(device, str) or 1 <= device.interval <= MAX_LIFETIME


@pytest.mark.parametrize(
    ("stated", "kept"), [(None, 5), (0, 1), ("0", 1), (0.2, 1), (1, 1), (7, 7), (3600, 3600)]
)
def test_a_poll_interval_is_the_stated_one_but_no_hammer(
    stated: float | str | None, kept: float
) -> None:
    """RFC 8628 section 3.2: five seconds if none is stated; never more than one in a second."""
    device = read_device_authorization({**DEVICE, "interval": stated})
    assert not isinstance(device, str)
    assert kept == device.interval
