"""The access token that processes share, while it is fresh: a record, a log, nothing else.

A cold `tokenkeep token` pays for this file; the session's machinery is for when it says None.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.secret import Secret
    from tokenkeep.tokens.record import Moment, Record
    from tokenkeep.tokens.storage import TokenStorage

#: A request must still arrive with a valid token: a twentieth of the lifetime, 30 s at most.
MANDATORY_SHARE, MANDATORY_MAX = 0.05, 30.0


def fresh_shared_token(tokens: TokenStorage, min_ttl: float = 0.0) -> Secret | None:
    """The live session's shared access token if it serves; changes nothing.

    None says that a `Session` has to look: signed out, expired, not shared, interrupted.

    Raises:
        StoreError: the store cannot tell.
    """
    record = tokens.kept.load()
    if record is None or not has_fresh_token(record, tokens.kept.now(), min_ttl):
        return None
    return record.access_token


def has_fresh_token(record: Record, now: Moment, min_ttl: float) -> bool:
    """Whether the record's access token may be handed out to who needs it for `min_ttl` seconds."""
    if record.access_token is None:
        return False
    if record.lifetime is None:
        return True
    left = record.remaining(now)
    return left > mandatory_margin(record.lifetime) and left >= min(min_ttl, record.lifetime)


def mandatory_margin(lifetime: float) -> float:
    """Seconds before its expiry from which a token is not handed out any more."""
    return min(lifetime * MANDATORY_SHARE, MANDATORY_MAX)
