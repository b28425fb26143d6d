"""A login on another device, where a person enters a code (RFC 8628)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    CHECK_THE_NETWORK,
    LOG_IN_AGAIN,
    LoginResult,
    answered_by,
    checked_scope,
    confirmed,
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
from tokenkeep.oauth.transport import NoAnswer, NotSent

if TYPE_CHECKING:
    from tokenkeep.oauth.client import Client

#: RFC 8628, section 3.5: slow_down adds 5 seconds "for this and all subsequent requests".
_SLOW_DOWN_SECONDS = 5.0


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
    metadata = reached_metadata(client, timeout)
    device = _device_authorization(client, metadata, wanted, seconds_left(client, deadline))
    deadline = min(deadline, client.clock.monotonic() + device.shown.expires_in)
    on_code(device.shown)
    dpop_key = new_key(client, metadata)
    answered = _polled(client, metadata, device, deadline, dpop_key)
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
        raise ProtocolViolation(device)
    error = error_code(response, request.secrets())
    if error is not None and response.status < 500:
        raise ProviderRefused(f"the provider refused the device login ({error})", error=error)
    raise LoginFailed(
        f"the provider answered {response.status} to the device login", hint=LOG_IN_AGAIN
    )


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
        match client.token_request(request, seconds_left(client, deadline), dpop_key):
            case Misconfigured("authorization_pending", _):
                pass
            case Misconfigured("slow_down", _):
                interval = min(interval + _SLOW_DOWN_SECONDS, messages.MAX_POLL_INTERVAL)
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
                return answered_by(outcome)
