"""`BiometricPrompt` as a verifier, on the device of the lab: each end is an error of presence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from native.test_android_codes import PROMPT_CODES
from on_android.device import device, load, people
from tokenkeep.backends.android import AndroidOptions, AndroidStore, Authenticator
from tokenkeep.backends.android import UserAuthentication as Person
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import (
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
    StoreTimeout,
)
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.presence.android import BiometricPrompt
from tokenkeep.presence.gate import PresenceGate
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage

#: Each code of the prompt, our error, and a denial's reason.
ENDS: list[tuple[int, type[PresenceError], str]] = [
    (1, PresenceUnavailable, ""),
    (2, PresenceUnavailable, ""),
    (3, PresenceDenied, "timed out"),
    (4, PresenceUnavailable, ""),
    (5, PresenceDenied, "cancelled"),
    (7, PresenceLockedOut, ""),
    (8, PresenceUnavailable, ""),
    (9, PresenceLockedOut, ""),
    (10, PresenceDenied, "cancelled"),
    (11, NotEnrolled, ""),
    (12, PresenceUnavailable, ""),
    (13, PresenceDenied, "cancelled"),
    (14, NotEnrolled, ""),
    (15, PresenceUnavailable, ""),
    (99, PresenceUnavailable, ""),
]
BUSY = [1, 2]


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    return device(str(tmp_path))


def asking(seconds: float = 5.0) -> Call:
    return Call(seconds, Interaction.ALLOWED)


@pytest.mark.parametrize("allow_screen_lock", [True, False])
def test_a_person_confirms(lab: Any, allow_screen_lock: bool) -> None:
    """With the reason on the prompt, after a finger that was not recognised; for no cipher."""
    people().confirming()
    BiometricPrompt(allow_screen_lock=allow_screen_lock).verify("Show the PIN", asking())
    assert (1, "Show the PIN", False) == (
        people().met,
        people().lastTitle,
        people().lastWasForCipher,
    )


def test_every_end_is_tested() -> None:
    """As many as the table of the platform has, and one that it does not know."""
    assert [code for code, _error in PROMPT_CODES] == [code for code, *_rest in ENDS[:-1]]


@pytest.mark.parametrize("allow_screen_lock", [True, False])
@pytest.mark.parametrize(("code", "error", "reason"), ENDS)
def test_every_end_is_an_error_of_presence(
    lab: Any, code: int, error: type[PresenceError], reason: str, allow_screen_lock: bool
) -> None:
    """Through a gate, which reads nothing; the next proof may succeed."""
    storage = SecureStorage("org.example.notes", MemoryStore())
    storage.write("pin", "1234")
    prompt = BiometricPrompt(allow_screen_lock=allow_screen_lock)
    gate = PresenceGate(storage, prompt, timeout=1.5)
    people().failing(code)
    with pytest.raises(PresenceError) as caught:
        gate.read("pin")
    assert error is type(caught.value)
    assert "hunter2" not in str(caught.value)
    if isinstance(caught.value, PresenceDenied):
        assert reason == caught.value.reason
    assert (code in BUSY) == (people().met > 1)
    people().confirming()
    assert Secret("1234") == gate.read("pin")


@pytest.mark.parametrize("code", BUSY)
def test_a_busy_sensor_is_asked_again(lab: Any, code: int) -> None:
    """What is busy twice and then confirms was never a failure."""
    people().busy(code, 2)
    BiometricPrompt().verify("x", asking(10.0))
    assert 3 == people().met


@pytest.mark.parametrize("code", BUSY)
def test_a_sensor_that_stays_busy_is_told_by_the_deadline(lab: Any, code: int) -> None:
    """Not as a person who did not come; and not every moment another prompt."""
    people().failing(code)
    began = time.monotonic()
    with pytest.raises(PresenceUnavailable, match=f"code {code}") as caught:
        BiometricPrompt().verify("x", asking(2.0))
    assert time.monotonic() - began < 2.5
    assert "again" in (caught.value.hint or "")
    assert 2 <= people().met <= 5


@pytest.mark.parametrize("code", BUSY)
def test_a_store_behind_the_prompt_asks_again_as_well(lab: Any, code: int) -> None:
    """In the middle of a cipher's use; a sensor that stays busy has lost nothing."""
    item = ItemName("org.example", "token")
    options = AndroidOptions(user_authentication=Person(by=Authenticator.BIOMETRIC))
    people().confirming()
    store = AndroidStore(options)
    store.write(item, Secret("kept"), asking(30.0))
    store.close()
    people().failing(code)
    with pytest.raises(StoreTimeout, match=f"code {code}"):
        store.read(item, asking(1.5))
    people().busy(code, 2)
    assert Secret("kept") == store.read(item, asking(10.0))


def test_nobody_there_ends_at_the_deadline(lab: Any) -> None:
    """The prompt is taken back."""
    people().absent()
    began = time.monotonic()
    with pytest.raises(PresenceDenied) as caught:
        BiometricPrompt().verify("x", asking(0.7))
    assert "timed out" == caught.value.reason
    assert time.monotonic() - began < 3.0
    time.sleep(0.5)
    assert people().wasCancelled


def test_an_older_android_has_no_such_prompt(lab: Any) -> None:
    """Android 11 is API level 30."""
    people().confirming()
    load("android.os.Build$VERSION").SDK_INT = 29
    with pytest.raises(PresenceUnavailable, match="level 30"):
        BiometricPrompt().verify("x", asking())
    assert 0 == people().met


def test_an_application_without_the_java_file_is_told_how_to_have_it(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where there is no application at all."""
    monkeypatch.setattr("tokenkeep.native.android.biometric._OUTCOME", "org.tokenkeep.Missing")
    with pytest.raises(PresenceUnavailable, match="Java file") as caught:
        BiometricPrompt().verify("x", asking())
    assert "java_folder" in (caught.value.hint or "")
    load("org.kivy.android.PythonActivity").mActivity = None
    with pytest.raises(PresenceUnavailable, match="no Android application"):
        BiometricPrompt().verify("x", asking())


def test_where_nothing_may_be_shown_nothing_is(lab: Any) -> None:
    """The call says so."""
    people().confirming()
    with pytest.raises(PresenceDenied):
        BiometricPrompt().verify("x", Call())
    assert 0 == people().met
