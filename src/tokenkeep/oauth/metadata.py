"""Metadata: what a provider says about itself (RFC 8414, OpenID Connect Discovery 1.0).

Nothing here does input or output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from tokenkeep.errors import ProtocolViolation, UnsupportedOption
from tokenkeep.oauth.remedies import CHECK_THE_ISSUER
from tokenkeep.oauth.urls import endpoint_problem, issuer_problem

_ENDPOINTS = (
    "token_endpoint",
    "authorization_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
    "end_session_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
)
#: field -> its name in the document.
_LISTS = {
    "token_endpoint_auth_methods": "token_endpoint_auth_methods_supported",
    "id_token_signing_algs": "id_token_signing_alg_values_supported",
    "code_challenge_methods": "code_challenge_methods_supported",
    "dpop_signing_algs": "dpop_signing_alg_values_supported",
}
#: Our own note in the document that a record keeps; a provider's word on it is not read.
_DISCOVERED_AT = "tokenkeep_discovered_at"
_SAFE = "give an address such as https://issuer.example/token"
#: Far above what any provider lists; a bound on what the session record may be made to hold.
MAX_LIST_ENTRIES = 64
MAX_ENTRY_CHARACTERS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The endpoints and abilities of one issuer.

    Raises:
        UnsupportedOption: an endpoint is neither https nor on this machine.
    """

    issuer: str
    token_endpoint: str
    authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    end_session_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    jwks_uri: str | None = None
    #: RFC 9207: the authorization response always names the issuer.
    iss_in_response: bool = False
    #: Empty where the provider does not say.
    token_endpoint_auth_methods: tuple[str, ...] = ()
    id_token_signing_algs: tuple[str, ...] = ()
    code_challenge_methods: tuple[str, ...] = ()
    dpop_signing_algs: tuple[str, ...] = ()
    #: When it was discovered, in seconds since 1970; None if the application gave it.
    discovered_at: float | None = None

    def __post_init__(self) -> None:
        problem = issuer_problem(self.issuer)
        if problem is not None:
            raise UnsupportedOption(f"the issuer {problem}", hint=_SAFE)
        for name in _ENDPOINTS:
            url = getattr(self, name)
            if url is not None or name == "token_endpoint":
                problem = endpoint_problem(url)
                if problem is not None:
                    raise UnsupportedOption(f"the {_spoken(name)} {problem}", hint=_SAFE)

    def to_json(self) -> str:
        """The document that `from_json` reads, in the standard's own names where it has them."""
        document: dict[str, object] = {"issuer": self.issuer}
        for name in _ENDPOINTS:
            if getattr(self, name) is not None:
                document[name] = getattr(self, name)
        for name, in_document in _LISTS.items():
            if getattr(self, name):
                document[in_document] = list(getattr(self, name))
        if self.iss_in_response:
            document["authorization_response_iss_parameter_supported"] = True
        if self.discovered_at is not None:
            document[_DISCOVERED_AT] = self.discovered_at
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """The metadata as `to_json` wrote it.

        Raises:
            ProtocolViolation: it is damaged, or not metadata.
        """
        document: object = None
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            pass  # reported below, as any other wrong document
        issuer = document.get("issuer") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(issuer, str):
            raise _wrong("names no issuer")
        at = document.get(_DISCOVERED_AT)
        if not (at is None or isinstance(at, int | float)):
            raise _wrong("is malformed")
        return parse_metadata(document, issuer, discovered_at=at)


def parse_metadata(
    document: object, issuer: str, *, discovered_at: float | None = None
) -> Metadata:
    """The metadata in a decoded document.

    Args:
        discovered_at: when it was fetched; see `Metadata`.

    Raises:
        ProtocolViolation: not an object, of another issuer (compared exactly: RFC 8414, section
            3.3), without a token endpoint, or with an endpoint that is neither https nor local.
    """
    if not isinstance(document, Mapping):
        raise _wrong("is not a JSON object")
    if document.get("issuer") != issuer:
        raise ProtocolViolation(
            "the provider's metadata belongs to another issuer", hint=_issuer_hint(document)
        )
    problem = issuer_problem(issuer)
    if problem is not None:
        raise ProtocolViolation(f"the provider's issuer {problem}", hint=CHECK_THE_ISSUER)
    values: dict[str, str | None] = {}
    for name in _ENDPOINTS:
        url = document.get(name)
        if url is None:
            continue
        problem = endpoint_problem(url)
        if problem is not None:
            raise ProtocolViolation(
                f"the provider's {_spoken(name)} {problem}", hint=CHECK_THE_ISSUER
            )
        values[name] = url
    token_endpoint = values.pop("token_endpoint", None)
    if token_endpoint is None:
        raise _wrong("names no token endpoint")
    iss_in_response = document.get("authorization_response_iss_parameter_supported", False)
    if not isinstance(iss_in_response, bool):
        raise _wrong("is malformed")
    lists = {name: _words(document.get(in_document)) for name, in_document in _LISTS.items()}
    return Metadata(
        issuer=issuer,
        token_endpoint=token_endpoint,
        iss_in_response=iss_in_response,
        authorization_endpoint=values.get("authorization_endpoint"),
        revocation_endpoint=values.get("revocation_endpoint"),
        device_authorization_endpoint=values.get("device_authorization_endpoint"),
        end_session_endpoint=values.get("end_session_endpoint"),
        userinfo_endpoint=values.get("userinfo_endpoint"),
        jwks_uri=values.get("jwks_uri"),
        discovered_at=discovered_at,
        **lists,
    )


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Where an issuer's metadata may lie: OpenID Connect's place, then RFC 8414's."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    openid = f"{path}/.well-known/openid-configuration"
    oauth = f"/.well-known/oauth-authorization-server{path}"
    return (
        urlunsplit((parts.scheme, parts.netloc, openid, "", "")),
        urlunsplit((parts.scheme, parts.netloc, oauth, "", "")),
    )


def _words(listed: object) -> tuple[str, ...]:
    if listed is None:
        return ()
    if not isinstance(listed, list) or len(listed) > MAX_LIST_ENTRIES:
        raise _wrong("is malformed")
    for word in listed:
        if (
            not isinstance(word, str)
            or len(word) > MAX_ENTRY_CHARACTERS
            or not all("!" <= character <= "~" for character in word)
        ):
            raise _wrong("is malformed")
    return tuple(listed)


def _wrong(problem: str) -> ProtocolViolation:
    return ProtocolViolation(f"the provider's metadata {problem}", hint=CHECK_THE_ISSUER)


def _issuer_hint(document: Mapping[object, object]) -> str:
    # The other spelling is shown only if it is a clean URL: it comes from outside.
    other = document.get("issuer")
    if issuer_problem(other) is None and len(str(other)) <= 200:
        return f"if it is the right provider, it calls itself {other}"
    return CHECK_THE_ISSUER


def _spoken(name: str) -> str:
    return "JWKS address" if name == "jwks_uri" else name.replace("_", " ")
