"""Beginning a session: what was confirmed, and how it is saved.

Nothing is written before the provider's answer was parsed and checked. The log ends what lived and
begins the new session before the record is saved, so that a crash between the two leaves nobody
signed in, and a sign-out between the two is found by the look that follows the write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from tokenkeep.errors import LoginCancelled, LoginFailed, StoreError, UnsupportedOption
from tokenkeep.fence import Hold
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.dpop import DpopKey
from tokenkeep.oauth.login import LoginResult, check_binding
from tokenkeep.oauth.messages import TokenResponse
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.provider import Provider
from tokenkeep.oauth.remedies import LOG_IN_AGAIN
from tokenkeep.secret import Secret
from tokenkeep.session import grant
from tokenkeep.session.redemption import Got
from tokenkeep.session.revocation import revoke_late
from tokenkeep.tokens.kept import KeptRecord, new_session_id
from tokenkeep.tokens.record import Moment, Record

if TYPE_CHECKING:
    from tokenkeep.oauth.messages import DeviceCode


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A login that was checked: tokens, whose they are, and what they are for."""

    response: TokenResponse
    provider: Provider
    subject: str
    scope: str
    metadata: Metadata | None
    at: Moment
    dpop_key: DpopKey | None = None

    @staticmethod
    def by_flow(provider: Provider, result: LoginResult, at: Moment) -> Confirmed:
        """The outcome of a browser or device login."""
        subject = "" if result.claims is None else result.claims.subject
        scope = result.granted_scope or ""
        return Confirmed(
            result.response, provider, subject, scope, result.metadata, at, result.dpop_key
        )

    @staticmethod
    def checked(
        client: Client,
        response: TokenResponse,
        nonce: Secret | None,
        scope: Sequence[str],
        at: Moment,
        dpop_key: DpopKey | None = None,
    ) -> Confirmed:
        """The outcome of a login that the application made itself.

        Raises:
            ProtocolViolation: its ID token is not for us, or the tokens are bound otherwise.
            UnsupportedOption: tokens of the provider are to be bound, and no key is given.
            RefreshUnavailable: the provider's keys cannot be fetched.
        """
        if client.provider.dpop and dpop_key is None:
            raise UnsupportedOption(
                "the provider's tokens are to be bound by DPoP, and no key was given",
                hint="session.begin(response, dpop_key=DpopKey(secret))",
            )
        check_binding(response, dpop_key)
        subject, metadata = "", None
        if response.id_token is not None:
            metadata = client.metadata(None)
            claims = client.check_id_token(
                metadata, response.id_token, nonce=nonce, access_token=response.access_token
            )
            subject = claims.subject
        asked = " ".join(scope)
        return Confirmed(response, client.provider, subject, asked, metadata, at, dpop_key)

    def record(self, account: str, *, shares: bool, keeps_id_token: bool) -> Record:
        """The record that begins the session."""
        provider = self.provider
        # What a refresh by somebody who has only the record must know of the provider.
        policy: dict[str, object] = {}
        if provider.replay_window:
            policy["replay_window"] = provider.replay_window
        if provider.token_parameters:
            policy["token_parameters"] = dict(provider.token_parameters)
        return grant.issued(
            new_session_id(),
            self.response,
            self.at,
            account=account,
            issuer=provider.issuer,
            client_id=provider.client_id,
            subject=self.subject,
            scope=self.scope,
            metadata="" if self.metadata is None else self.metadata.to_json(),
            policy=json.dumps(policy) if policy else "",
            shares=shares,
            keeps_id_token=keeps_id_token,
            dpop_key=None if self.dpop_key is None else self.dpop_key.secret,
        )


def by_person(
    client: Client,
    scope: Sequence[str],
    *,
    device: bool,
    on_code: Callable[[DeviceCode], None] | None,
    open_browser: Callable[[str], object] | None,
    on_url: Callable[[str], None] | None,
    timeout: float,
    is_cancelled: Callable[[], bool],
) -> LoginResult:
    """The outcome of a login by a person, in a browser here or elsewhere; see `Session.login`."""
    from tokenkeep.oauth.browser_login import browser_login
    from tokenkeep.oauth.device_login import device_login

    if not device:
        return browser_login(
            client,
            scope=scope,
            open_browser=open_browser,
            on_url=on_url,
            timeout=timeout,
            is_cancelled=is_cancelled,
        )
    if on_code is None:
        raise UnsupportedOption(
            "a device login needs on_code to show the code", hint="on_code=print"
        )
    return device_login(
        client, scope=scope, on_code=on_code, timeout=timeout, is_cancelled=is_cancelled
    )


def give_back(tokens: KeptRecord, client: Client, confirmed: Confirmed) -> NoReturn:
    """Ends a login that was cancelled when the provider had answered: its tokens are revoked.

    Raises:
        LoginCancelled: always; says what became of the tokens.
    """
    late = confirmed.record(tokens.account, shares=False, keeps_id_token=False)
    report = revoke_late(tokens, client, late)
    raise LoginCancelled(f"the login was cancelled: {report}", hint=LOG_IN_AGAIN)


def save(
    tokens: KeptRecord, client: Client, confirmed: Confirmed, record: Record, hold: Hold
) -> Got:
    """Begins the session in the log and saves its record, under the fence.

    A store that refuses the write leaves the session in memory, with the fence; see `Unsaved`.

    Args:
        hold: the fence; let go here if the session was saved, and still the caller's otherwise.

    Raises:
        LoginFailed: somebody signed out while it was being saved; the new token was revoked.
        StoreFull, AccessDenied, StoreUnavailable: the session log cannot be written.
        UnsupportedOption: another account's session lies under the record's name.
    """
    access_token: Secret = confirmed.response.access_token
    problem: StoreError | None = None
    try:
        tokens.require_ours()
    except UnsupportedOption:
        raise
    except StoreError as exc:
        problem = exc.with_traceback(None)  # a store that cannot tell is not asked to write
    tokens.log.begin(record.session_id, record.obtained.wall)
    got = Got(record, access_token)
    try:
        if problem is None:
            tokens.write(record)
    except StoreError as exc:
        problem = exc.with_traceback(None)
    if problem is not None:
        got = Got(record, access_token, hold, f"{problem.code}: {problem}")
    if tokens.has_ended(record.session_id):
        _erase_dead(tokens)
        report = revoke_late(tokens, client, record)
        raise LoginFailed(
            f"somebody signed out while the session was being saved: {report}", hint=LOG_IN_AGAIN
        )
    if got.unsaved is None:
        hold.release()
    return got


def _erase_dead(tokens: KeptRecord) -> None:
    try:
        tokens.erase_dead()
    except StoreError:
        # Dead by the log's word already; the next login, restore or sign-out erases it.
        return
