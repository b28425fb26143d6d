"""A login with a browser on this machine: authorization code with PKCE over a loopback redirect."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from tokenkeep.errors import (
    LoginCancelled,
    LoginFailed,
    ProtocolViolation,
    ProviderRefused,
)
from tokenkeep.oauth import browser, requests
from tokenkeep.oauth.login import (
    LoginResult,
    answered_by,
    checked_scope,
    confirmed,
    go_on,
    never,
    new_key,
    reached_metadata,
    seconds_left,
)
from tokenkeep.oauth.loopback import Loopback, Redirect
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.provider import checked_authorization_parameters
from tokenkeep.oauth.remedies import (
    LOG_IN_AGAIN,
    MORE_TIME,
    ONLY_WHAT_BEGAN_HERE,
    TELL_THE_PROVIDER,
    WITH_A_DEVICE_CODE,
    for_refusal,
)
from tokenkeep.secret import Secret

if TYPE_CHECKING:
    from tokenkeep.oauth.client import Client

#: RFC 6749, section 4.1.2.1; OpenID Connect Core, section 3.1.2.6; RFC 8707.
_AUTHORIZATION_ERRORS = frozenset(
    (
        *("access_denied", "server_error", "temporarily_unavailable"),
        *("login_required", "consent_required", "interaction_required"),
        *("invalid_request", "unauthorized_client", "unsupported_response_type"),
        *("invalid_scope", "account_selection_required", "invalid_target"),
    )
)


def browser_login(
    client: Client,
    *,
    scope: Sequence[str] = (),
    open_browser: Callable[[str], object] | None = None,
    timeout: float = 300.0,
    extra: Mapping[str, str] | None = None,
    on_url: Callable[[str], None] | None = None,
    is_cancelled: Callable[[], bool] = never,
) -> LoginResult:
    """Logs in with a browser: authorization code with PKCE over a loopback redirect (RFC 8252).

    Args:
        open_browser: gets the address; None takes the system's browser, or `BROWSER`'s. It runs
            on a thread of its own, so that a browser in the terminal holds up nothing.
        timeout: seconds for the person; what is left to ask the provider then has its own.
        extra: authorization parameters of this login, such as `login_hint`.
        on_url: gets the address first, to show it to the person.
        is_cancelled: asked several times a second; once True, no code is redeemed any more.

    Raises:
        LoginCancelled: the person said no, did not come back in time, or it was cancelled.
        LoginFailed: no browser, no port, or the provider could not be reached.
        ProviderRefused: the provider rejects the client or the request.
        ProtocolViolation: an answer was wrong: of another issuer, without what was asked for.
        UnsupportedOption: the scope or an extra parameter cannot be.
        MissingExtra: httpx2 or joserfc is not installed.
    """
    deadline = client.clock.monotonic() + timeout
    wanted = checked_scope(scope)
    extra = checked_authorization_parameters(extra)
    metadata = reached_metadata(client, timeout)
    go_on(is_cancelled)
    dpop_key = new_key(client, metadata)
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
        opening = _Opening(open_browser or browser.open_browser, pending.url)
        redirect = loopback.wait(
            pending.state,
            deadline - client.clock.monotonic(),
            is_cancelled=is_cancelled,
            # Somebody who was shown the address may still come.
            is_hopeless=lambda: on_url is None and opening.has_failed(),
        )
        go_on(is_cancelled)
        if redirect is None and on_url is None and opening.has_failed():
            raise LoginFailed("no browser could be opened", hint=WITH_A_DEVICE_CODE)
    code = _code_in(redirect, client.provider.issuer, metadata)
    # The person was in time: what is left to ask is not on their account.
    deadline = max(deadline, client.clock.monotonic() + client.provider.timeout)
    outcome = client.token_request(
        requests.code_request(
            client.provider,
            metadata,
            code=code,
            verifier=pending.verifier,
            redirect_uri=pending.redirect_uri,
        ),
        seconds_left(client, deadline),
        dpop_key,
    )
    answered = answered_by(outcome)
    max_age = _max_age(client, extra)
    return confirmed(client, metadata, answered, wanted, pending.nonce, max_age, deadline, dpop_key)


class _Opening:
    """A browser being opened on a thread, because one in the terminal is waited for."""

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
            # Ours says False where it found none; other callables return anything.
            self._failed = self._open_browser(self._url.reveal()) is False
        except Exception:
            self._failed = True


def _max_age(client: Client, extra: Mapping[str, str]) -> float | None:
    asked = extra.get("max_age", client.provider.authorization_parameters.get("max_age", ""))
    return float(asked) if asked.isascii() and asked.isdigit() else None


def _code_in(redirect: Redirect | None, issuer: str, metadata: Metadata) -> Secret:
    """The code that came back; the state was right already."""
    if redirect is None:
        raise LoginCancelled("nobody came back from the browser in time", hint=MORE_TIME)
    # RFC 9207, section 2.4: it must be there if promised, and must fit wherever it is.
    if redirect.issuer is None and metadata.iss_in_response:
        raise ProtocolViolation(
            "the redirect does not name the issuer though the provider does",
            hint=TELL_THE_PROVIDER,
        )
    if redirect.issuer is not None and not hmac.compare_digest(
        redirect.issuer.encode(), issuer.encode()
    ):
        raise ProtocolViolation("the redirect comes from another issuer", hint=ONLY_WHAT_BEGAN_HERE)
    if redirect.error is not None:
        _raise_authorization_error(redirect.error)
    if redirect.code is None:
        raise ProtocolViolation(
            "the redirect holds neither a code nor an error", hint=TELL_THE_PROVIDER
        )
    return redirect.code


def _raise_authorization_error(error: str) -> NoReturn:
    """What an error in the redirect means for a login."""
    # Anything else is the page's own text, which is not repeated.
    error = error if error in _AUTHORIZATION_ERRORS else "unknown_error"
    if error == "access_denied":
        raise LoginCancelled("the login was declined", hint=LOG_IN_AGAIN)
    if error in ("server_error", "temporarily_unavailable"):
        raise LoginFailed(f"the provider could not log in ({error})", hint=LOG_IN_AGAIN)
    if error in ("login_required", "consent_required", "interaction_required"):
        raise LoginFailed(
            f"the provider needs the person ({error})", hint="log in without prompt=none"
        )
    raise ProviderRefused(
        f"the provider refused the login ({error})", error=error, hint=for_refusal(error)
    )
