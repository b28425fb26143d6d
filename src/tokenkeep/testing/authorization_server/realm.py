"""What the endpoints share: the grants under one lock, the clock, the signer, the issuer.

Invariant: everything that a request reads or changes in the grants happens in one holding of
`lock`, and nothing waits, signs or sends while holding it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from tokenkeep.testing.authorization_server.grants import Grants, Issued
from tokenkeep.testing.authorization_server.pending import Codes, DeviceLogins
from tokenkeep.testing.authorization_server.policy import Policy
from tokenkeep.testing.authorization_server.signing import Signer
from tokenkeep.testing.authorization_server.wire import Request


class Realm:
    """The state of one authorization server."""

    def __init__(self, issuer: str, policy: Policy, clock: Callable[[], float]) -> None:
        self.issuer = issuer
        self.lock = threading.Lock()
        self.grants = Grants(policy)
        self.codes = Codes()
        self.devices = DeviceLogins()
        self.signer = Signer()
        self.clock = clock
        self.advanced_seconds = 0.0

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.grants.policy

    def now(self) -> float:
        """The server's time in seconds since the epoch."""
        return self.clock() + self.advanced_seconds

    def token_answer(self, issued: Issued, request: Request | None = None) -> dict[str, object]:
        """The document of a successful token request (RFC 6749 section 5.1)."""
        policy = self.policy
        document: dict[str, object] = {
            "access_token": issued.access_token.value,
            "token_type": policy.token_type,
        }
        if not policy.omit_expires_in:
            remaining = issued.access_token.expires_at - self.now()
            document["expires_in"] = max(0, round(remaining))
        if issued.refresh_token is not None:
            document["refresh_token"] = issued.refresh_token
        if policy.states_scope:
            document["scope"] = issued.access_token.scope
        if self._wants_id_token(issued):
            document["id_token"] = self._id_token(issued, request)
        return {**policy.extra_fields, **document}

    def _wants_id_token(self, issued: Issued) -> bool:
        if "openid" not in issued.family.scope.split():
            return False
        return self.policy.id_token_on_refresh or not issued.refreshed

    def _id_token(self, issued: Issued, request: Request | None) -> str:
        family, now = issued.family, int(self.now())
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": family.user,
            "aud": family.client_id,
            "iat": now,
            "exp": now + int(self.policy.id_token_seconds),
            "auth_time": int(family.authenticated_at),
        }
        # OpenID Connect Core section 12.2: an ID token from a refresh should not carry the nonce.
        if family.nonce is not None and not issued.refreshed:
            claims["nonce"] = family.nonce
        if request is None:
            return self.signer.sign(claims)
        _override(claims, request.id_token_claims)
        return self.signer.sign(claims, forged=request.forge_id_token)


def _override(claims: dict[str, object], changes: Mapping[str, object]) -> None:
    for name, value in changes.items():
        if value is None:
            claims.pop(name, None)
        else:
            claims[name] = value
