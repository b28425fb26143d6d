"""What both ways to log in share: the scope that is asked for, and what makes an answer a login.

Nothing here saves anything: a `LoginResult` is complete and checked, or there is an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenkeep.errors import (
    LoginCancelled,
    LoginFailed,
    ProtocolViolation,
    ProviderRefused,
    RefreshUnavailable,
    UnsupportedOption,
)
from tokenkeep.oauth.dpop import ALGORITHM, DpopKey
from tokenkeep.oauth.idtoken import Claims
from tokenkeep.oauth.messages import TokenResponse
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.outcome import (
    Answered,
    Misconfigured,
    Outcome,
    Refused,
    TryLater,
    Unanswered,
    Unsent,
)
from tokenkeep.oauth.remedies import CHECK_THE_NETWORK, LOG_IN_AGAIN, for_refusal
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from tokenkeep.oauth.client import Client


@dataclass(frozen=True, slots=True)
class LoginResult:
    """A confirmed login: checked against issuer, client, nonce and state.

    `dpop_key` is what the tokens are bound to, if they are.

    `granted_scope` is what the provider granted, which may be less or more than was asked
    (RFC 6749, section 3.3); None if nothing was asked and nothing said.
    """

    response: TokenResponse
    claims: Claims | None
    metadata: Metadata
    granted_scope: str | None
    dpop_key: DpopKey | None = None


def checked_scope(scope: Sequence[str]) -> tuple[str, ...]:
    """The scope as words, each once (RFC 6749, section 3.3).

    Raises:
        UnsupportedOption: a word could not be one.
    """
    words = scope.split() if isinstance(scope, str) else list(scope)
    if not all(_is_scope_word(word) for word in words):
        raise UnsupportedOption(
            "a scope is one word of printable ASCII", hint="--scope openid --scope email"
        )
    return tuple(dict.fromkeys(words))


def reached_metadata(client: Client, timeout: float) -> Metadata:
    """The provider's metadata, within a login's time.

    Raises:
        LoginFailed: the provider could not be reached.
        ProtocolViolation: it answered wrongly.
    """
    problem: str = ""
    try:
        # Rare enough to ask every time: nobody wants to log in again because of yesterday's answer.
        return client.metadata(timeout=min(timeout, client.provider.timeout), anew=True)
    except RefreshUnavailable as exc:
        problem = str(exc)
    raise LoginFailed(f"the provider cannot be reached: {problem}", hint=CHECK_THE_NETWORK)


def seconds_left(client: Client, deadline: float) -> float:
    """Seconds for the next request: the provider's, but not beyond the deadline."""
    return max(0.0, min(client.provider.timeout, deadline - client.clock.monotonic()))


def never() -> bool:
    """Whether a login was cancelled that nobody can cancel."""
    return False


def go_on(is_cancelled: Callable[[], bool]) -> None:
    """Ends a login that nobody waits for any more, between two of its steps.

    Raises:
        LoginCancelled: it is one.
    """
    if is_cancelled():
        raise LoginCancelled("the login was cancelled", hint=LOG_IN_AGAIN)


def new_key(client: Client, metadata: Metadata) -> DpopKey | None:
    """The key that this login's tokens are to be bound to, if they are.

    Raises:
        ProviderRefused: the provider says that it cannot.
    """
    if not client.provider.dpop:
        return None
    if metadata.dpop_signing_algs and ALGORITHM not in metadata.dpop_signing_algs:
        raise ProviderRefused(
            f"the provider does not support DPoP with {ALGORITHM}", hint="log in without dpop"
        )
    return DpopKey.generate()


def answered_by(outcome: Outcome) -> Answered:
    """The tokens.

    Raises:
        LoginFailed: the provider refused, or nobody knows whether it answered.
        ProviderRefused: it rejects the client or the request.
    """
    match outcome:
        case Answered():
            return outcome
        case Refused(error, _):
            raise LoginFailed(f"the provider did not accept the login ({error})", hint=LOG_IN_AGAIN)
        case Misconfigured(error, reason):
            raise ProviderRefused(reason, error=error, hint=for_refusal(error))
        case Unsent(reason) | TryLater(reason, _) | Unanswered(reason):
            raise LoginFailed(f"the login could not be completed: {reason}", hint=LOG_IN_AGAIN)


def confirmed(
    client: Client,
    metadata: Metadata,
    answered: Answered,
    wanted: Sequence[str],
    nonce: Secret | None,
    max_age: float | None,
    deadline: float,
    dpop_key: DpopKey | None,
) -> LoginResult:
    """The login, once its ID token has been checked.

    Raises:
        LoginFailed: the ID token could not be checked.
        ProtocolViolation: it is wrong or missing, or the tokens are bound otherwise than asked.
    """
    response = answered.response
    check_binding(response, dpop_key)
    granted = response.scope if response.scope is not None else " ".join(wanted) or None
    claims: Claims | None = None
    problem: str = ""
    if response.id_token is not None:
        try:
            claims = client.check_id_token(
                metadata,
                response.id_token,
                nonce=nonce,
                access_token=response.access_token,
                max_age=max_age,
                server_time=answered.server_time,
                timeout=seconds_left(client, deadline),
            )
        except RefreshUnavailable as exc:
            problem = str(exc)
        if claims is None:
            raise LoginFailed(f"the ID token could not be checked: {problem}", hint=LOG_IN_AGAIN)
    elif "openid" in (granted or "").split():
        raise ProtocolViolation(
            "the provider granted openid and sent no ID token",
            hint="log in without the scope openid, or tell whoever runs the provider",
        )
    return LoginResult(response, claims, metadata, granted, dpop_key)


def check_binding(response: TokenResponse, dpop_key: DpopKey | None) -> None:
    """Ends a login whose tokens are bound otherwise than was asked: nothing is weakened silently.

    Raises:
        ProtocolViolation: bearer tokens though a key was given, or the other way round.
    """
    if response.is_bound_by(dpop_key):
        return
    if dpop_key is None:
        raise ProtocolViolation(
            "the provider bound the tokens to a key that nobody gave it", hint="log in with dpop"
        )
    raise ProtocolViolation(
        "the provider issued bearer tokens though DPoP was asked for",
        hint="let the provider bind this client's tokens, or log in without dpop",
    )


def _is_scope_word(word: object) -> bool:
    return (
        isinstance(word, str)
        and 0 < len(word) <= 256
        and all("!" <= character <= "~" and character not in '"\\' for character in word)
    )
