"""A login on another device, where a person enters a code (RFC 8628)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tokenkeep.errors import (
    LoginCancelled,
    LoginFailed,
    ProtocolViolation,
    ProviderRefused,
)
from tokenkeep.oauth import messages, requests
from tokenkeep.oauth.answers import device_authorization, error_code
from tokenkeep.oauth.dpop import DpopKey
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
from tokenkeep.oauth.messages import DeviceCode
from tokenkeep.oauth.metadata import Metadata
from tokenkeep.oauth.outcome import (
    Answered,
    Misconfigured,
    TryLater,
    Unanswered,
    Unsent,
)
from tokenkeep.oauth.remedies import (
    CHECK_THE_NETWORK,
    LOG_IN_AGAIN,
    MORE_TIME,
    TELL_THE_PROVIDER,
    for_refusal,
)
from tokenkeep.oauth.transport import NoAnswer, NotSent

if TYPE_CHECKING:
    from tokenkeep.oauth.client import Client

#: RFC 8628, section 3.5: slow_down adds 5 seconds "for this and all subsequent requests".
_SLOW_DOWN_SECONDS = 5.0
#: How far lost answers make the questions rarer. What the provider asks for may be more.
_LONGEST_BACKOFF = 300.0
#: How late the last question may come: one interval where the provider names none (section 3.2).
_LATE_SECONDS = 5.0
#: The least that one poll has to be answered, however near the deadline.
_POLL_SECONDS = 3.0
_EXPIRED = "the code expired before anybody used it"
#: How soon a login that was cancelled while it waits is over.
_LOOK_EVERY = 0.25


def device_login(
    client: Client,
    *,
    scope: Sequence[str] = (),
    on_code: Callable[[DeviceCode], None],
    timeout: float = 900.0,
    is_cancelled: Callable[[], bool] = never,
) -> LoginResult:
    """Logs in on another device: the person enters a code there (RFC 8628).

    Args:
        on_code: shows the code and the address to the person. They are not for a log.
        timeout: seconds for the person; the code may end earlier. Both ends are told as the code's
            `expires_in`. Within seconds of it the provider is asked once more, for an approval in
            the last moment, unless it wants to be asked later than that.
        is_cancelled: asked several times a second; once True, nothing is asked for any more.

    Raises:
        LoginCancelled: the person said no, did not approve in time, or the code expired unused; or
            it was cancelled.
        LoginFailed: the provider could not be reached.
        ProviderRefused: the provider rejects the client or the request, or has no device login.
        ProtocolViolation: an answer was wrong.
        UnsupportedOption: the scope cannot be.
        MissingExtra: httpx2 or joserfc is not installed.
    """
    deadline = client.clock.monotonic() + timeout
    wanted = checked_scope(scope)
    metadata = reached_metadata(client, timeout)
    go_on(is_cancelled)
    device = _device_authorization(client, metadata, wanted, seconds_left(client, deadline))
    now = client.clock.monotonic()
    ends_with_code = now + device.shown.expires_in <= deadline
    deadline = min(deadline, now + device.shown.expires_in)
    on_code(replace(device.shown, expires_in=max(0.0, deadline - now)))
    dpop_key = new_key(client, metadata)
    answered = _polled(client, metadata, device, deadline, dpop_key, is_cancelled)
    if answered is None and ends_with_code:
        raise LoginCancelled(_EXPIRED, hint=LOG_IN_AGAIN)
    if answered is None:
        raise LoginCancelled("nobody approved the login in time", hint=MORE_TIME)
    # The person was in time: what is left to ask is not on their account.
    deadline += client.provider.timeout
    return confirmed(client, metadata, answered, wanted, None, None, deadline, dpop_key)


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
        raise LoginFailed(f"the provider cannot be reached: {problem}", hint=CHECK_THE_NETWORK)
    device = device_authorization(response)
    if isinstance(device, messages.DeviceAuthorization):
        return device
    if device is not None:
        raise ProtocolViolation(device, hint=TELL_THE_PROVIDER)
    error = error_code(response, request.secrets())
    if error is not None and response.status < 500:
        raise ProviderRefused(
            f"the provider refused the device login ({error})",
            error=error,
            hint=for_refusal(error),
        )
    raise LoginFailed(
        f"the provider answered {response.status} to the device login", hint=LOG_IN_AGAIN
    )


def _polled(
    client: Client,
    metadata: Metadata,
    device: messages.DeviceAuthorization,
    deadline: float,
    dpop_key: DpopKey | None,
    is_cancelled: Callable[[], bool],
) -> Answered | None:
    """Asks until the person has decided (RFC 8628, sections 3.4 and 3.5).

    None if they had not when the deadline came. Nothing is asked sooner than the provider allows:
    the last question may come `_LATE_SECONDS` after the deadline, and is dropped beyond that.
    """
    interval = device.interval
    pause = interval
    request = requests.device_token_request(
        client.provider, metadata, device_code=device.device_code
    )
    while True:
        at = client.clock.monotonic() + pause
        if at > deadline + _LATE_SECONDS:
            _wait_until(client, deadline, is_cancelled)
            return None
        _wait_until(client, at, is_cancelled)
        pause = interval
        seconds = max(_POLL_SECONDS, seconds_left(client, deadline))
        match client.token_request(request, seconds, dpop_key):
            case Misconfigured("authorization_pending", _):
                pass
            case Misconfigured("slow_down", _):
                interval += _SLOW_DOWN_SECONDS
                pause = interval
            case Misconfigured("access_denied", _):
                raise LoginCancelled("the login was declined", hint=LOG_IN_AGAIN)
            case Misconfigured("expired_token", _):
                raise LoginCancelled(_EXPIRED, hint=LOG_IN_AGAIN)
            case TryLater(_, retry_after):
                pause = max(interval, retry_after or 0.0)
            case Unsent() | Unanswered():
                # Section 3.5: on a connection time-out the frequency is reduced.
                interval = max(interval, min(interval * 2, _LONGEST_BACKOFF))
                pause = interval
            case outcome:
                return answered_by(outcome)
        if at >= deadline:
            return None


def _wait_until(client: Client, until: float, is_cancelled: Callable[[], bool]) -> None:
    while (left := until - client.clock.monotonic()) > 0:
        go_on(is_cancelled)
        client.clock.sleep(min(left, _LOOK_EVERY))
    go_on(is_cancelled)
