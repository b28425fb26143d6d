"""Provider: the authorization server as this application sees it. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tokenkeep.errors import UnsupportedOption
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.urls import issuer_problem
from tokenkeep.secret import Secret, as_secret

#: What the protocol itself sets in a token request; extra parameters cannot replace it.
RESERVED_IN_TOKEN_REQUESTS = frozenset(
    (
        *("client_id", "client_secret", "code", "code_verifier", "device_code", "grant_type"),
        *("redirect_uri", "refresh_token", "scope", "token", "token_type_hint"),
    )
)
#: The same for the authorization request; another `response_mode` would not reach the loopback.
RESERVED_IN_AUTHORIZATION = frozenset(
    (
        *("client_id", "client_secret", "code_challenge", "code_challenge_method", "nonce"),
        *("redirect_uri", "request", "request_uri", "response_mode", "response_type"),
        *("dpop_jkt", "scope", "state"),
    )
)
#: The longest window during which a provider is believed to take a refresh token twice: Auth0
#: allows 30 days.
MAX_REPLAY_WINDOW = 30 * 86400.0
_AS_REGISTERED = "give it as it is registered at the provider"
_PARAMETERS = 'give names and values as text, such as {"resource": "https://api.example"}'


class Provider:
    """The issuer, this application's client there, and what is known of the provider's policy.

    Args:
        issuer: exactly as the provider spells it; https, or http on this machine.
        client_secret: None for a public client, as an installed application is.
        redirect_path: the path of the loopback redirect that was registered.
        replay_window: seconds during which the provider takes the same refresh token again
            (grace period, leeway, reuse interval); 0 if it does not, or if unknown.
        metadata: the provider's endpoints, where they are not discovered.
        token_parameters: extra parameters of every token request, such as `resource`.
        authorization_parameters: extra parameters of the authorization request, such as `prompt`.
        timeout: seconds for one request, all in all.
        dpop: bind tokens to a key that is made at login (RFC 9449); a provider that answers with
            bearer tokens is refused.

    Raises:
        UnsupportedOption: one of them cannot be; the message names it and not its value.
    """

    __slots__ = (
        "authorization_parameters",
        "client_id",
        "client_secret",
        "dpop",
        "issuer",
        "metadata",
        "redirect_path",
        "replay_window",
        "timeout",
        "token_parameters",
    )

    issuer: str
    client_id: str
    client_secret: Secret | None
    redirect_path: str
    replay_window: float
    metadata: Metadata | None
    token_parameters: Mapping[str, str]
    authorization_parameters: Mapping[str, str]
    timeout: float
    dpop: bool

    def __init__(
        self,
        issuer: str,
        *,
        client_id: str,
        client_secret: Secret | str | None = None,
        redirect_path: str = "/callback",
        replay_window: float = 0.0,
        metadata: Metadata | None = None,
        token_parameters: Mapping[str, str] | None = None,
        authorization_parameters: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        dpop: bool = False,
    ) -> None:
        put = object.__setattr__
        put(self, "issuer", issuer)  # first: a traceback with locals calls repr on what there is
        put(self, "client_id", client_id)
        try:
            client_secret = None if client_secret is None else as_secret(client_secret)
        except (TypeError, ValueError):
            del client_secret  # this frame is in the traceback
            raise
        problem = issuer_problem(issuer)
        if problem is not None:
            raise UnsupportedOption(
                f"the issuer {problem}",
                hint="give the issuer as the provider spells it, such as https://issuer.example",
            )
        if not _is_printable(client_id):
            raise UnsupportedOption(
                "the client id must be printable ASCII text, not empty", hint=_AS_REGISTERED
            )
        if client_secret is not None and not _is_printable_secret(client_secret):
            raise UnsupportedOption(
                "the client secret must be printable ASCII text, not empty", hint=_AS_REGISTERED
            )
        if not _is_path(redirect_path):
            raise UnsupportedOption(
                "the redirect path must be a path such as /callback", hint=_AS_REGISTERED
            )
        if not _is_number(replay_window) or not 0 <= replay_window <= MAX_REPLAY_WINDOW:
            raise UnsupportedOption(
                "the replay window must be seconds between 0 and 30 days",
                hint="give what the provider documents, or nothing",
            )
        if not _is_number(timeout) or not 0 < timeout <= 600:
            raise UnsupportedOption(
                "the timeout must be seconds between 0 and 600", hint="timeout=10"
            )
        if metadata is not None and metadata.issuer != issuer:
            raise UnsupportedOption(
                "the given metadata belongs to another issuer",
                hint="give the provider's own, or none to discover it",
            )
        put(self, "client_secret", client_secret)
        put(self, "redirect_path", redirect_path)
        put(self, "replay_window", float(replay_window))
        put(self, "metadata", metadata)
        put(
            self,
            "token_parameters",
            _checked_parameters(token_parameters, RESERVED_IN_TOKEN_REQUESTS, "token"),
        )
        put(
            self,
            "authorization_parameters",
            checked_authorization_parameters(authorization_parameters),
        )
        put(self, "timeout", float(timeout))
        put(self, "dpop", bool(dpop))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Provider cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Provider cannot be changed")

    def __repr__(self) -> str:
        # The parameters are left out: applications put keys of their own there.
        return f"Provider({self.issuer!r}, client_id={self.client_id!r})"


def checked_authorization_parameters(parameters: Mapping[str, str] | None) -> Mapping[str, str]:
    """The extra parameters, copied and read-only, if the authorization request can have them.

    Raises:
        UnsupportedOption: one of them is the protocol's own, or not text.
    """
    return _checked_parameters(parameters, RESERVED_IN_AUTHORIZATION, "authorization")


def _checked_parameters(
    parameters: Mapping[str, str] | None, reserved: frozenset[str], what: str
) -> Mapping[str, str]:
    copied = dict(parameters or {})
    for name, value in copied.items():
        if not _is_printable(name):
            raise UnsupportedOption(
                f"an extra {what} parameter has no usable name", hint=_PARAMETERS
            )
        if name in reserved:
            raise UnsupportedOption(
                f"the {what} parameter {name!r} cannot be replaced", hint="leave it out"
            )
        if not _is_encodable(value):
            raise UnsupportedOption(f"the {what} parameter {name!r} must be text", hint=_PARAMETERS)
    return MappingProxyType(copied)


def _is_printable(text: object) -> bool:
    return (
        isinstance(text, str) and text != "" and all(" " <= character <= "~" for character in text)
    )


def _is_printable_secret(secret: Secret) -> bool:
    return secret.size > 0 and all(0x20 <= byte <= 0x7E for byte in secret.reveal_bytes())


def _is_encodable(text: object) -> bool:
    return isinstance(text, str) and not any("\ud800" <= each <= "\udfff" for each in text)


def _is_number(value: object) -> bool:
    # Comparisons with NaN are false, so the ranges above keep it out.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_path(path: object) -> bool:
    return (
        isinstance(path, str)
        and path.startswith("/")
        and len(path) <= 256
        and all("!" <= character <= "~" and character not in '?#%\\"<>' for character in path)
    )
