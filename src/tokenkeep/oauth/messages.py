"""The protocol's messages as values: requests are built here, token responses are read here.

Nothing here does input or output: no network, no clock, no randomness of its own.
Sources: RFC 6749, 7009, 7636, 8628, 9207; OpenID Connect Core 1.0 and RP-Initiated Logout 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from tokenkeep.errors import ProtocolViolation, ProviderRefused
from tokenkeep.oauth.urls import endpoint_problem
from tokenkeep.oauth.wire import HttpRequest, Pairs, form_encoded
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from tokenkeep.oauth.metadata import Metadata
    from tokenkeep.oauth.provider import Provider

#: What a stored value may have at most by default (64 KiB); a longer token could not be kept.
MAX_TOKEN_CHARACTERS = 65536
MAX_SCOPE_CHARACTERS = 8192
MAX_EXTRA_CHARACTERS = 65536
#: A century. Some providers say 2**31 - 1 for tokens that do not expire.
MAX_LIFETIME = 100 * 366 * 86400.0
#: RFC 8628, section 3.2: "If no value is provided, clients MUST use 5 as the default."
DEFAULT_POLL_INTERVAL = 5.0
MAX_POLL_INTERVAL = 300.0
MAX_USER_CODE_CHARACTERS = 64
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


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


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A login on its way: where to send the person, and what the answer is checked against."""

    url: Secret
    state: Secret
    verifier: Secret
    nonce: Secret | None
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person needs to approve a login on another device."""

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
            token cannot have, or the token is not a bearer token. No value is repeated.
    """
    problem = _token_response_problem(fields)
    if problem is not None or not isinstance(fields, Mapping):
        del fields
        raise ProtocolViolation(f"the token response {problem}")
    refresh_token, id_token = fields.get("refresh_token"), fields.get("id_token")
    return TokenResponse(
        access_token=Secret(fields["access_token"]),
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        expires_in=_seconds(fields.get("expires_in")),
        scope=_scope(fields.get("scope")),
        id_token=None if id_token is None else Secret(id_token),
        token_type="Bearer",
        extra={name: value for name, value in fields.items() if name not in _KNOWN_FIELDS},
    )


def begin_authorization(
    provider: Provider,
    metadata: Metadata,
    *,
    redirect_uri: str,
    scope: Sequence[str],
    random: Callable[[int], bytes],
    extra: Mapping[str, str] | None = None,
) -> AuthorizationRequest:
    """An authorization code request with PKCE S256, a state, and a nonce for OpenID Connect.

    `prompt=consent` goes with `offline_access` unless another prompt is given: OpenID Connect
    Core, section 11, lets a provider ignore the scope without it.

    Raises:
        ProviderRefused: the provider has no authorization endpoint, or not S256.
    """
    if metadata.authorization_endpoint is None:
        raise ProviderRefused("the provider has no authorization endpoint")
    if metadata.code_challenge_methods and "S256" not in metadata.code_challenge_methods:
        raise ProviderRefused("the provider does not support PKCE with S256")
    # 32 bytes give the 43 characters that RFC 7636, section 4.1, recommends.
    verifier, state = Secret(base64url(random(32))), Secret(base64url(random(32)))
    nonce = Secret(base64url(random(32))) if "openid" in scope else None
    parameters: dict[str, str | Secret] = {}
    if "offline_access" in scope:
        parameters["prompt"] = "consent"
    parameters.update(provider.authorization_parameters)
    parameters.update(extra or {})
    parameters.update(
        response_type="code",
        client_id=provider.client_id,
        redirect_uri=redirect_uri,
        state=state,
        code_challenge=_challenge(verifier),
        code_challenge_method="S256",
    )
    if scope:
        parameters["scope"] = " ".join(scope)
    if nonce is not None:
        parameters["nonce"] = nonce
    # An empty value is how an application takes a parameter away.
    pairs = tuple((name, value) for name, value in parameters.items() if value != "")
    url = Secret(_with_query(metadata.authorization_endpoint, pairs))
    return AuthorizationRequest(url, state, verifier, nonce, redirect_uri)


def code_request(
    provider: Provider, metadata: Metadata, *, code: Secret, verifier: Secret, redirect_uri: str
) -> HttpRequest:
    """The exchange of an authorization code for tokens."""
    return _token_request(
        provider,
        metadata,
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", verifier),
    )


def refresh_request(
    provider: Provider, metadata: Metadata, *, refresh_token: Secret, scope: str | None
) -> HttpRequest:
    """The redemption of a refresh token; no scope asks for what was granted."""
    narrowed: Pairs = (("scope", scope),) if scope else ()
    return _token_request(
        provider,
        metadata,
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        *narrowed,
    )


def device_request(provider: Provider, metadata: Metadata, *, scope: Sequence[str]) -> HttpRequest:
    """The start of a device login (RFC 8628, section 3.1).

    Raises:
        ProviderRefused: the provider has no device authorization endpoint.
    """
    if metadata.device_authorization_endpoint is None:
        raise ProviderRefused(
            "the provider has no device authorization endpoint", hint="log in with a browser"
        )
    wanted: Pairs = (("scope", " ".join(scope)),) if scope else ()
    return _client_request(
        provider, metadata, metadata.device_authorization_endpoint, (*wanted, *_extra(provider))
    )


def device_token_request(
    provider: Provider, metadata: Metadata, *, device_code: Secret
) -> HttpRequest:
    """One poll of a device login (RFC 8628, section 3.4)."""
    return _token_request(
        provider, metadata, ("grant_type", DEVICE_GRANT), ("device_code", device_code)
    )


def revoke_request(
    provider: Provider, metadata: Metadata, *, endpoint: str, token: Secret, hint: str
) -> HttpRequest:
    """The revocation of a token (RFC 7009); hint: "refresh_token" or "access_token"."""
    return _client_request(
        provider, metadata, endpoint, (("token", token), ("token_type_hint", hint))
    )


def logout_url(
    provider: Provider,
    metadata: Metadata,
    *,
    id_token_hint: Secret | None = None,
    post_logout_redirect_uri: str | None = None,
    state: str | None = None,
) -> str:
    """Where a person ends the provider's own session (RP-Initiated Logout 1.0).

    It holds the ID token if one is given: open it, do not log it.

    Raises:
        ProviderRefused: the provider has no end session endpoint.
    """
    if metadata.end_session_endpoint is None:
        raise ProviderRefused("the provider has no end session endpoint")
    pairs: list[tuple[str, str | Secret]] = [("client_id", provider.client_id)]
    if id_token_hint is not None:
        pairs.append(("id_token_hint", id_token_hint))
    if post_logout_redirect_uri is not None:
        pairs.append(("post_logout_redirect_uri", post_logout_redirect_uri))
    if state is not None:
        pairs.append(("state", state))
    return _with_query(metadata.end_session_endpoint, tuple(pairs))


def parse_device_authorization(fields: object) -> DeviceAuthorization:
    """The answer to `device_request` (RFC 8628, section 3.2).

    Raises:
        ProtocolViolation: a field is missing or wrong. No value is repeated.
    """
    problem = _device_problem(fields)
    if problem is not None or not isinstance(fields, Mapping):
        del fields
        raise ProtocolViolation(f"the device authorization response {problem}")
    interval = _seconds(fields.get("interval"))
    return DeviceAuthorization(
        Secret(fields["device_code"]),
        DeviceCode(
            user_code=fields["user_code"],
            verification_uri=_verification_uri(fields),
            verification_uri_complete=fields.get("verification_uri_complete"),
            expires_in=_seconds(fields["expires_in"]) or 0.0,
        ),
        DEFAULT_POLL_INTERVAL if interval is None else min(interval, MAX_POLL_INTERVAL),
    )


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


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
    if token_type.lower() != "bearer":
        return "holds a token that is not a bearer token"
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
        size = len(json.dumps(extra, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    except (TypeError, ValueError, RecursionError):
        return "has an unknown field that is not JSON"
    return None if size <= MAX_EXTRA_CHARACTERS else "has too much in unknown fields"


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


def _challenge(verifier: Secret) -> str:
    return base64url(hashlib.sha256(verifier.reveal_bytes()).digest())


def _with_query(endpoint: str, pairs: Pairs) -> str:
    # RFC 6749, section 3.1: a query that the endpoint has is retained.
    joint = "&" if "?" in endpoint else "?"
    return f"{endpoint}{joint}{form_encoded(pairs).decode('ascii')}"


def _extra(provider: Provider) -> Pairs:
    return tuple(provider.token_parameters.items())


def _token_request(
    provider: Provider, metadata: Metadata, *pairs: tuple[str, str | Secret]
) -> HttpRequest:
    return _client_request(provider, metadata, metadata.token_endpoint, (*pairs, *_extra(provider)))


def _client_request(
    provider: Provider, metadata: Metadata, endpoint: str, form: Pairs
) -> HttpRequest:
    """A form for an endpoint, with the client's authentication (RFC 6749, section 2.3)."""
    headers: Pairs = (("accept", "application/json"),)
    secret = provider.client_secret
    if secret is None:
        form = (*form, ("client_id", provider.client_id))
    elif _prefers_post(metadata.token_endpoint_auth_methods):
        form = (*form, ("client_id", provider.client_id), ("client_secret", secret))
    else:
        headers = (*headers, ("authorization", _basic(provider.client_id, secret)))
    return HttpRequest("POST", endpoint, headers, form)


def _prefers_post(methods: tuple[str, ...]) -> bool:
    # Without a list the default is client_secret_basic (RFC 8414, section 2).
    return "client_secret_post" in methods and "client_secret_basic" not in methods


def _basic(client_id: str, secret: Secret) -> Secret:
    return Secret(
        b"Basic "
        + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}".encode("ascii"))
    )
