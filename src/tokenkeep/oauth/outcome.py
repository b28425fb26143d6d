"""What became of a request to the token endpoint: the six ways that call for different deeds.

Reasons are for people; none holds a secret or anything of a body. Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenkeep.oauth.messages import TokenResponse


@dataclass(frozen=True, slots=True)
class Answered:
    """Tokens were issued; `server_time` is the answer's Date in seconds since 1970."""

    response: TokenResponse
    server_time: float | None


@dataclass(frozen=True, slots=True)
class Unsent:
    """It never left this machine (DNS, connect, TLS): the refresh token is unspent."""

    reason: str


@dataclass(frozen=True, slots=True)
class TryLater:
    """The provider declined to look at it (429, 503): the refresh token is unspent."""

    reason: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The grant itself is no good: expired, revoked, reused or unknown (RFC 6749, section 5.2)."""

    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """The client or the request is no good; the grant was not judged."""

    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """It may have been sent and nothing usable came back: the token may be spent or not."""

    reason: str


Outcome = Answered | Unsent | TryLater | Refused | Misconfigured | Unanswered
