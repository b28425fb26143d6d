"""Each answer of a token endpoint has one meaning, and its reason holds nothing of the body."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenkeep.oauth.answers import error_code, retry_after, server_time, token_outcome
from tokenkeep.oauth.outcome import Answered, Misconfigured, Refused, TryLater, Unanswered
from tokenkeep.oauth.wire import HttpResponse
from tokenkeep.secret import Secret

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
TOKENS = {"access_token": "a", "token_type": "Bearer"}


def answer(status: int, body: object, **headers: str) -> HttpResponse:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {k.replace("_", "-"): v for k, v in headers.items()}, encoded)


def test_tokens_are_an_answer_with_the_servers_time() -> None:
    """The Date header tells a wrong clock here from an expired token there."""
    outcome = token_outcome(answer(200, TOKENS, date=DATE), [])
    assert isinstance(outcome, Answered)
    assert outcome.response.access_token == Secret("a")
    assert outcome.server_time == 784111777.0


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("invalid_grant", Refused),
        ("bad_refresh_token", Refused),
        ("invalid_client", Misconfigured),
        ("unauthorized_client", Misconfigured),
        ("invalid_scope", Misconfigured),
        ("unsupported_grant_type", Misconfigured),
        ("invalid_request", Misconfigured),
        ("interaction_required", Misconfigured),
        ("server_error", Unanswered),
        ("temporarily_unavailable", Unanswered),
    ],
)
def test_an_error_code_says_what_became_of_it(status: int, error: str, kind: type) -> None:
    """RFC 6749 section 5.2; only the grant's own refusal can end a session."""
    body = {"error": error, "error_description": "the token rt-secret is bad"}
    outcome = token_outcome(answer(status, body), [])
    assert type(outcome) is kind
    assert "rt-secret" not in repr(outcome)
    assert error in outcome.reason  # type: ignore[union-attr]


def test_an_error_with_status_200_is_an_error() -> None:
    """GitHub answers so."""
    outcome = token_outcome(answer(200, {"error": "bad_refresh_token"}), [])
    assert isinstance(outcome, Refused)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_provider_has_not_looked_at_the_request(status: int) -> None:
    """The refresh token is unspent whatever the body says."""
    outcome = token_outcome(answer(status, {"error": "invalid_grant"}, retry_after="7"), [])
    assert outcome == TryLater(f"the provider answered {status}", 7.0)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>hello</html>"),
        (200, b""),
        (200, b"\xff\xfe"),
        (200, b"[" * 200_000),
        (200, b'{"access_token": "a"'),
        (200, ["access_token"]),
        (200, {}),
        (200, {"access_token": "a"}),
        (200, {**TOKENS, "expires_in": "soon"}),
        (201, TOKENS),
        (204, b""),
        (301, TOKENS),
        (307, b""),
        (400, b"nope"),
        (401, b""),
        (403, b"<html>blocked</html>"),
        (404, {"message": "no such page"}),
        (500, {"error": "invalid_grant"}),
        (502, b"<html>bad gateway</html>"),
        (504, b""),
        (100, b""),
    ],
)
def test_an_unusable_answer_is_no_answer(status: int, body: object) -> None:
    """The token may be spent: nobody may conclude anything."""
    assert isinstance(token_outcome(answer(status, body), []), Unanswered)


@pytest.mark.parametrize(
    "error",
    ["", "a" * 65, "with space", "\x1b[31m", "new\nline", "täglich", "rt-secret-91", "secret"],
)
def test_an_error_code_that_could_be_something_else_is_not_repeated(error: str) -> None:
    """Neither text for a terminal nor what was sent."""
    found = error_code(answer(400, {"error": error}), [Secret("rt-secret-91")])
    assert found == "unknown_error"


def test_an_error_that_is_not_text_is_none() -> None:
    """Then the answer is unusable, not a refusal."""
    for error in (7, None, ["invalid_grant"], {"error": "invalid_grant"}):
        assert error_code(answer(400, {"error": error}), []) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999999999999999999999", 86400.0),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_bounded_seconds_or_a_date(header: str, seconds: float | None) -> None:
    """RFC 9110 section 10.2.3; a date is counted by the provider's own clock."""
    assert retry_after(answer(503, b"", retry_after=header, date=DATE)) == seconds


def test_a_date_to_wait_for_means_nothing_without_the_servers_date() -> None:
    """This machine's clock may be wrong by days."""
    assert retry_after(answer(503, b"", retry_after=DATE)) is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "yesterday",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0100",
        "Sunday, 06-Nov-94 08:49:37 GMT",
    ],
)
def test_a_date_that_cannot_be_read_is_none(header: str | None) -> None:
    """Skew is then unknown, which is no failure."""
    assert server_time(HttpResponse(200, {} if header is None else {"date": header})) is None


@given(st.integers(100, 599), st.binary(max_size=200), st.text(max_size=40), st.text(max_size=40))
def test_any_answer_has_an_outcome(status: int, body: bytes, date: str, wait: str) -> None:
    """Never an exception, whatever arrives."""
    response = HttpResponse(status, {"date": date, "retry-after": wait}, body)
    assert token_outcome(response, [Secret("rt-secret")]) is not None
