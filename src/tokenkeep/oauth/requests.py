"""The requests to a provider as values.

Nothing here does input or output: no network, no clock, no randomness of its own.
Sources: RFC 6749, 7009, 7636, 8628; OpenID Connect Core 1.0 and RP-Initiated Logout 1.0.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from tokenkeep.errors import ProviderRefused
from tokenkeep.oauth import remedies
from tokenkeep.oauth.wire import HttpRequest, Pairs, form_encoded
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from tokenkeep.oauth.metadata import Metadata
    from tokenkeep.oauth.provider import Provider

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A login on its way: where to send the person, and what the answer is checked against."""

    url: Secret
    state: Secret
    verifier: Secret
    nonce: Secret | None
    redirect_uri: str


def begin_authorization(
    provider: Provider,
    metadata: Metadata,
    *,
    redirect_uri: str,
    scope: Sequence[str],
    random: Callable[[int], bytes],
    extra: Mapping[str, str] | None = None,
    dpop_jkt: str | None = None,
) -> AuthorizationRequest:
    """An authorization code request with PKCE S256, a state, and a nonce for OpenID Connect.

    `prompt=consent` goes with `offline_access` unless another prompt is given: OpenID Connect
    Core, section 11, lets a provider ignore the scope without it.

    Args:
        dpop_jkt: the thumbprint of the key that code and tokens are bound to (RFC 9449).

    Raises:
        ProviderRefused: the provider has no authorization endpoint, or not S256.
    """
    if metadata.authorization_endpoint is None:
        raise ProviderRefused(
            "the provider has no authorization endpoint", hint=remedies.WITH_A_DEVICE_CODE
        )
    if metadata.code_challenge_methods and "S256" not in metadata.code_challenge_methods:
        raise ProviderRefused(
            "the provider does not support PKCE with S256", hint=remedies.WITH_A_DEVICE_CODE
        )
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
    if dpop_jkt is not None:
        parameters["dpop_jkt"] = dpop_jkt
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
        raise ProviderRefused(
            "the provider has no end session endpoint", hint="session.logout() ends the session"
        )
    pairs: list[tuple[str, str | Secret]] = [("client_id", provider.client_id)]
    if id_token_hint is not None:
        pairs.append(("id_token_hint", id_token_hint))
    if post_logout_redirect_uri is not None:
        pairs.append(("post_logout_redirect_uri", post_logout_redirect_uri))
    if state is not None:
        pairs.append(("state", state))
    return _with_query(metadata.end_session_endpoint, tuple(pairs))


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


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
