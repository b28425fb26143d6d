"""The two ways to log in: a browser on this machine, or a code for another device.

Nothing here saves anything: a `LoginResult` is complete and checked, or there is an exception.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from tokenkeep.errors import (
    LoginCancelled,
    LoginFailed,
    ProtocolViolation,
    ProviderRefused,
    RefreshUnavailable,
    UnsupportedOption,
)
from tokenkeep.oauth import messages, requests
from tokenkeep.oauth.answers import device_authorization, error_code
from tokenkeep.oauth.dpop import ALGORITHM, DpopKey
from tokenkeep.oauth.idtoken import Claims
from tokenkeep.oauth.loopback import Loopback, Redirect
from tokenkeep.oauth.messages import DeviceCode, TokenResponse
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
from tokenkeep.oauth.provider import checked_authorization_parameters
from tokenkeep.oauth.transport import NoAnswer, NotSent
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from tokenkeep.oauth.client import Client

#: RFC 8628, section 3.5: slow_down adds 5 seconds "for this and all subsequent requests".
SLOW_DOWN_SECONDS = 5.0
#: RFC 6749, section 4.1.2.1; OpenID Connect Core, section 3.1.2.6; RFC 8707.
_AUTHORIZATION_ERRORS = frozenset(
    (
        *("access_denied", "server_error", "temporarily_unavailable"),
        *("login_required", "consent_required", "interaction_required"),
        *("invalid_request", "unauthorized_client", "unsupported_response_type"),
        *("invalid_scope", "account_selection_required", "invalid_target"),
    )
)


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


def browser_login(
    client: Client,
    *,
    scope: Sequence[str] = (),
    open_browser: Callable[[str], object] | None = None,
    timeout: float = 300.0,
    extra: Mapping[str, str] | None = None,
    on_url: Callable[[str], None] | None = None,
) -> LoginResult:
    """Logs in with a browser: authorization code with PKCE over a loopback redirect (RFC 8252).

    Args:
        open_browser: gets the address; None takes the system's browser, or `BROWSER`'s. It runs
            on a thread of its own, so that a browser in the terminal holds up nothing.
        timeout: seconds for the person and the provider together.
        extra: authorization parameters of this login, such as `login_hint`.
        on_url: gets the address first, to show it to the person.

    Raises:
        LoginCancelled: the person said no, or did not come back in time.
        LoginFailed: no browser, no port, or the provider could not be reached.
        ProviderRefused: the provider rejects the client or the request.
        ProtocolViolation: an answer was wrong: of another issuer, without what was asked for.
        UnsupportedOption: the scope or an extra parameter cannot be.
        MissingExtra: httpx2 or joserfc is not installed.
    """
    deadline = client.clock.monotonic() + timeout
    wanted = checked_scope(scope)
    extra = checked_authorization_parameters(extra)
    metadata = _reached_metadata(client, timeout)
    dpop_key = _new_key(client, metadata)
    with Loopback(client.provider.redirect_path) as loopback:
        pending = requests.begin_authorization(
            client.provider,
            metadata,
            redirect_uri=loopback.redirect_uri,
            scope=wanted,
            random=secrets.token_bytes,
            extra=extra,
            dpop_jkt=None if dpop_key is None else dpop_key.thumbprint(),
        )
        if on_url is not None:
            on_url(pending.url.reveal())
        opening = _Opening(open_browser or webbrowser.open, pending.url)
        redirect = loopback.wait(
            pending.state,
            deadline - client.clock.monotonic(),
            # Somebody who was shown the address may still come.
            is_hopeless=opening.has_failed if on_url is None else None,
        )
        if redirect is None and on_url is None and opening.has_failed():
            raise LoginFailed(
                "no browser could be opened", hint="log in with a device code instead"
            )
    code = _code_in(redirect, client.provider.issuer, metadata)
    outcome = client.token_request(
        requests.code_request(
            client.provider,
            metadata,
            code=code,
            verifier=pending.verifier,
            redirect_uri=pending.redirect_uri,
        ),
        _bounded(client, deadline),
        dpop_key,
    )
    answered = _answered(outcome)
    max_age = _max_age(client, extra)
    return _confirmed(
        client, metadata, answered, wanted, pending.nonce, max_age, deadline, dpop_key
    )


def device_login(
    client: Client,
    *,
    scope: Sequence[str] = (),
    on_code: Callable[[DeviceCode], None],
    timeout: float = 900.0,
) -> LoginResult:
    """Logs in on another device: the person enters a code there (RFC 8628).

    Args:
        on_code: shows the code and the address to the person. They are not for a log.
        timeout: seconds for the person and the provider together; the code may end earlier.

    Raises:
        LoginCancelled: the person said no, or the code expired unused.
        LoginFailed: the provider could not be reached.
        ProviderRefused: the provider rejects the client or the request, or has no device login.
        ProtocolViolation: an answer was wrong.
        UnsupportedOption: the scope cannot be.
        MissingExtra: httpx2 or joserfc is not installed.
    """
    deadline = client.clock.monotonic() + timeout
    wanted = checked_scope(scope)
    metadata = _reached_metadata(client, timeout)
    device = _device_authorization(client, metadata, wanted, _bounded(client, deadline))
    deadline = min(deadline, client.clock.monotonic() + device.shown.expires_in)
    on_code(device.shown)
    dpop_key = _new_key(client, metadata)
    answered = _polled(client, metadata, device, deadline, dpop_key)
    return _confirmed(client, metadata, answered, wanted, None, None, deadline, dpop_key)


def checked_scope(scope: Sequence[str]) -> tuple[str, ...]:
    """The scope as words, each once (RFC 6749, section 3.3).

    Raises:
        UnsupportedOption: a word could not be one.
    """
    words = scope.split() if isinstance(scope, str) else list(scope)
    if not all(_is_scope_word(word) for word in words):
        raise UnsupportedOption("a scope is one word of printable ASCII")
    return tuple(dict.fromkeys(words))


def _is_scope_word(word: object) -> bool:
    return (
        isinstance(word, str)
        and 0 < len(word) <= 256
        and all("!" <= character <= "~" and character not in '"\\' for character in word)
    )


class _Opening:
    """A browser being opened on a thread, because `webbrowser` waits for one in the terminal."""

    def __init__(self, open_browser: Callable[[str], object], url: Secret) -> None:
        self._failed = False
        self._open_browser = open_browser
        self._url = url
        threading.Thread(target=self._run, name="tokenkeep-browser", daemon=True).start()

    def has_failed(self) -> bool:
        """Whether it is known by now that nothing was opened."""
        return self._failed

    def _run(self) -> None:
        try:
            # `webbrowser.open` says False where it found none; other callables return anything.
            self._failed = self._open_browser(self._url.reveal()) is False
        except Exception:
            self._failed = True


def _reached_metadata(client: Client, timeout: float) -> Metadata:
    problem: str = ""
    try:
        return client.metadata(timeout=min(timeout, client.provider.timeout))
    except RefreshUnavailable as exc:
        problem = str(exc)
    raise LoginFailed(f"the provider cannot be reached: {problem}")


def _bounded(client: Client, deadline: float) -> float:
    """Seconds for the next request: the provider's, but not beyond the deadline."""
    return max(0.0, min(client.provider.timeout, deadline - client.clock.monotonic()))


def _max_age(client: Client, extra: Mapping[str, str]) -> float | None:
    asked = extra.get("max_age", client.provider.authorization_parameters.get("max_age", ""))
    return float(asked) if asked.isascii() and asked.isdigit() else None


def _code_in(redirect: Redirect | None, issuer: str, metadata: Metadata) -> Secret:
    """The code that came back; the state was right already."""
    if redirect is None:
        raise LoginCancelled("nobody came back from the browser in time")
    # RFC 9207, section 2.4: it must be there if promised, and must fit wherever it is.
    if redirect.issuer is None and metadata.iss_in_response:
        raise ProtocolViolation("the redirect does not name the issuer though the provider does")
    if redirect.issuer is not None and not hmac.compare_digest(
        redirect.issuer.encode(), issuer.encode()
    ):
        raise ProtocolViolation("the redirect comes from another issuer")
    if redirect.error is not None:
        _raise_authorization_error(redirect.error)
    if redirect.code is None:
        raise ProtocolViolation("the redirect holds neither a code nor an error")
    return redirect.code


def _raise_authorization_error(error: str) -> NoReturn:
    """What an error in the redirect means for a login."""
    # Anything else is the page's own text, which is not repeated.
    error = error if error in _AUTHORIZATION_ERRORS else "unknown_error"
    if error == "access_denied":
        raise LoginCancelled("the login was declined")
    if error in ("server_error", "temporarily_unavailable"):
        raise LoginFailed(f"the provider could not log in ({error})")
    if error in ("login_required", "consent_required", "interaction_required"):
        raise LoginFailed(f"the provider needs the person ({error})")
    raise ProviderRefused(f"the provider refused the login ({error})", error=error)


def _answered(outcome: Outcome) -> Answered:
    """The tokens, or the exception that a login makes of another outcome."""
    match outcome:
        case Answered():
            return outcome
        case Refused(error, _):
            raise LoginFailed(f"the provider did not accept the login ({error})")
        case Misconfigured(error, reason):
            raise ProviderRefused(reason, error=error)
        case Unsent(reason) | TryLater(reason, _) | Unanswered(reason):
            raise LoginFailed(f"the login could not be completed: {reason}")


def _confirmed(
    client: Client,
    metadata: Metadata,
    answered: Answered,
    wanted: Sequence[str],
    nonce: Secret | None,
    max_age: float | None,
    deadline: float,
    dpop_key: DpopKey | None,
) -> LoginResult:
    """The login, once its ID token has been checked."""
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
                timeout=_bounded(client, deadline),
            )
        except RefreshUnavailable as exc:
            problem = str(exc)
        if claims is None:
            raise LoginFailed(f"the ID token could not be checked: {problem}")
    elif "openid" in (granted or "").split():
        raise ProtocolViolation("the provider granted openid and sent no ID token")
    return LoginResult(response, claims, metadata, granted, dpop_key)


def _new_key(client: Client, metadata: Metadata) -> DpopKey | None:
    """The key that this login's tokens are to be bound to, if they are.

    Raises:
        ProviderRefused: the provider says that it cannot.
    """
    if not client.provider.dpop:
        return None
    if metadata.dpop_signing_algs and ALGORITHM not in metadata.dpop_signing_algs:
        raise ProviderRefused(f"the provider does not support DPoP with {ALGORITHM}")
    return DpopKey.generate()


def check_binding(response: TokenResponse, dpop_key: DpopKey | None) -> None:
    """Ends a login whose tokens are bound otherwise than was asked: nothing is weakened silently.

    Raises:
        ProtocolViolation: bearer tokens though a key was given, or the other way round.
    """
    if response.is_bound_by(dpop_key):
        return
    if dpop_key is None:
        raise ProtocolViolation("the provider bound the tokens to a key that nobody gave it")
    raise ProtocolViolation(
        "the provider issued bearer tokens though DPoP was asked for",
        hint="let the provider bind this client's tokens, or log in without dpop",
    )


def _device_authorization(
    client: Client, metadata: Metadata, wanted: Sequence[str], timeout: float
) -> messages.DeviceAuthorization:
    request = requests.device_request(client.provider, metadata, scope=wanted)
    problem = ""
    try:
        response = client.transport.send(request, timeout)
    except (NotSent, NoAnswer) as exc:
        problem = exc.reason
    if problem:
        raise LoginFailed(f"the provider cannot be reached: {problem}")
    device = device_authorization(response)
    if isinstance(device, messages.DeviceAuthorization):
        return device
    if device is not None:
        raise ProtocolViolation(device)
    error = error_code(response, request.secrets())
    if error is not None and response.status < 500:
        raise ProviderRefused(f"the provider refused the device login ({error})", error=error)
    raise LoginFailed(f"the provider answered {response.status} to the device login")


def _polled(
    client: Client,
    metadata: Metadata,
    device: messages.DeviceAuthorization,
    deadline: float,
    dpop_key: DpopKey | None,
) -> Answered:
    """Asks until the person has decided (RFC 8628, sections 3.4 and 3.5)."""
    interval = device.interval
    pause = interval
    request = requests.device_token_request(
        client.provider, metadata, device_code=device.device_code
    )
    while True:
        if client.clock.monotonic() + pause >= deadline:
            client.clock.sleep(max(0.0, deadline - client.clock.monotonic()))
            raise LoginCancelled("the code was not used in time")
        client.clock.sleep(pause)
        pause = interval
        match client.token_request(request, _bounded(client, deadline), dpop_key):
            case Misconfigured("authorization_pending", _):
                pass
            case Misconfigured("slow_down", _):
                interval = min(interval + SLOW_DOWN_SECONDS, messages.MAX_POLL_INTERVAL)
                pause = interval
            case Misconfigured("access_denied", _):
                raise LoginCancelled("the login was declined")
            case Misconfigured("expired_token", _):
                raise LoginCancelled("the code was not used in time")
            case TryLater(_, retry_after):
                pause = max(interval, retry_after or 0.0)
            case Unsent() | Unanswered():
                # Section 3.5: on a connection time-out the frequency is reduced.
                interval = min(interval * 2, messages.MAX_POLL_INTERVAL)
                pause = interval
            case outcome:
                return _answered(outcome)
