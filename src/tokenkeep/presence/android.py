"""Android's BiometricPrompt: a finger, a face or the screen lock."""

from __future__ import annotations

from tokenkeep.errors import (
    InteractionDenied,
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
    StoreError,
    StoreLocked,
    StoreTimeout,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call


class BiometricPrompt:
    """A `Verifier` for Android 11 and newer; not run on a device by its authors.

    Args:
        allow_screen_lock: the PIN, pattern or password of the screen will do as well.
    """

    name = "biometric prompt"

    def __init__(self, *, allow_screen_lock: bool = True) -> None:
        self.allow_screen_lock = allow_screen_lock

    def verify(self, reason: str, call: Call) -> None:
        """Shows Android's own prompt; raises as `Verifier.verify`."""
        from tokenkeep.native.android import biometric

        wanted = biometric.BIOMETRIC_STRONG
        if self.allow_screen_lock:
            wanted |= biometric.DEVICE_CREDENTIAL
        problem: PresenceError
        try:
            biometric.confirm(call, reason, wanted)
            return
        except biometric.SensorBusy as exc:
            problem = PresenceUnavailable(str(exc), hint="wait a moment, then ask again")
        except (StoreTimeout, biometric.PromptTimedOut):
            problem = PresenceDenied("nobody answered in time", reason="timed out")
        except InteractionDenied as exc:
            problem = PresenceDenied(str(exc), reason="cancelled")
        except StoreLocked as exc:
            problem = PresenceLockedOut(str(exc), hint=exc.hint)
        except biometric.NothingEnrolled as exc:
            problem = NotEnrolled(str(exc), hint=exc.hint)
        except StoreError as exc:  # it cannot be shown here, or has no room to work
            problem = PresenceUnavailable(str(exc), hint=exc.hint)
        raise problem
