"""Revoking at the provider what is over here, without taking a newer session with it.

A token goes to the provider that gave it and to nobody else (RFC 6749, section 10.4), whosever
record was found.
"""

from __future__ import annotations

from tokenkeep.errors import StoreError, TokenkeepError
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.tokens.kept import KeptRecord
from tokenkeep.tokens.record import Record


def revoke(
    tokens: KeptRecord, client: Client, record: Record, *, is_late: bool = False
) -> tuple[bool, str]:
    """Revokes the record's tokens (RFC 7009): whether it was done, and a clause for people.

    Some servers revoke the whole grant with one of its tokens. So nothing is revoked while a newer
    session of the account lives that has the same issuer, client and subject, or could have.

    Args:
        is_late: another session may have lived all along, and a log that cannot be read may hold
            it. Where ours is what has just been ended, nobody can have begun one in such a log.

    Raises:
        TokenkeepError: the provider's metadata cannot be had; nothing was sent.
    """
    provider = client.provider
    if not record.is_of(provider.issuer, provider.client_id):
        return False, (
            f"nothing was sent: the tokens are of {record.issuer}, client {record.client_id}, and"
            " live on there; end that sign-in on the provider's own pages"
        )
    cached = Metadata.from_json(record.metadata) if record.metadata else None
    metadata = client.metadata(cached, provider.timeout)
    if _has_newer_session(tokens, record, is_late=is_late):
        return False, "not revoked, because a newer session may share its grant"
    token, hint = record.refresh_token, "refresh_token"
    if token is None:
        token, hint = record.access_token, "access_token"
    if token is None:
        return True, "there was nothing to revoke"
    failure = client.revoke(metadata, token, hint, provider.timeout)
    return (True, "revoked at the provider") if failure is None else (False, failure)


def revoke_late(tokens: KeptRecord, client: Client, record: Record) -> str:
    """Revokes a token that came after its session ended: a clause for people."""
    try:
        done, detail = revoke(tokens, client, record, is_late=True)
    except TokenkeepError as exc:
        return f"a late token was dropped: {exc}"
    return f"a late token {'was revoked' if done else 'was dropped'}: {detail}"


def _has_newer_session(tokens: KeptRecord, record: Record, *, is_late: bool) -> bool:
    """Whether another session of the same grant lives; where it cannot be known, it may."""
    try:
        found = tokens.stored()
    except StoreError:
        # Somebody signed in anew and we cannot see as whom: revoking could end that session.
        return _lives_another(tokens, record, unknown=True)
    if found is None or found.session_id == record.session_id:
        # One that the store refused, or that is about to be saved, only the log knows.
        return _lives_another(tokens, record, unknown=is_late)
    return found.may_be_same_grant(record) and _lives_another(tokens, record, unknown=True)


def _lives_another(tokens: KeptRecord, record: Record, *, unknown: bool) -> bool:
    try:
        return tokens.log.read().session_id not in (None, record.session_id)
    except StoreError:
        return unknown
