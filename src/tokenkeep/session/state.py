"""What a session can be, and what its listeners are told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from tokenkeep.oauth.dpop import DpopKey


class State(Enum):
    """Where a session stands, as far as this process knows."""

    SIGNED_OUT = "signed out"
    #: Signed in, and saved.
    ACTIVE = "active"
    #: Signed in, but it could not be saved: it will not survive a restart; saving is retried.
    MEMORY_ONLY = "memory only"
    #: The store is locked: whether there is a session is not known yet.
    LOCKED = "locked"
    #: A redemption was interrupted after it was sent: nobody knows whether the token is spent.
    UNCERTAIN = "uncertain"
    #: The provider ended the session, or its key is gone: only a new login helps.
    LOGIN_REQUIRED = "login required"

    @property
    def is_signed_in(self) -> bool:
        """Whether there is a session to get access tokens from, perhaps after a confirmation."""
        return self in (State.ACTIVE, State.MEMORY_ONLY, State.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class Change:
    """What a listener of `Session.on_change` gets; `reason` is a clause for people, no secret."""

    state: State
    previous: State
    reason: str


class AccessToken(Secret):
    """An access token in memory, and how long this process may use it.

    Attributes:
        generation: of the grant it came from; a 401 is judged by it.
        session_id: whose it is.
        expires: monotonic reading when it ends; inf if the provider gave no lifetime.
        renew: monotonic reading from which somebody should renew it ahead of time.
        unusable: monotonic reading from which it is not handed out any more.
        asked: the `min_ttl` it was refreshed for in vain, because the provider grants less; until
            `halfway`, it is what such a caller gets without another refresh.
        halfway: monotonic reading when half its lifetime is over.
        dpop_key: what it is bound to, and a request has to prove; None for a bearer token.
    """

    __slots__ = (
        *("asked", "dpop_key", "expires", "generation", "halfway"),
        *("renew", "session_id", "unusable"),
    )

    def __init__(
        self,
        value: Secret,
        *,
        session_id: str,
        generation: int,
        expires: float,
        renew: float,
        unusable: float,
        asked: float = 0.0,
        halfway: float = 0.0,
        dpop_key: DpopKey | None = None,
    ) -> None:
        super().__init__(value.reveal_bytes())
        self.session_id = session_id
        self.generation = generation
        self.expires = expires
        self.renew = renew
        self.unusable = unusable
        self.asked = asked
        self.halfway = halfway
        self.dpop_key = dpop_key

    def serves(self, now: float, min_ttl: float) -> bool:
        """Whether it may be handed out to a caller who needs it for `min_ttl` more seconds."""
        if now + min_ttl <= self.expires:
            return now < self.unusable
        return min_ttl <= self.asked and now < self.halfway

    def is_best(self, now: float, min_ttl: float) -> bool:
        """Whether a refresh could not bring what is wanted either, nor much more than this."""
        return min_ttl > 2 * (self.expires - self.halfway) and now < self.halfway
