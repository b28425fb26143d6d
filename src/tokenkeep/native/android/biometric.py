"""Android's own prompt for a finger, a face or the screen lock, and what became of it.

The prompt reports to an abstract class, which Python cannot extend: `sources.java_folder()` has the
one Java file that an application compiles in to have it.
"""

from __future__ import annotations

from typing import Any

from tokenkeep.errors import InteractionDenied, StoreError, StoreTimeout, StoreUnavailable
from tokenkeep.item import Call, Interaction
from tokenkeep.native.again import Pauses
from tokenkeep.native.android import application
from tokenkeep.native.android.codes import PROMPT, UNKNOWN, Meaning
from tokenkeep.native.android.jvm import Bridge, JavaThrown, run, run_here
from tokenkeep.native.android.keystore import Confirm, sdk

_OUTCOME = "org.tokenkeep.android.PromptOutcome"
_CONFIRMED = 0
#: `setAllowedAuthenticators` came with it.
_LEAST_API = 30
#: Milliseconds of one wait, so that the deadline is noticed.
_TICK = 100
#: Seconds until a prompt is shown again that a busy sensor had ended.
_BUSY_PAUSE = 0.5
#: `BiometricManager.Authenticators`.
BIOMETRIC_STRONG, DEVICE_CREDENTIAL = 0x000F, 0x8000

_HINTS = {
    Meaning.LOCKED: "wait, or unlock the device with its screen lock",
    Meaning.UNAVAILABLE: "set up a screen lock or a fingerprint in the device's settings",
    Meaning.FULL: "make room on the device",
}


class NothingEnrolled(StoreUnavailable):
    """No finger, face or screen lock is set up; set one up in the device's settings."""


class SensorBusy(StoreTimeout):
    """The sensor was busy for as long as there was time; try again later."""


class PromptTimedOut(InteractionDenied):
    """Android took the prompt away, as nobody answered it; do not ask again at once."""


#: `BIOMETRIC_ERROR_...` that mean more to a caller than their kind does.
_NAMED: dict[int, type[StoreError]] = {
    1: SensorBusy,  # HW_UNAVAILABLE
    2: SensorBusy,  # UNABLE_TO_PROCESS
    3: PromptTimedOut,  # TIMEOUT
    11: NothingEnrolled,  # NO_BIOMETRICS
    14: NothingEnrolled,  # NO_DEVICE_CREDENTIAL
}


def outcome_error(code: int) -> StoreError:
    """The error for a code of onAuthenticationError."""
    meaning = PROMPT.get(code, UNKNOWN)
    error = _NAMED.get(code, meaning.error)
    return error(f"the prompt ended with code {code}", hint=_HINTS.get(meaning))


def confirmation(call: Call, title: str, authenticators: int) -> Confirm:
    """What shows the prompt and returns once the person has confirmed.

    Where the sensor is busy the prompt is shown again, within the call's deadline.

    Call this on a thread of the application's: others do not find its classes.

    Args:
        authenticators: `BIOMETRIC_STRONG`, `DEVICE_CREDENTIAL`, or both or-ed.

    Raises (both here and in what is returned):
        InteractionDenied: the person cancelled, or the call allows no prompt.
        PromptTimedOut: Android did not wait longer.
        StoreTimeout: the deadline has passed; the prompt was taken back.
        SensorBusy: the sensor was busy all the time.
        StoreLocked: too many attempts.
        StoreFull: the device has no room for the prompt to work.
        NothingEnrolled: there is nothing to confirm with.
        StoreUnavailable: the prompt cannot be shown here.
    """
    if call.interaction == Interaction.NEVER:
        raise InteractionDenied("a person has to confirm, and prompting is not allowed")
    outcome_class, context = _parts(call)

    def confirm(way: Bridge, cipher: Any) -> None:
        pauses = Pauses(call, _BUSY_PAUSE, _BUSY_PAUSE)
        while True:
            code = _show(way, call, outcome_class(), context, title, authenticators, cipher)
            if code == _CONFIRMED:
                return
            if PROMPT.get(code) is not Meaning.BUSY or not pauses.wait():
                raise outcome_error(code)

    return confirm


def confirm(call: Call, title: str, authenticators: int) -> None:
    """Shows the prompt, for nothing but a person's confirmation; raises as `confirmation`."""
    ask = confirmation(call, title, authenticators)
    problem: str | None = None
    try:
        run(call, "the prompt", lambda way: ask(way, None))
    except JavaThrown as exc:
        problem = str(exc)
    if problem is not None:
        raise StoreUnavailable(f"the prompt cannot be shown: {problem}")


def require_prompt(call: Call) -> None:
    """Ends what will need the prompt where it can never be shown.

    Raises:
        StoreUnavailable: the application was built without the Java file, or is no application.
    """
    _parts(call)


def _parts(call: Call) -> tuple[Any, Any]:
    """The Java file's class and the context to show the prompt in."""
    context = application.context(call)
    problem: str | None = None
    try:
        return run_here(call, "looking for the prompt", lambda way: way.load(_OUTCOME)), context
    except JavaThrown as exc:
        problem = str(exc)
    raise StoreUnavailable(
        f"this application was built without tokenkeep's Java file ({problem})",
        hint="add the folder tokenkeep.native.android.sources.java_folder() to its build",
    )


def _show(
    way: Bridge,
    call: Call,
    outcome: Any,
    context: Any,
    title: str,
    authenticators: int,
    cipher: Any,
) -> int:
    """What became of one prompt."""
    if sdk(way) < _LEAST_API:
        raise StoreUnavailable(f"the prompt needs Android's API level {_LEAST_API}")
    signal = way.load("android.os.CancellationSignal")()
    builder = way.load("android.hardware.biometrics.BiometricPrompt$Builder")(context)
    builder.setTitle(title)
    builder.setAllowedAuthenticators(authenticators)
    if not authenticators & DEVICE_CREDENTIAL:
        builder.setNegativeButton("Cancel", outcome, outcome)  # else build() refuses
    prompt = builder.build()
    if cipher is None:
        prompt.authenticate(signal, outcome, outcome)
    else:
        crypto = way.load("android.hardware.biometrics.BiometricPrompt$CryptoObject")(cipher)
        prompt.authenticate(crypto, signal, outcome, outcome)
    while not outcome.waitFor(_TICK):
        if call.remaining() == 0.0:
            signal.cancel()
            raise StoreTimeout("nobody confirmed in time")
    return int(outcome.code())
