"""LocalAuthentication: its errors entry by entry, and the messages and block over a stand-in."""

from __future__ import annotations

import ctypes
import re
import time
from pathlib import Path

import pytest

from support.keychain_stand_in import StandIn, library
from support.services import PYOBJC_METADATA
from tokenkeep.errors import (
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
)
from tokenkeep.item import Call
from tokenkeep.native import local_authentication as native
from tokenkeep.native.apple.core_foundation import CoreFoundation
from tokenkeep.native.apple.objective_c import ObjectiveC
from tokenkeep.native.local_authentication import LA_ERRORS, error_for
from tokenkeep.presence.local_authentication import LocalAuthentication

#: Apple's number and name, our error, and a denial's reason.
TABLE: list[tuple[int, str, type[PresenceError], str]] = [
    (-1, "authenticationFailed", PresenceDenied, "failed"),
    (-2, "userCancel", PresenceDenied, "cancelled"),
    (-3, "userFallback", PresenceDenied, "cancelled"),
    (-4, "systemCancel", PresenceDenied, "cancelled"),
    (-5, "passcodeNotSet", PresenceUnavailable, ""),
    (-6, "biometryNotAvailable", PresenceUnavailable, ""),
    (-7, "biometryNotEnrolled", NotEnrolled, ""),
    (-8, "biometryLockout", PresenceLockedOut, ""),
    (-9, "appCancel", PresenceDenied, "cancelled"),
    (-10, "invalidContext", PresenceUnavailable, ""),
    (-11, "companionNotAvailable", PresenceUnavailable, ""),
    (-12, "biometryNotPaired", PresenceUnavailable, ""),
    (-13, "biometryDisconnected", PresenceUnavailable, ""),
    (-14, "invalidDimensions", PresenceUnavailable, ""),
    (-1004, "notInteractive", PresenceLockedOut, ""),
]


class Apple(StandIn):
    """The stand-in with the runtime's switches and counters."""

    def _variable(self, name: str) -> ctypes.c_long | ctypes.c_int:
        if name in ("contexts", "pools", "invalidated"):
            return ctypes.c_long.in_dll(self.calls, f"stand_in_{name}")
        return super()._variable(name)

    @property
    def reason(self) -> str:
        return (ctypes.c_char * 200).in_dll(self.calls, "stand_in_reason").value.decode()

    def is_at_rest(self) -> bool:
        """Whether everything was released, at the latest in a moment."""
        until = time.monotonic() + 10
        while (self.contexts or self.live) and time.monotonic() < until:
            time.sleep(0.002)
        return (0, 0, 0, 0, 0) == (
            self.contexts,
            self.live,
            self.pools,
            self.misuses,
            self.violations,
        )


@pytest.fixture
def apple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apple:
    made = Apple(library("objective_c.c"))
    made.begin(str(tmp_path / "items"), "darwin")
    for name in ("can", "reply", "has_no_class", "invalidated"):
        setattr(made, name, 0)
    core = CoreFoundation(ctypes.CDLL(made.path))
    runtime = ObjectiveC(ctypes.CDLL(made.path), ctypes.CDLL(made.path))
    bound = native.LocalAuthentication(core, runtime)
    monkeypatch.setattr(native, "local_authentication", lambda: bound)
    return made


def test_the_table_is_complete() -> None:
    """What is translated is what is tested."""
    assert {code for code, _name, _kind, _reason in TABLE} == LA_ERRORS.keys()


@pytest.mark.parametrize(("code", "name", "kind", "reason"), TABLE)
def test_error_means(code: int, name: str, kind: type[PresenceError], reason: str) -> None:
    """One code, one of our errors, which names it."""
    problem = error_for(code)
    assert kind is type(problem)
    assert f"({name}, {code})" in str(problem)
    if isinstance(problem, PresenceDenied):
        assert reason == problem.reason
    # What passes by itself says how.
    assert problem.is_temporary == ("then ask again" in (problem.hint or ""))


@pytest.mark.parametrize("code", [None, 0, -99])
def test_unknown_error_confirms_nothing(code: int | None) -> None:
    """Nor does an answer without an error."""
    assert PresenceUnavailable is type(error_for(code))


@pytest.mark.requires("pyobjc metadata")
def test_numbers_and_policies_are_apples() -> None:
    """As pyobjc has them from the headers."""
    text = (PYOBJC_METADATA / "LocalAuthentication" / "_metadata.py").read_text(encoding="utf-8")
    known = {name: int(number) for name, number in re.findall(r"\$(\w+)@(-?\d+)(?=\$)", text)}
    for code, name, _kind, _reason in TABLE:
        assert code == known[f"LAError{name[0].upper()}{name[1:]}"]
    assert native.BIOMETRY == known["LAPolicyDeviceOwnerAuthenticationWithBiometrics"]
    assert native.BIOMETRY_OR_PASSCODE == known["LAPolicyDeviceOwnerAuthentication"]


@pytest.mark.requires("c compiler")
@pytest.mark.parametrize("allow_passcode", [True, False])
def test_confirmed(apple: Apple, allow_passcode: bool) -> None:
    """The reason is shown; nothing is left, also after many questions."""
    for _ in range(20):
        LocalAuthentication(allow_passcode=allow_passcode).verify("show the PIN ✓", Call(20.0))
    assert "show the PIN ✓" == apple.reason
    assert apple.is_at_rest()


@pytest.mark.requires("c compiler")
def test_empty_reason_is_not_passed_on(apple: Apple) -> None:
    """LAContext raises an exception of Objective-C for one, which would end the process."""
    LocalAuthentication().verify("  ", Call(20.0))
    assert apple.reason
    assert apple.is_at_rest()


@pytest.mark.requires("c compiler")
@pytest.mark.parametrize("switch", ["can", "reply"])
@pytest.mark.parametrize(("code", "name", "kind", "reason"), TABLE)
def test_refused(
    apple: Apple, switch: str, code: int, name: str, kind: type[PresenceError], reason: str
) -> None:
    """Before the question or by the answer to it: our error, and nothing is left."""
    setattr(apple, switch, code)
    with pytest.raises(PresenceError, match=name) as caught:
        LocalAuthentication().verify("show", Call(20.0))
    assert kind is type(caught.value)
    assert apple.is_at_rest()


@pytest.mark.requires("c compiler")
def test_unanswered_question_is_taken_back(apple: Apple) -> None:
    """Denied at the deadline, and gone from the screen."""
    apple.reply = 1
    began = time.monotonic()
    with pytest.raises(PresenceDenied) as caught:
        LocalAuthentication().verify("show", Call(0.2))
    assert "timed out" == caught.value.reason
    assert time.monotonic() - began < 5.0
    assert 1 == apple.invalidated
    assert apple.is_at_rest()


@pytest.mark.requires("c compiler")
def test_system_that_hangs_shows_nothing_later(apple: Apple) -> None:
    """The deadline holds before the question too; when the system comes back, nobody is asked."""
    apple.hangs = 1
    with pytest.raises(PresenceDenied):
        LocalAuthentication().verify("too late", Call(0.2))
    apple.hangs = 0
    time.sleep(0.05)
    assert "too late" != apple.reason
    assert apple.is_at_rest()


@pytest.mark.requires("c compiler")
def test_system_without_the_class(apple: Apple) -> None:
    """An old system, or one without the framework."""
    apple.has_no_class = 1
    with pytest.raises(PresenceUnavailable):
        LocalAuthentication().verify("show", Call(20.0))
    assert apple.is_at_rest()


def test_elsewhere_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, without loading anything."""
    monkeypatch.setattr("sys.platform", "linux")
    native.local_authentication.cache_clear()
    with pytest.raises(PresenceUnavailable, match="macOS and iOS only"):
        LocalAuthentication().verify("show", Call(1.0))
