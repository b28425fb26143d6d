"""What is true of a grant and what follows from it: decisions on values.

Nothing here does input or output, keeps state or asks for the time. No decision needs the server's
clock: lifetimes are counted from ours, at the time of the request, and the check of an ID token
takes the Date of the answer that brought it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from tokenkeep.errors import ProtocolViolation
from tokenkeep.oauth.messages import TokenResponse
from tokenkeep.secret import Secret
from tokenkeep.session.shared import mandatory_margin
from tokenkeep.tokens.record import Intent, Moment, Record

#: A fifth of the lifetime, five minutes at most: early enough for one slow refresh and a retry,
#: late enough that a token is used for most of its life (the peers use 30 to 900 s, unscaled).
_ADVISORY_SHARE, _ADVISORY_MAX = 0.2, 300.0


@dataclass(frozen=True, slots=True)
class Margins:
    """Seconds before expiry from which a token should be renewed, and must not be used."""

    advisory: float
    mandatory: float


def margins(lifetime: float, jitter: float) -> Margins:
    """The margins of a token; `jitter` in 0..1 takes up to a quarter off the advisory one."""
    advisory = min(lifetime * _ADVISORY_SHARE, _ADVISORY_MAX) * (1 - 0.25 * jitter)
    return Margins(advisory, mandatory_margin(lifetime))


def digest(refresh_token: Secret) -> str:
    """Names a refresh token in an intent without being it."""
    return hashlib.sha256(refresh_token.reveal_bytes()).hexdigest()


def intent_for(record: Record, now: Moment) -> Intent:
    """The note to write before redeeming the record's refresh token."""
    assert record.refresh_token is not None
    return Intent(record.generation, digest(record.refresh_token), now)


def pending_intent(record: Record) -> Intent | None:
    """The record's intent if it speaks of the token the record holds; a stale one says nothing."""
    intent, token = record.intent, record.refresh_token
    if intent is None or token is None or intent.generation != record.generation:
        return None
    return intent if intent.digest == digest(token) else None


def may_replay(intent: Intent, now: Moment, replay_window: float) -> bool:
    """Whether the provider promises to accept the same refresh token again now."""
    age = intent.at.age(now)
    return age is not None and age < replay_window


def issued(
    session_id: str,
    response: TokenResponse,
    now: Moment,
    *,
    account: str,
    issuer: str,
    client_id: str,
    subject: str,
    scope: str,
    metadata: str,
    policy: str,
    shares: bool,
    keeps_id_token: bool,
    dpop_key: Secret | None = None,
) -> Record:
    """The record of a confirmed login."""
    return Record(
        session_id,
        now,
        account=account,
        generation=1,
        refresh_token=response.refresh_token,
        # Without a refresh token the access token is all there is to restore.
        access_token=response.access_token if shares or not response.refresh_token else None,
        id_token=response.id_token if keeps_id_token else None,
        dpop_key=dpop_key,
        issuer=issuer,
        client_id=client_id,
        subject=subject,
        scope=response.scope if response.scope is not None else scope,
        token_type=response.token_type,
        lifetime=response.expires_in,
        metadata=metadata,
        policy=policy,
        extra=_json(response.extra),
        shares=shares,
    )


def renewed(
    record: Record,
    response: TokenResponse,
    now: Moment,
    *,
    shares: bool,
) -> Record:
    """The record after a redemption (RFC 6749, section 6).

    The old refresh token stays where none came back. A refresh asks for what the login was granted:
    that is the scope where the answer names none, also after one that shrank.

    Raises:
        ProtocolViolation: the scope is larger than that.
    """
    scope = granted = record.granted or record.scope
    if response.scope is not None:
        if granted and not set(response.scope.split()) <= set(granted.split()):
            raise ProtocolViolation("the provider returned a larger scope than was granted")
        scope = response.scope
    return record.changed(
        obtained=now,
        generation=record.generation + 1,
        refresh_token=response.refresh_token or record.refresh_token,
        access_token=response.access_token if shares else None,
        id_token=(response.id_token or record.id_token) if record.id_token is not None else None,
        scope=scope,
        granted="" if scope == granted else granted,
        token_type=response.token_type,
        lifetime=response.expires_in,
        extra=_json(_merged(record.extra, response.extra)),
        shares=shares,
        pause=None,
        intent=None,
    )


def refusal_reason(record: Record, now: Moment, *, was_replay: bool) -> str:
    """Why a confirmed `invalid_grant` came, as far as a client can tell.

    Providers do not say (every case is `invalid_grant`); a replay that is refused was taken for
    reuse, and a `refresh_expires_in` that has passed explains itself.
    """
    if was_replay:
        return "reused"
    granted = _loaded(record.extra).get("refresh_expires_in")
    age = record.obtained.age(now)
    if isinstance(granted, int | float) and age is not None and age >= granted:
        return "expired"
    return "revoked"


def _json(extra: dict[str, object]) -> str:
    return json.dumps(extra, separators=(",", ":"), sort_keys=True) if extra else ""


def _loaded(text: str) -> dict[str, object]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _merged(text: str, newer: dict[str, object]) -> dict[str, object]:
    return {**_loaded(text), **newer}
