"""A device login polls as it is told to, and ends as a login in the browser does.

The fake clock makes waiting instant, and the server's interval is not enforced.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from support.captured import captured
from tokenkeep.errors import (
    LoginCancelled,
    LoginFailed,
    ProtocolViolation,
    ProviderRefused,
    SessionError,
)
from tokenkeep.oauth.client import Client
from tokenkeep.oauth.device_login import device_login
from tokenkeep.oauth.login import LoginResult, never
from tokenkeep.oauth.messages import DeviceCode
from tokenkeep.oauth.provider import Provider
from tokenkeep.oauth.transport import Httpx2Transport, NoAnswer
from tokenkeep.oauth.wire import HttpRequest, HttpResponse
from tokenkeep.testing import authorization_server as broken
from tokenkeep.testing.authorization_server import AuthorizationServer, Endpoint, Policy, When
from tokenkeep.testing.clock import FakeClock

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


class Recorded(Httpx2Transport):
    """The real transport; remembers when each request to the token endpoint was made."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.polled: list[float] = []
        self.lost = 0

    def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
        if request.url.endswith("/token"):
            self.polled.append(self.clock.monotonic())
            if self.lost:
                self.lost -= 1
                raise NoAnswer("it did not answer in time")
        return super().send(request, timeout)


class Device:
    def __init__(self, server: AuthorizationServer, **policy: Any) -> None:
        server.policy = Policy(enforce_device_interval=False, **policy)
        self.server = server
        self.clock = FakeClock(wall=time.time())
        self.transport = Recorded(self.clock)
        self.client = Client(Provider(server.issuer, client_id="notes"), self.transport, self.clock)
        self.shown: list[DeviceCode] = []

    def log_in(
        self,
        decide: Callable[[str], object] = lambda _: None,
        timeout: float = 900.0,
        is_cancelled: Callable[[], bool] = never,
    ) -> LoginResult:
        def show(code: DeviceCode) -> None:
            self.shown.append(code)
            decide(code.user_code)

        scope = ["openid", "offline_access"]
        return device_login(
            self.client, scope=scope, on_code=show, timeout=timeout, is_cancelled=is_cancelled
        )

    def pauses(self) -> list[float]:
        times = self.transport.polled
        return [later - earlier for earlier, later in pairwise(times)]

    def failure(self, kind: type[SessionError], **options: Any) -> SessionError:
        with pytest.raises(SessionError) as caught:
            self.log_in(**options)
        assert type(caught.value) is kind
        assert caught.value.hint
        shown = captured(caught.value)
        for seen in self.server.requests.to(Endpoint.TOKEN):
            assert seen.request.form["device_code"] not in shown
        assert "device-" not in shown
        return caught.value


def test_a_device_login_polls_until_the_person_approved(server: AuthorizationServer) -> None:
    """At the provider's interval; the code and the address are shown first."""
    device = Device(server, device_interval=3, device_polls_until_approved=4)
    result = device.log_in()
    assert result.claims is not None
    assert result.claims.subject == "alice"
    assert device.pauses() == [3.0, 3.0, 3.0]
    assert device.shown[0].verification_uri.startswith(server.issuer)


def test_without_an_interval_five_seconds_pass(server: AuthorizationServer) -> None:
    """RFC 8628 section 3.2."""
    device = Device(server, device_interval=None, device_polls_until_approved=3)
    device.log_in()
    assert device.pauses() == [5.0, 5.0]


def test_an_interval_of_many_minutes_is_kept(server: AuthorizationServer) -> None:
    """Section 3.5: nothing is asked sooner, also where an answer was lost."""
    device = Device(
        server, device_interval=400, device_polls_until_approved=3, device_seconds=3000.0
    )
    device.transport.lost = 1
    device.log_in(timeout=3000.0)
    assert device.pauses() == [400.0, 400.0, 400.0]


def test_slow_down_adds_five_seconds_for_good(server: AuthorizationServer) -> None:
    """RFC 8628 section 3.5."""
    device = Device(server, device_interval=2, device_polls_until_approved=2)
    server.faults.add(Endpoint.TOKEN, broken.OAuthError("slow_down"), times=2)
    device.log_in()
    assert device.pauses() == [7.0, 12.0, 12.0]


@pytest.mark.parametrize("seconds", [0.0, 4.0, 5.5, 31.0])
def test_a_login_that_is_given_up_is_not_asked_for_any_more(
    server: AuthorizationServer, seconds: float
) -> None:
    """At whatever moment, it is over a quarter of a second later."""
    device = Device(server, device_interval=5)
    began = device.clock.monotonic()
    device.failure(LoginCancelled, is_cancelled=lambda: device.clock.monotonic() - began >= seconds)
    assert device.clock.monotonic() - began <= seconds + 0.25
    assert seconds // 5 == len(device.transport.polled)


def test_lost_answers_and_a_busy_provider_make_the_polls_rarer(
    server: AuthorizationServer,
) -> None:
    """Section 3.5: back off on time-outs; Retry-After is honoured."""
    device = Device(server, device_interval=2, device_polls_until_approved=2)
    device.transport.lost = 2
    server.faults.add(Endpoint.TOKEN, broken.Status(503, 40))
    device.log_in()
    assert device.pauses() == [4.0, 8.0, 40.0, 8.0]


def test_a_person_who_says_no_on_the_other_device_cancelled(server: AuthorizationServer) -> None:
    """access_denied."""
    device = Device(server)
    problem = device.failure(LoginCancelled, decide=server.deny_device)
    assert str(problem) == "the login was declined"


def test_an_expired_code_is_a_cancelled_login(server: AuthorizationServer) -> None:
    """Whether the provider says so or the time it gave is over."""
    device = Device(server)
    server.faults.add(Endpoint.TOKEN, broken.OAuthError("expired_token"))
    problem = device.failure(LoginCancelled)
    assert len(device.transport.polled) == 1
    device = Device(server, device_seconds=30.0, device_interval=4)
    assert str(problem) == str(device.failure(LoginCancelled))
    assert device.shown[0].expires_in == 30.0
    assert device.pauses() == [4.0] * 7


def test_a_device_login_ends_at_its_own_deadline(server: AuthorizationServer) -> None:
    """One question later at most; the person is told the time asked for, and not the code's."""
    device = Device(server, device_interval=4, device_seconds=900.0)
    began = device.clock.monotonic()
    problem = device.failure(LoginCancelled, timeout=10.0)
    assert device.clock.monotonic() - began == pytest.approx(12.0)
    assert device.pauses() == [4.0, 4.0]
    assert device.shown[0].expires_in == pytest.approx(10.0)
    assert "nobody approved the login in time" == str(problem)
    assert "--timeout" in (problem.hint or "")


@pytest.mark.parametrize(("lifetime", "patience"), [(9.0, 900.0), (900.0, 9.0)])
def test_an_approval_in_the_last_moment_counts(
    server: AuthorizationServer, lifetime: float, patience: float
) -> None:
    """The last question comes an interval after the one before, though that is after the deadline.

    What follows it has time of its own.
    """
    device = Device(server, device_interval=4, device_seconds=lifetime)

    class Late(Recorded):
        def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
            if len(self.polled) == 2 and request.url.endswith("/token"):
                assert server.approve_device(device.shown[0].user_code)
            return super().send(request, timeout)

    device.transport = Late(device.clock)
    device.client = Client(device.client.provider, device.transport, device.clock)
    assert device.log_in(timeout=patience).claims is not None
    assert device.pauses() == [4.0, 4.0]


@pytest.mark.parametrize(
    ("fault", "pauses"),
    [
        (broken.OAuthError("slow_down"), []),
        (broken.Status(503, 40), []),
        (broken.Status(503, 9), [9.0]),
        (broken.Status(503), [4.0, 4.0]),
    ],
    ids=repr,
)
def test_the_last_question_waits_as_the_provider_wants(
    server: AuthorizationServer, fault: broken.Fault, pauses: list[float]
) -> None:
    """Also near the deadline (section 3.5); one that would come too late is dropped."""
    device = Device(server, device_interval=4)
    server.faults.add(Endpoint.TOKEN, fault)
    timeout = 7.0 if isinstance(fault, broken.OAuthError) else 10.0
    began = device.clock.monotonic()
    device.failure(LoginCancelled, timeout=timeout)
    assert device.pauses() == pauses
    assert timeout <= device.clock.monotonic() - began <= timeout + 5.0


@pytest.mark.parametrize(("interval", "pauses"), [(4, [6.0]), (7, [])])
def test_a_question_that_outlasts_the_deadline_is_not_repeated_at_once(
    server: AuthorizationServer, interval: int, pauses: list[float]
) -> None:
    """An interval passes first, from the answer on."""
    device = Device(server, device_interval=interval)

    class Slow(Recorded):
        def send(self, request: HttpRequest, timeout: float) -> HttpResponse:
            response = super().send(request, timeout)
            if len(self.polled) == 1 and request.url.endswith("/token"):
                self.clock.advance(2.0)
            return response

    device.transport = Slow(device.clock)
    device.client = Client(device.client.provider, device.transport, device.clock)
    device.failure(LoginCancelled, timeout=interval + 1.0)
    assert device.pauses() == pauses


@pytest.mark.parametrize(
    ("endpoint", "fault", "kind"),
    [
        (Endpoint.DEVICE, broken.OAuthError("invalid_client"), ProviderRefused),
        (Endpoint.DEVICE, broken.OAuthError("invalid_scope"), ProviderRefused),
        (Endpoint.DEVICE, broken.Status(503), LoginFailed),
        (Endpoint.DEVICE, broken.Html(), LoginFailed),
        (Endpoint.DEVICE, broken.Drop(When.BEFORE), LoginFailed),
        (Endpoint.DEVICE, broken.WithFields({"user_code": 7}), ProtocolViolation),
        (
            Endpoint.DEVICE,
            broken.WithFields({"verification_uri": "http://evil.example"}),
            ProtocolViolation,
        ),
        (Endpoint.TOKEN, broken.OAuthError("invalid_grant"), LoginFailed),
        (Endpoint.TOKEN, broken.OAuthError("unauthorized_client"), ProviderRefused),
        (Endpoint.TOKEN, broken.ForgedIdToken(), ProtocolViolation),
    ],
    ids=repr,
)
def test_every_fault_of_a_device_login_has_its_failure(
    server: AuthorizationServer,
    endpoint: Endpoint,
    fault: broken.Fault,
    kind: type[SessionError],
) -> None:
    """As with a browser."""
    device = Device(server, device_polls_until_approved=1)
    server.faults.add(endpoint, fault)
    device.failure(kind)


def test_a_provider_without_device_logins_says_what_to_do(server: AuthorizationServer) -> None:
    """Use the browser."""
    server.faults.add(Endpoint.METADATA, broken.WithoutFields(("device_authorization_endpoint",)))
    problem = Device(server).failure(ProviderRefused)
    assert problem.hint == "log in with a browser"
