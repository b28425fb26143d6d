"""ID tokens: signature through joserfc, claims by OpenID Connect Core 1.0, 3.1.3.7 and 12.2.

Nothing here does input or output: keys are parameters. No function here raises while it holds a
token in clear: problems are returned and raised by the caller.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenkeep.errors import MissingExtra
from tokenkeep.secret import Secret

#: Seconds by which two honest clocks may differ.
LEEWAY = 60.0
#: Signatures that anybody can check and only the provider can make.
ASYMMETRIC = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
#: With the client's own secret as the key: for confidential clients only.
SYMMETRIC = ("HS256", "HS384", "HS512")
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP", "HS": "oct"}
#: OpenID Connect Core, section 2: "MUST NOT exceed 255 ASCII characters in length".
MAX_SUBJECT_CHARACTERS = 255
#: joserfc's own limit is too small for a chain of certificates (`x5c`).
MAX_HEADER_BYTES = 16384
#: More keys than any provider rotates through.
MAX_KEYS = 64
NO_KEY_FITS = "has a signature that no key of the provider fits"


@dataclass(frozen=True, slots=True)
class Claims:
    """Who logged in, says the provider; the person's own data stays out of the repr."""

    issuer: str
    subject: str = field(repr=False)
    audience: tuple[str, ...]
    issued_at: float
    expires_at: float
    nonce: str | None = field(repr=False)
    auth_time: float | None
    raw: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Header:
    """The part of a token that says how it is signed."""

    algorithm: str
    key_id: str | None


def read_header(token: Secret) -> Header | None:
    """How the token is signed; None if it is not a signed JWT."""
    fields = _part(token, 0)
    if fields is None:
        return None
    algorithm, key_id = fields.get("alg"), fields.get("kid")
    if not isinstance(algorithm, str) or not (key_id is None or isinstance(key_id, str)):
        return None
    # RFC 7515, section 4.1.11: extensions that must be understood; none is.
    return None if "crit" in fields else Header(algorithm, key_id)


def read_claims(token: Secret) -> Claims | str:
    """The claims without looking at the signature, or what is wrong with them."""
    fields = _part(token, 1)
    return "is not a JWT" if fields is None else claims_of(fields)


def allowed_algorithms(listed: Sequence[str], *, is_confidential: bool) -> tuple[str, ...]:
    """The signatures to accept; without a list RS256 (Core, section 3.1.3.7, point 7)."""
    possible = (*ASYMMETRIC, *SYMMETRIC) if is_confidential else ASYMMETRIC
    return tuple(name for name in possible if name in (listed or ("RS256",)))


def matching_keys(key_set: object, header: Header) -> list[dict[str, Any]]:
    """The keys of a decoded JWKS that may have signed a token with this header."""
    keys = key_set.get("keys") if isinstance(key_set, Mapping) else None
    if not isinstance(keys, list):
        return []
    kind = _KEY_TYPES.get(header.algorithm[:2])
    return [
        key
        for key in keys[:MAX_KEYS]
        if isinstance(key, dict)
        and key.get("kty") == kind
        and key.get("use", "sig") == "sig"
        and key.get("alg", header.algorithm) == header.algorithm
        and (header.key_id is None or key.get("kid", header.key_id) == header.key_id)
    ]


def preload() -> None:
    """Loads what checking a token imports, unless joserfc is not installed; for event loops."""
    try:
        from joserfc import jwk, jwt  # noqa: F401
    except ImportError:
        pass


def verified_claims(token: Secret, keys: Sequence[dict[str, Any]], algorithm: str) -> Claims | str:
    """The claims of a token that one of the keys signed, or what is wrong.

    Raises:
        MissingExtra: joserfc is not installed.
    """
    try:
        from joserfc import jwk, jwt
        from joserfc.jws import JWSRegistry
    except ImportError:
        raise MissingExtra("checking an ID token needs joserfc", extra="oauth") from None

    class OneAlgorithm(JWSRegistry):
        """Knows one algorithm, which was chosen: no warning that EdDSA has a newer name."""

        max_header_length = MAX_HEADER_BYTES

        def get_alg(self, name: str) -> Any:
            if name != algorithm:
                raise ValueError("another algorithm")
            return self.algorithms[name]

    # Not strict: providers put fields of their own into the header; `crit` was looked at.
    registry = OneAlgorithm(algorithms=[algorithm], strict_check_header=False)
    for key in keys:
        try:
            decoded = jwt.decode(token.reveal(), jwk.import_key(key), registry=registry)
        except Exception:  # noqa: S112 - joserfc lets ValueError, TypeError and others through
            continue
        return claims_of(decoded.claims)
    return NO_KEY_FITS


def symmetric_key(client_secret: Secret) -> dict[str, Any]:
    """The client's secret as a key for HS256 and its like (Core, section 10.1)."""
    encoded = base64.urlsafe_b64encode(client_secret.reveal_bytes()).rstrip(b"=")
    return {"kty": "oct", "k": encoded.decode("ascii")}


def claims_of(fields: Mapping[str, Any]) -> Claims | str:
    """The claims with their types checked, or what is wrong."""
    issuer, subject, audience = fields.get("iss"), fields.get("sub"), fields.get("aud")
    audience = [audience] if isinstance(audience, str) else audience
    if not isinstance(issuer, str):
        return "names no issuer"
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS:
        return "names no usable subject"
    if not subject.isprintable():
        return "names no usable subject"
    if not isinstance(audience, list) or not all(isinstance(each, str) for each in audience):
        return "names no audience"
    if not _is_time(fields.get("exp")) or not _is_time(fields.get("iat")):
        return "has no usable time"
    if fields.get("auth_time") is not None and not _is_time(fields["auth_time"]):
        return "has no usable time of authentication"
    nonce = fields.get("nonce")
    if nonce is not None and not isinstance(nonce, str):
        return "has a nonce that is not text"
    return Claims(
        issuer,
        subject,
        tuple(audience),
        float(fields["iat"]),
        float(fields["exp"]),
        nonce,
        None if fields.get("auth_time") is None else float(fields["auth_time"]),
        dict(fields),
    )


def party_problem(claims: Claims, *, issuer: str, client_id: str) -> str | None:
    """What is wrong with who issued the token and for whom; None if nothing is."""
    if claims.issuer != issuer:
        return "belongs to another issuer"
    if client_id not in claims.audience:
        return "was issued for another client"
    authorized = claims.raw.get("azp")
    if authorized is not None and authorized != client_id:
        return "was issued for another client"
    if authorized is None and len(claims.audience) > 1:
        return "was issued for several clients without saying which asked"
    return None


def time_problem(claims: Claims, *, now: float, max_age: float | None) -> str | None:
    """What is wrong with the token's times; None if nothing is."""
    if claims.expires_at <= now - LEEWAY:
        return "has expired"
    if claims.issued_at > now + LEEWAY:
        return "was issued in the future"
    if max_age is not None:
        if claims.auth_time is None:
            return "does not say when the person logged in"
        if now - claims.auth_time > max_age + LEEWAY:
            return "says that the person logged in too long ago"
    return None


def nonce_problem(claims: Claims, nonce: str | Secret) -> str | None:
    """What is wrong with the nonce; None if it is the one that was sent."""
    expected = nonce.reveal() if isinstance(nonce, Secret) else nonce
    given = claims.nonce
    if given is None or not hmac.compare_digest(given.encode(), expected.encode()):
        return "does not answer this login (its nonce is another)"
    return None


def access_token_problem(claims: Claims, access_token: Secret, algorithm: str) -> str | None:
    """What is wrong with `at_hash` (Core, section 3.1.3.8); None if it fits or is absent."""
    given = claims.raw.get("at_hash")
    if given is None:
        return None
    digest_name = {"256": "sha256", "384": "sha384", "512": "sha512"}.get(algorithm[-3:])
    # For EdDSA no digest is standardised with certainty: its curve decides, in drafts only.
    if digest_name is None:
        return None
    digest = hashlib.new(digest_name, access_token.reveal_bytes()).digest()
    expected = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), expected):
        return "does not belong to the access token it came with"
    return None


def _part(token: Secret, index: int) -> dict[str, Any] | None:
    parts = token.reveal_bytes().split(b".")
    if len(parts) != 3:
        return None
    part = parts[index]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _is_time(value: object) -> bool:
    # Until the year 9999; NaN compares as false.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2.6e11
