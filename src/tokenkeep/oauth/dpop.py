"""DPoP: tokens that are of use only to who has a key (RFC 9449).

A proof is a small signed statement about one request. Nothing here does input or output.
"""

from __future__ import annotations

import hashlib
import json
from urllib.parse import urlsplit, urlunsplit

from tokenkeep.crypto import SigningKey, random_bytes
from tokenkeep.oauth.requests import base64url
from tokenkeep.secret import Secret

#: The only algorithm here: RFC 9449 asks for an asymmetric one, and every server has this.
ALGORITHM = "ES256"
#: Section 8: the answer to a proof without a nonce that the server wants.
NONCE_WANTED = "use_dpop_nonce"


class DpopKey:
    """The key that a session's tokens are bound to; made at login, erased with the session.

    Attributes:
        secret: what is kept of it, 32 bytes.
    """

    __slots__ = ("_key", "_public", "secret")

    def __init__(self, secret: Secret) -> None:
        """Opens a kept key.

        Raises:
            SecretDamaged: it is none.
        """
        self.secret = secret
        self._key = SigningKey(secret)
        x, y = self._key.public()
        self._public = {"crv": "P-256", "kty": "EC", "x": base64url(x), "y": base64url(y)}

    @staticmethod
    def generate() -> DpopKey:
        """A new key."""
        return DpopKey(SigningKey.generate())

    def thumbprint(self) -> str:
        """The key's name in an authorization request, `dpop_jkt` (RFC 7638; section 10)."""
        # Members in lexicographic order, no white space: the order above.
        return base64url(hashlib.sha256(_json(self._public)).digest())

    def proof(
        self,
        method: str,
        url: str,
        *,
        at: float,
        nonce: str | None = None,
        access_token: Secret | None = None,
    ) -> str:
        """The DPoP header of one request (section 4.2); every request needs its own.

        Args:
            at: seconds since 1970.
            nonce: the server's newest one, if it gave one.
            access_token: the token that goes with the request to a resource server.
        """
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        claims: dict[str, object] = {
            "jti": base64url(random_bytes(16)),
            "htm": method.upper(),
            # Without query and fragment; and no server knows who else was named before its host.
            "htu": urlunsplit((parts.scheme, host, parts.path or "/", "", "")),
            "iat": int(at),
        }
        if access_token is not None:
            digest = hashlib.sha256(access_token.reveal_bytes()).digest()
            claims["ath"] = base64url(digest)
        if nonce is not None:
            claims["nonce"] = nonce
        header = {"typ": "dpop+jwt", "alg": ALGORITHM, "jwk": self._public}
        signed = f"{base64url(_json(header))}.{base64url(_json(claims))}"
        return f"{signed}.{base64url(self._key.sign(signed.encode('ascii')))}"

    def __repr__(self) -> str:
        return "DpopKey('**********')"


def usable_nonce(text: str | None) -> str | None:
    """A nonce that a server sent, if it can be one (section 8.1)."""
    if text is None or not 0 < len(text) <= 1024:
        return None
    return text if all("!" <= each <= "~" and each not in '"\\' for each in text) else None


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("utf-8")
