"""The server's memory: logins, their families of tokens, and what each request does to them.

Nothing here does input or output, waits, or knows the time: callers hand in `now` and hold the
lock that makes one call atomic.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from tokenkeep.testing.authorization_server.policy import Grace, Policy, RevocationReach


class Refused(Exception):
    """The request gets an OAuth error (RFC 6749 section 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


@dataclass
class RefreshToken:
    """One refresh token of a family; `spent_at` is when rotation retired it."""

    value: str
    expires_at: float | None
    spent_at: float | None = None
    successors: list[str] = field(default_factory=list)
    access_token: str = ""


@dataclass
class AccessToken:
    """One access token of a family."""

    value: str
    scope: str
    expires_at: float
    killed: bool = False


@dataclass
class Family:
    """Everything that came from one login: RFC 9700 revokes it as one."""

    family_id: str
    client_id: str
    user: str
    scope: str
    nonce: str | None
    authenticated_at: float
    generation: int = 0
    revoked: bool = False
    refresh_tokens: dict[str, RefreshToken] = field(default_factory=dict)
    access_tokens: dict[str, AccessToken] = field(default_factory=dict)

    def kill_access_tokens(self) -> None:
        """End the access tokens, keep the login."""
        for token in self.access_tokens.values():
            token.killed = True

    def revoke(self) -> None:
        """End the login and all its tokens."""
        self.revoked = True
        self.kill_access_tokens()


@dataclass(frozen=True)
class Login:
    """Who allowed which client what: what a family is made from."""

    client_id: str
    user: str
    scope: str
    nonce: str | None = None


@dataclass(frozen=True)
class Issued:
    """What a request at the token endpoint obtained."""

    family: Family
    access_token: AccessToken
    refresh_token: str | None
    refreshed: bool


class Grants:
    """All families, and the rules of refresh, reuse, grace and revocation."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.families: list[Family] = []
        self.reuse_detected = 0
        self._by_refresh_token: dict[str, Family] = {}
        self._by_access_token: dict[str, Family] = {}

    def begin(self, login: Login, now: float) -> Issued:
        """Make a family for a login, with its first tokens."""
        family = Family(
            family_id=secrets.token_urlsafe(9),
            client_id=login.client_id,
            user=login.user,
            scope=self._allowed(login.scope),
            nonce=login.nonce,
            authenticated_at=now,
        )
        self.families.append(family)
        access_token = self._new_access_token(family, family.scope, now)
        refresh_token = None
        if not self.policy.offline_access_required or "offline_access" in family.scope.split():
            refresh_token = self._new_refresh_token(family, access_token, now)
        return Issued(family, access_token, refresh_token, refreshed=False)

    def refresh(self, client_id: str, value: str, scope: str | None, now: float) -> Issued:
        """Redeem a refresh token.

        Raises:
            Refused: `invalid_grant` (unknown, of another client, expired, revoked, spent; a spent
                one may end the family), `invalid_scope` (more than the login allowed).
        """
        family = self._by_refresh_token.get(value)
        if family is None or family.client_id != client_id:
            raise Refused("invalid_grant", "no such refresh token of this client")
        if family.revoked:
            raise Refused("invalid_grant", "the grant was revoked")
        token = family.refresh_tokens[value]
        if token.expires_at is not None and now >= token.expires_at:
            raise Refused("invalid_grant", "the refresh token expired")
        if token.spent_at is not None and not self._in_grace(family, token, now):
            self._reused(family)
            raise Refused("invalid_grant", "the refresh token was used before")
        narrowed = self._narrowed(family, scope)
        if token.spent_at is not None and self.policy.grace is Grace.IDEMPOTENT:
            return self._answered_again(family, token, narrowed, now)
        if self.policy.refresh_kills_access_tokens:
            family.kill_access_tokens()
        family.generation += 1
        access_token = self._new_access_token(family, narrowed, now)
        if not self.policy.rotation:
            repeated = value if self.policy.returns_refresh_token else None
            return Issued(family, access_token, repeated, refreshed=True)
        if token.spent_at is None:
            token.spent_at = now
        successor = self._new_refresh_token(family, access_token, now)
        token.successors.append(successor)
        return Issued(family, access_token, successor, refreshed=True)

    def revoke(self, client_id: str, value: str) -> None:
        """Revoke a token; one that nobody knows is revoked already (RFC 7009 section 2.2).

        Raises:
            Refused: The token belongs to another client.
        """
        family = self.family_of(value)
        if family is None:
            return
        if family.client_id != client_id:
            raise Refused("unauthorized_client", "the token is another client's")
        if value in family.access_tokens:
            family.access_tokens[value].killed = True
            return
        family.revoke()
        if self.policy.revocation_reach is RevocationReach.CLIENT_AND_USER:
            for other in self.families:
                if (other.client_id, other.user) == (family.client_id, family.user):
                    other.revoke()

    def family_of(self, value: str) -> Family | None:
        """The family of a refresh or access token, dead or alive."""
        return self._by_refresh_token.get(value) or self._by_access_token.get(value)

    def is_refresh_token_alive(self, value: str, now: float) -> bool:
        """True if it is unspent, unexpired and unrevoked; the grace window does not count."""
        family = self._by_refresh_token.get(value)
        if family is None or family.revoked:
            return False
        token = family.refresh_tokens[value]
        expired = token.expires_at is not None and now >= token.expires_at
        return token.spent_at is None and not expired

    def accepted(self, value: str, now: float) -> tuple[Family, AccessToken] | None:
        """What a protected resource learns of an access token; None if it is no good."""
        family = self._by_access_token.get(value)
        if family is None or family.revoked:
            return None
        token = family.access_tokens[value]
        return None if token.killed or now >= token.expires_at else (family, token)

    def _in_grace(self, family: Family, token: RefreshToken, now: float) -> bool:
        # Auth0's rule, and the safe one: once a successor was used, the client has got it, and
        # whoever still sends the older token is somebody else.
        successor_used = any(
            family.refresh_tokens[each].spent_at is not None for each in token.successors
        )
        assert token.spent_at is not None
        return not successor_used and now - token.spent_at < self.policy.grace_seconds

    def _reused(self, family: Family) -> None:
        self.reuse_detected += 1
        if self.policy.reuse_detection:
            family.revoke()

    def _answered_again(
        self, family: Family, token: RefreshToken, scope: str, now: float
    ) -> Issued:
        successor = family.refresh_tokens[token.successors[0]]
        access_token = family.access_tokens[successor.access_token]
        if access_token.killed or now >= access_token.expires_at:
            access_token = self._new_access_token(family, scope, now)
            successor.access_token = access_token.value
        return Issued(family, access_token, successor.value, refreshed=True)

    def _narrowed(self, family: Family, scope: str | None) -> str:
        if scope is None:
            return self._allowed(family.scope)
        if not set(scope.split()) <= set(family.scope.split()):
            raise Refused("invalid_scope", "the login did not allow that much")
        return self._allowed(scope)

    def _allowed(self, scope: str) -> str:
        return " ".join(each for each in scope.split() if each not in self.policy.withheld_scopes)

    def _new_access_token(self, family: Family, scope: str, now: float) -> AccessToken:
        token = AccessToken(
            value=f"at-{secrets.token_urlsafe(24)}",
            scope=scope,
            expires_at=now + self.policy.access_token_seconds,
        )
        family.access_tokens[token.value] = token
        self._by_access_token[token.value] = family
        return token

    def _new_refresh_token(self, family: Family, access: AccessToken, now: float) -> str:
        lifetime = self.policy.refresh_token_seconds
        token = RefreshToken(
            value=f"rt-{secrets.token_urlsafe(24)}",
            expires_at=None if lifetime is None else now + lifetime,
            access_token=access.value,
        )
        family.refresh_tokens[token.value] = token
        self._by_refresh_token[token.value] = family
        return token.value
