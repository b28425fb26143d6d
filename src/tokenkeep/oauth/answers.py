"""Reads HTTP answers: JSON bodies, error codes, and what became of a token request.

Nothing of a body gets into a reason. Nothing here does input or output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from tokenkeep.oauth.messages import (
    DeviceAuthorization,
    read_device_authorization,
    read_token_response,
)
from tokenkeep.oauth.outcome import (
    Answered,
    Misconfigured,
    Outcome,
    Refused,
    TryLater,
    Unanswered,
)
from tokenkeep.oauth.wire import HttpResponse
from tokenkeep.secret import Secret

#: A provider that asks for more than a day's patience is not believed.
MAX_RETRY_AFTER = 86400.0
MAX_ERROR_CODE_CHARACTERS = 64
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: What says that the grant is no good; GitHub has a code of its own for refresh tokens.
_REFUSED = frozenset(("invalid_grant", "bad_refresh_token"))
#: Codes of a passing failure; RFC 6749 has them for the authorization endpoint, some providers
#: use them here. Whether the token was spent is not known.
_FAILED = frozenset(("server_error", "temporarily_unavailable"))


def token_outcome(response: HttpResponse, carried: Sequence[Secret]) -> Outcome:
    """What became of a token request that was answered; `carried` are the request's secrets."""
    status = response.status
    if status in (429, 503):
        wait = retry_after(response)
        return TryLater(f"the provider answered {status}", wait)
    if 300 <= status < 400:
        return Unanswered(f"the token endpoint answered with a redirect ({status})")
    if status >= 500 or status < 200:
        return Unanswered(f"the provider answered {status}")
    error = error_code(response, carried)
    if error is not None:
        if error in _FAILED:
            return Unanswered(f"the provider answered {status} ({error})")
        reason = f"the provider refused the request ({error})"
        return Refused(error, reason) if error in _REFUSED else Misconfigured(error, reason)
    if status != 200:
        return Unanswered(f"the provider answered {status} without an error code")
    fields = json_object(response)
    if fields is None:
        return Unanswered("the token endpoint answered with something that is not a JSON object")
    read = read_token_response(fields)
    if isinstance(read, str):
        return Unanswered(read)
    return Answered(read, server_time(response))


def device_authorization(response: HttpResponse) -> DeviceAuthorization | str | None:
    """The start of a device login, or what is wrong with it; None if the answer is another."""
    fields = json_object(response) if response.status == 200 else None
    if fields is None or "error" in fields:
        return None
    return read_device_authorization(fields)


def error_code(response: HttpResponse, carried: Sequence[Secret]) -> str | None:
    """The `error` of an error answer (RFC 6749, section 5.2); None if the body is none.

    A code that could not be one, or that repeats what was sent, is "unknown_error". An answer
    with tokens is no error answer; GitHub sends errors with status 200.
    """
    fields = json_object(response)
    if fields is None or "access_token" in fields:
        return None
    error = fields.get("error")
    if not isinstance(error, str):
        return None
    is_plausible = (
        0 < len(error) <= MAX_ERROR_CODE_CHARACTERS
        and error.isascii()
        and all(character.isalnum() or character in "_-." for character in error)
        and not any(error.encode() in secret.reveal_bytes() for secret in carried)
    )
    return error if is_plausible else "unknown_error"


def json_object(response: HttpResponse) -> dict[str, object] | None:
    """The body, if it is a JSON object."""
    try:
        decoded = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def server_time(response: HttpResponse) -> float | None:
    """The Date header in seconds since 1970."""
    return _http_date(response.headers.get("date"))


def retry_after(response: HttpResponse) -> float | None:
    """Seconds to wait (RFC 9110, section 10.2.3); a date counts from the answer's own Date."""
    header = response.headers.get("retry-after", "").strip()
    if header.isascii() and header.isdigit():
        return min(float(header[:10]), MAX_RETRY_AFTER)
    until, now = _http_date(header), server_time(response)
    if until is None or now is None:
        return None
    return min(max(0.0, until - now), MAX_RETRY_AFTER)


def max_age(response: HttpResponse) -> float | None:
    """Seconds for which the answer may be kept (RFC 9111, section 5.2.2); None if it says none."""
    seconds = None
    for directive in response.headers.get("cache-control", "").lower().split(","):
        name, _, value = (part.strip() for part in directive.partition("="))
        if name in ("no-store", "no-cache"):
            return 0.0
        value = value.strip('"')
        if name == "max-age" and value.isascii() and value.isdigit():
            seconds = float(value[:10])
    age = response.headers.get("age", "")  # what a cache on the way has used up of it
    if seconds is not None and age.isascii() and age.isdigit():
        seconds = max(0.0, seconds - float(age[:10]))
    return seconds


def _http_date(header: str | None) -> float | None:
    """An IMF-fixdate (RFC 9110, section 5.6.7); `email.utils` would load `socket`."""
    words = (header or "").replace(":", " ").split()
    if len(words) != 8 or words[2] not in _MONTHS or words[7] not in ("GMT", "UTC"):
        return None
    numbers = [words[3], words[1], *words[4:7]]
    if not all(len(word) <= 4 and word.isascii() and word.isdigit() for word in numbers):
        return None
    year, day, hour, minute, second = (int(word) for word in numbers)
    try:
        # 60 is a leap second.
        at = datetime(year, _MONTHS.index(words[2]) + 1, day, hour, minute, min(second, 59), 0, UTC)
    except ValueError:
        return None
    return at.timestamp()
