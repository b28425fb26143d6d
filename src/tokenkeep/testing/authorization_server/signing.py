"""The server's signing key and its ID tokens, made when the first one is needed.

The only user of `joserfc` here: a server that nobody asks for an ID token runs without it.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

ALGORITHM = "ES256"


class Signer:
    """Signs with one P-256 key; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: ECKey | None = None

    def sign(self, claims: Mapping[str, object], *, forged: bool = False) -> str:
        """A compact JWT; a forged one names the published key but is signed by another."""
        from joserfc import jwt

        key = self._published_key()
        signing_key = _new_key() if forged else key
        return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, dict(claims), signing_key)

    def key_set(self) -> dict[str, Any]:
        """The public half, as served from `jwks_uri`."""
        return {"keys": [self._published_key().as_dict(private=False)]}

    def _published_key(self) -> ECKey:
        with self._lock:
            if self._key is None:
                self._key = _new_key()
            return self._key


def _new_key() -> ECKey:
    try:
        from joserfc.jwk import ECKey
    except ImportError as exc:
        raise ImportError(
            "an ID token needs joserfc: pip install 'tokenkeep[oauth]', "
            "or log in without the scope openid"
        ) from exc
    parameters = {"kid": secrets.token_hex(8), "use": "sig", "alg": ALGORITHM}
    return ECKey.generate_key("P-256", parameters=parameters)  # type: ignore[arg-type]
