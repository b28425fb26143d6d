"""The provider's messages as values: what its answers must be to count as tokens.

Nothing here does input or output. Sources: RFC 6749, section 5.1; RFC 8628, section 3.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenkeep.errors import ProtocolViolation
from tokenkeep.oauth.urls import endpoint_problem
from tokenkeep.secret import Secret

#: What a stored value may have at most by default (64 KiB); a longer token could not be kept.
MAX_TOKEN_CHARACTERS = 65536
MAX_SCOPE_CHARACTERS = 8192
MAX_EXTRA_CHARACTERS = 65536
#: Far below where Python's own limit lets a session be saved and not read again.
MAX_EXTRA_DEPTH = 64
#: RFC 6750, RFC 9449; types are compared whatever their case (RFC 6749, section 5.1).
_TOKEN_TYPES = {"bearer": "Bearer", "dpop": "DPoP"}
#: A century. Some providers say 2**31 - 1 for tokens that do not expire.
MAX_LIFETIME = 100 * 366 * 86400.0
#: RFC 8628, section 3.2: "If no value is provided, clients MUST use 5 as the default."
DEFAULT_POLL_INTERVAL = 5.0
#: Providers that say 0 or less than a second do not mean that they want to be hammered.
MIN_POLL_INTERVAL = 1.0
MAX_USER_CODE_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """What the token endpoint gave, checked; `extra` holds the fields that are not known here."""

    access_token: Secret
    refresh_token: Secret | None = None
    expires_in: float | None = None
    scope: str | None = None
    id_token: Secret | None = None
    token_type: str = "Bearer"
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    def is_bound_by(self, dpop_key: object) -> bool:
        """Whether the tokens are bound where a key was given, and bearer tokens where none was."""
        return (self.token_type == "DPoP") == (dpop_key is not None)


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person needs to approve a login on another device; `expires_in` in seconds."""

    user_code: str = field(repr=False)
    verification_uri: str
    verification_uri_complete: str | None = field(repr=False)
    expires_in: float


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """The provider's answer to the start of a device login; `interval` in seconds."""

    device_code: Secret
    shown: DeviceCode
    interval: float


def parse_token_response(fields: object) -> TokenResponse:
    """The tokens in a decoded token response (RFC 6749, section 5.1).

    A number of seconds may be text, a scope may be a list, and null counts as absent: widespread
    habits that harm nobody. Everything else is as the standard says.

    Raises:
        ProtocolViolation: a field is missing, of the wrong type, too long, with characters a
            token cannot have, or the token is of another type. No value is repeated.
    """
    read = read_token_response(fields)
    del fields
    if isinstance(read, str):
        raise ProtocolViolation(read, hint="give the token endpoint's answer as it came")
    return read


def read_token_response(fields: object) -> TokenResponse | str:
    """As `parse_token_response`, with the problem as a text instead of an exception.

    For callers that hold the plain fields: an exception would carry their frames along.
    """
    problem = _token_response_problem(fields)
    if problem is not None or not isinstance(fields, Mapping):
        return f"the token response {problem}"
    refresh_token, id_token = fields.get("refresh_token"), fields.get("id_token")
    return TokenResponse(
        access_token=Secret(fields["access_token"]),
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        expires_in=_seconds(fields.get("expires_in")),
        scope=_scope(fields.get("scope")),
        id_token=None if id_token is None else Secret(id_token),
        token_type=_TOKEN_TYPES[fields["token_type"].lower()],
        extra={name: value for name, value in fields.items() if name not in _KNOWN_FIELDS},
    )


def read_device_authorization(fields: object) -> DeviceAuthorization | str:
    """The answer to `device_request` (RFC 8628, section 3.2), or what is wrong with it."""
    problem = _device_problem(fields)
    if problem is not None or not isinstance(fields, Mapping):
        return f"the device authorization response {problem}"
    interval = _seconds(fields.get("interval"))
    return DeviceAuthorization(
        Secret(fields["device_code"]),
        DeviceCode(
            user_code=fields["user_code"],
            verification_uri=_verification_uri(fields),
            verification_uri_complete=fields.get("verification_uri_complete"),
            expires_in=_seconds(fields["expires_in"]) or 0.0,
        ),
        DEFAULT_POLL_INTERVAL if interval is None else max(MIN_POLL_INTERVAL, interval),
    )


_KNOWN_FIELDS = frozenset(
    ("access_token", "refresh_token", "expires_in", "scope", "id_token", "token_type")
)


def _token_response_problem(fields: object) -> str | None:
    if not isinstance(fields, Mapping):
        return "is not an object"
    if fields.get("access_token") is None:
        return "has no access_token"
    for name in ("access_token", "refresh_token", "id_token"):
        token = fields.get(name)
        if token is None:
            continue
        if not isinstance(token, str):
            return f"has {_article(name)} that is not text"
        if not 0 < len(token) <= MAX_TOKEN_CHARACTERS:
            return f"has {_article(name)} of an impossible length"
        # RFC 6749, appendix A: VSCHAR; a space could not travel in an Authorization header.
        lowest = " " if name == "refresh_token" else "!"
        if any(not lowest <= character <= "~" for character in token):
            return f"has {_article(name)} with characters that a token cannot have"
    token_type = fields.get("token_type")
    if not isinstance(token_type, str):
        return "has no token_type"
    if token_type.lower() not in _TOKEN_TYPES:
        return "holds a token that is neither a bearer token nor bound by DPoP"
    if not _is_absent_or_seconds(fields.get("expires_in")):
        return "has an expires_in that is not a plausible number of seconds"
    return _scope_problem(fields.get("scope")) or _extra_problem(fields)


def _scope_problem(scope: object) -> str | None:
    if scope is None:
        return None
    words: list[Any] = scope if isinstance(scope, list) else [scope]
    if not all(isinstance(word, str) for word in words):
        return "has a scope that is not text"
    text = " ".join(words)
    if len(text) > MAX_SCOPE_CHARACTERS or any(not " " <= each <= "~" for each in text):
        return "has a scope that cannot be one"
    return None


def _extra_problem(fields: Mapping[Any, Any]) -> str | None:
    """Unknown fields are kept, so they must be what a record can hold: JSON of a bounded size."""
    if not all(isinstance(name, str) for name in fields):
        return "has a field whose name is not text"
    extra = {name: value for name, value in fields.items() if name not in _KNOWN_FIELDS}
    try:
        text = json.dumps(extra, ensure_ascii=False, allow_nan=False, sort_keys=True)
        size = len(text.encode("utf-8"))
    except (TypeError, ValueError, RecursionError):
        return "has an unknown field that is not JSON"
    if size > MAX_EXTRA_CHARACTERS or _is_deeper(extra, MAX_EXTRA_DEPTH):
        return "has too much in unknown fields"
    return None


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list | tuple):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in parts)


def _device_problem(fields: object) -> str | None:
    if not isinstance(fields, Mapping):
        return "is not an object"
    for name in ("device_code", "user_code"):
        code = fields.get(name)
        if (
            not isinstance(code, str)
            or not 0 < len(code) <= MAX_TOKEN_CHARACTERS
            or any(not " " <= character <= "~" for character in code)
        ):
            return f"has no usable {name}"
    if len(fields["user_code"]) > MAX_USER_CODE_CHARACTERS:
        return "has no usable user_code"
    if endpoint_problem(_verification_uri(fields)) is not None:
        return "has no usable verification_uri"
    complete = fields.get("verification_uri_complete")
    if complete is not None and endpoint_problem(complete) is not None:
        return "has an unusable verification_uri_complete"
    if fields.get("expires_in") is None or not _is_absent_or_seconds(fields["expires_in"]):
        return "has no usable expires_in"
    if not _is_absent_or_seconds(fields.get("interval")):
        return "has an unusable interval"
    return None


def _verification_uri(fields: Mapping[Any, Any]) -> Any:
    # Google's name for it, from before the standard.
    return fields.get("verification_uri", fields.get("verification_url"))


def _is_absent_or_seconds(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) <= 10
    # A chained comparison with NaN is false.
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (0 <= value <= MAX_LIFETIME)
    )


def _seconds(value: Any) -> float | None:
    return None if value is None else min(float(value), MAX_LIFETIME)


def _scope(value: Any) -> str | None:
    return " ".join(value) if isinstance(value, list) else value


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "ai" else f"a {name}"
