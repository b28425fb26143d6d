"""The platforms' own questions, over stand-ins: none of them can be run here."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tokenkeep.errors import (
    MissingExtra,
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
)
from tokenkeep.item import Call
from tokenkeep.native import windows_hello
from tokenkeep.presence.windows_hello import WindowsHello


class Consent:
    """WinRT's verifier: what it answers by name, or never."""

    def __init__(self, available: str = "AVAILABLE", result: str | None = "VERIFIED") -> None:
        self.available, self.result = available, result
        self.reasons: list[str] = []

    def check_availability_async(self) -> Any:
        return SimpleNamespace(get=lambda: SimpleNamespace(name=self.available))

    def request_verification_async(self, reason: str) -> Any:
        self.reasons.append(reason)

        def get() -> Any:
            if self.result is None:
                time.sleep(5)
            return SimpleNamespace(name=self.result)

        return SimpleNamespace(get=get)


@pytest.fixture
def hello(monkeypatch: pytest.MonkeyPatch) -> Callable[[Consent], WindowsHello]:
    def made(consent: Consent) -> WindowsHello:
        monkeypatch.setattr(windows_hello, "_verifier", lambda: consent)
        return WindowsHello()

    return made


def test_a_confirmed_question_passes(hello: Callable[[Consent], WindowsHello]) -> None:
    """The person is told why."""
    consent = Consent()
    hello(consent).verify("show the PIN", Call(5))
    assert ["show the PIN"] == consent.reasons


#: Windows.Security.Credentials.UI, both enumerations whole.
RESULTS = {
    "DEVICE_NOT_PRESENT": PresenceUnavailable,
    "NOT_CONFIGURED_FOR_USER": NotEnrolled,
    "DISABLED_BY_POLICY": PresenceUnavailable,
    "DEVICE_BUSY": PresenceUnavailable,
    "RETRIES_EXHAUSTED": PresenceLockedOut,
    "CANCELED": PresenceDenied,
    "SOMETHING_NEW": PresenceUnavailable,
}


@pytest.mark.parametrize(("name", "error"), RESULTS.items())
def test_every_result_has_its_error(
    hello: Callable[[Consent], WindowsHello], name: str, error: type[PresenceError]
) -> None:
    """Cancelled, locked out, not enrolled and not available are four answers."""
    with pytest.raises(error):
        hello(Consent(result=name)).verify("x", Call(5))
    if name in windows_hello.AVAILABILITY or name == "SOMETHING_NEW":
        consent = Consent(available=name)
        with pytest.raises(error):
            hello(consent).verify("x", Call(5))
        assert [] == consent.reasons


def test_the_tables_have_every_name() -> None:
    """As the package's own enumerations list them."""
    assert {*RESULTS, "VERIFIED"} - {"SOMETHING_NEW"} == set(windows_hello.RESULTS)
    assert 5 == len(windows_hello.AVAILABILITY)


def test_a_question_that_nobody_answers_ends_in_time(
    hello: Callable[[Consent], WindowsHello],
) -> None:
    """The deadline is the caller's."""
    started = time.monotonic()
    with pytest.raises(PresenceDenied) as caught:
        hello(Consent(result=None)).verify("x", Call(0.2))
    assert "timed out" == caught.value.reason
    assert time.monotonic() - started < 3


def test_without_the_package_the_extra_is_named() -> None:
    """Here it cannot be installed."""
    with pytest.raises(MissingExtra, match="windows-hello"):
        WindowsHello().verify("x", Call(5))
