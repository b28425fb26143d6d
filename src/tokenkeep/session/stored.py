"""What the store and the log say of a session, before anybody knows its provider.

A record names its issuer and client, so that a command can go on with a session that another
process began. Looking changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

from tokenkeep.errors import (
    LoginRequired,
    SecretInvalidated,
    StoreError,
    StoreLocked,
    UnsupportedOption,
)
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.provider import Provider
from tokenkeep.secret import Secret
from tokenkeep.session.known import FINAL_REASONS
from tokenkeep.session.logout import LogoutReport, sign_out
from tokenkeep.session.refresh import is_uncertain
from tokenkeep.session.session import Session
from tokenkeep.session.state import State
from tokenkeep.session.work import Work
from tokenkeep.tokens.record import Record
from tokenkeep.tokens.storage import TokenStorage


@dataclass(frozen=True, slots=True)
class StoredSession:
    """An account's session as it lies there; `record` only if it lives."""

    state: State
    reason: str
    record: Record | None = None


def look(tokens: TokenStorage) -> StoredSession:
    """Where an account's session stands by the store and the log; changes nothing.

    Raises:
        StoreError: the store cannot tell, except `StoreLocked` and `SecretInvalidated`, which are
            states.
    """
    try:
        # The record first: a login between the two looks must not look like a stranger's record.
        record, log = tokens.kept.seen()
        if record is None and log.session_id is not None:
            record = tokens.kept.stored()  # begun, and saved between the two looks
    except StoreLocked as exc:
        return StoredSession(State.LOCKED, str(exc))
    except SecretInvalidated as exc:
        return StoredSession(State.LOGIN_REQUIRED, str(exc))
    if record is not None and record.session_id == log.session_id:
        if is_uncertain(tokens.kept, record, _replay_window(record)):
            return StoredSession(State.UNCERTAIN, "a redemption was interrupted", record)
        return StoredSession(State.ACTIVE, "signed in", record)
    if log.end_reason in FINAL_REASONS:
        return StoredSession(State.LOGIN_REQUIRED, f"the session is over: {log.end_reason}")
    if record is not None and not log.exists:
        return StoredSession(State.SIGNED_OUT, "left over from an installation that is gone")
    return StoredSession(State.SIGNED_OUT, "no session is stored")


def provider_of(record: Record, client_secret: Secret | None = None) -> Provider:
    """The provider that a stored session belongs to.

    Raises:
        UnsupportedOption: the record does not name one.
    """
    if not record.issuer or not record.client_id:
        raise UnsupportedOption(
            "the stored session does not name its provider", hint="tokenkeep login"
        )
    window, parameters = 0.0, dict[str, str]()
    try:
        policy = json.loads(record.policy) if record.policy else {}
        parameters = dict(policy.get("token_parameters", {}))
        window = float(policy.get("replay_window", 0.0))
    except (ValueError, TypeError, AttributeError):
        pass  # what cannot be read was not promised: a token is not sent twice
    return Provider(
        record.issuer,
        client_id=record.client_id,
        client_secret=client_secret,
        replay_window=window,
        token_parameters=parameters,
        dpop=record.dpop_key is not None,
    )


def session_of(
    tokens: TokenStorage, *, client_secret: Secret | None = None, timeout: float = 30.0
) -> Session:
    """The account's stored session, sharing its access tokens between processes.

    Raises:
        LoginRequired: there is none.
        StoreError: the store cannot tell.
    """
    record, log = tokens.kept.seen()
    if record is None:
        reason = log.end_reason if log.end_reason in FINAL_REASONS else "absent"
        raise LoginRequired(reason=reason or "absent", hint="tokenkeep login")
    provider = provider_of(record, client_secret)
    return Session(provider, tokens, share_access_tokens=True, timeout=timeout)


def sign_out_stored(
    tokens: TokenStorage, client_secret: Callable[[], Secret | None]
) -> LogoutReport:
    """Signs an account out, whoever's its session is, and also where no record can be read.

    Args:
        client_secret: gives a confidential client's secret, once the session is over here, and is
            not asked again: a pipe gives it once. A failure to is one to tell the provider.
    """
    secret = cache(client_secret)
    with ExitStack() as clients:

        def client(record: Record) -> Client:
            made = Client(provider_of(record, secret()), clock=tokens.storage.clock)
            clients.callback(made.close)
            return made

        return sign_out(tokens.kept, client, Work(), None, None)


def _replay_window(record: Record) -> float:
    try:
        return provider_of(record).replay_window
    except (UnsupportedOption, StoreError):
        return 0.0
