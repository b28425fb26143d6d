"""Windows Hello through WinRT's UserConsentVerifier; the only importer of winrt.

Not run on Windows by its authors: the table below is tested against the package's own enumerations,
the rest with a stand-in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenkeep.errors import (
    MissingExtra,
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
)

if TYPE_CHECKING:
    from tokenkeep.item import Call

_NO_READER = (PresenceUnavailable, "this machine has neither a reader nor a PIN for Windows Hello")
_NOT_SET_UP = (NotEnrolled, "Windows Hello is not set up for this user")
_FORBIDDEN = (PresenceUnavailable, "a policy of this machine forbids Windows Hello")
_BUSY = (PresenceUnavailable, "Windows Hello is busy with another question")

#: Windows.Security.Credentials.UI.UserConsentVerifierAvailability, by name.
AVAILABILITY: dict[str, tuple[type[PresenceError], str] | None] = {
    "AVAILABLE": None,
    "DEVICE_NOT_PRESENT": _NO_READER,
    "NOT_CONFIGURED_FOR_USER": _NOT_SET_UP,
    "DISABLED_BY_POLICY": _FORBIDDEN,
    "DEVICE_BUSY": _BUSY,
}
#: Windows.Security.Credentials.UI.UserConsentVerificationResult, by name.
RESULTS: dict[str, tuple[type[PresenceError], str] | None] = {
    "VERIFIED": None,
    "DEVICE_NOT_PRESENT": _NO_READER,
    "NOT_CONFIGURED_FOR_USER": _NOT_SET_UP,
    "DISABLED_BY_POLICY": _FORBIDDEN,
    "DEVICE_BUSY": _BUSY,
    "RETRIES_EXHAUSTED": (PresenceLockedOut, "too many attempts failed"),
    "CANCELED": (PresenceDenied, "cancelled"),
}
_UNKNOWN = (PresenceUnavailable, "Windows Hello answered something unknown")


def ask(reason: str, call: Call) -> None:
    """Shows the question; returns once the person has confirmed.

    Raises:
        PresenceError: by the tables above.
        StoreTimeout: nobody answered by the deadline; the question stays on the screen.
        MissingExtra: winrt is not installed.
    """
    from tokenkeep.native.bounded import bounded
    from tokenkeep.native.crew import Crew

    verifier = _verifier()

    def availability() -> str:
        return str(verifier.check_availability_async().get().name)

    def result() -> str:
        return str(verifier.request_verification_async(reason).get().name)

    for table, question in ((AVAILABILITY, availability), (RESULTS, result)):
        verdict = table.get(bounded(call, question, "Windows Hello", Crew(most_idle=0)), _UNKNOWN)
        if verdict is not None:
            kind, message = verdict
            raise kind(message)


def _verifier() -> Any:
    try:
        from winrt.windows.security.credentials.ui import (  # type: ignore[import-not-found]
            UserConsentVerifier,
        )
    except ImportError:
        pass  # raised below
    else:
        return UserConsentVerifier
    raise MissingExtra(extra="windows-hello")
