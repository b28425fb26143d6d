"""Touch ID, Face ID and the account's password through Apple's LocalAuthentication.

Not run on a Mac or an iPhone by its authors: the table is tested against pyobjc's metadata, the
messages and the block with a stand-in for the Objective-C runtime.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import c_bool, c_long, c_void_p
from functools import cache

from tokenkeep.errors import (
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceLockedOut,
    PresenceUnavailable,
    StoreTimeout,
)
from tokenkeep.native.apple.core_foundation import CoreFoundation, Scope
from tokenkeep.native.apple.objective_c import BLOCKS, RUNTIME, ObjectiveC, ReplyBlock
from tokenkeep.native.apple.security import CORE_FOUNDATION, PLATFORMS
from tokenkeep.native.bounded import bounded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call

FRAMEWORK = "/System/Library/Frameworks/LocalAuthentication.framework/LocalAuthentication"

#: LAPolicy: biometry alone; biometry, a companion or the account's password.
BIOMETRY = 1
BIOMETRY_OR_PASSCODE = 2

_DENIED = PresenceDenied
#: LAError -> Apple's name for it, our error, what happened; for a denial its reason besides.
LA_ERRORS: dict[int, tuple[str, type[PresenceError], str, str]] = {
    -1: ("authenticationFailed", _DENIED, "that was not the person", "failed"),
    -2: ("userCancel", _DENIED, "cancelled", "cancelled"),
    -3: ("userFallback", _DENIED, "the person wants another way", "cancelled"),
    -4: ("systemCancel", _DENIED, "the system took the question away", "cancelled"),
    -5: ("passcodeNotSet", PresenceUnavailable, "the device has no passcode", ""),
    -6: ("biometryNotAvailable", PresenceUnavailable, "there is no sensor to use now", ""),
    -7: ("biometryNotEnrolled", NotEnrolled, "no finger or face is enrolled", ""),
    -8: ("biometryLockout", PresenceLockedOut, "too many attempts failed", ""),
    -9: ("appCancel", _DENIED, "the question was taken back", "cancelled"),
    -10: ("invalidContext", PresenceUnavailable, "the question was over before", ""),
    -11: ("companionNotAvailable", PresenceUnavailable, "no companion is near", ""),
    -12: ("biometryNotPaired", PresenceUnavailable, "the sensor is not paired", ""),
    -13: ("biometryDisconnected", PresenceUnavailable, "the sensor is not connected", ""),
    -14: ("invalidDimensions", PresenceUnavailable, "the question cannot be shown", ""),
    -1004: ("notInteractive", PresenceLockedOut, "nothing can be shown now", ""),
}
_HINTS = {
    -8: "unlock the device with its passcode, then ask again",
    -1004: "unlock the device and bring the application to the front, then ask again",
}


def error_for(code: int | None) -> PresenceError:
    """Our error for an LAError; an unknown one confirms nothing."""
    name, kind, meaning, reason = LA_ERRORS.get(
        code or 0, ("", PresenceUnavailable, "unknown answer", "")
    )
    message, hint = f"{meaning} ({name or 'LAError'}, {code})", _HINTS.get(code or 0)
    if kind is PresenceDenied:
        return PresenceDenied(message, reason=reason)
    return kind(message, hint=hint)


class LocalAuthentication:
    """The frameworks, bound; one for a process."""

    def __init__(self, core: CoreFoundation, runtime: ObjectiveC) -> None:
        self._core = core
        self._runtime = runtime

    def ask(self, reason: str, call: Call, policy: int = BIOMETRY_OR_PASSCODE) -> None:
        """Shows the question; returns once the person has confirmed.

        Args:
            reason: shown to the person; the system does not take an empty one.

        Raises:
            PresenceError: by the table, or nobody answered by the deadline: the question is taken
                back then.
        """
        question = _Question()
        block = ReplyBlock(self._runtime.global_block, self._core.calls.CFErrorGetCode)
        is_answered = False  # taking the question back is answered too, and is no answer
        try:
            bounded(call, lambda: self._begin(question, reason, policy, block), "asking the person")
            is_answered = block.arrived.wait(call.remaining())
        except StoreTimeout:
            pass  # raised below, as what it means for a person
        finally:
            question.is_over = True
            self._end(question)
        if not is_answered:
            raise PresenceDenied("nobody answered in time", reason="timed out")
        if not block.is_success:
            raise error_for(block.code)

    def _begin(self, question: _Question, reason: str, policy: int, block: ReplyBlock) -> None:
        runtime, pool = self._runtime, self._runtime.push_pool()
        try:
            kind = runtime.class_named("LAContext")
            if not kind:
                raise PresenceUnavailable("this system has no LocalAuthentication")
            context = runtime.send(runtime.send(kind, "alloc", c_void_p), "init", c_void_p)
            try:
                self._check(context, policy)
                if not question.is_over:
                    self._show(context, policy, reason, block)
            finally:
                question.contexts.append(context)
                if question.is_over:  # nobody waits any more
                    self._end(question)
        finally:
            runtime.pop_pool(pool)

    def _check(self, context: int, policy: int) -> None:
        problem = c_void_p()
        address = ctypes.addressof(problem)
        can = self._runtime.send(
            context, "canEvaluatePolicy:error:", c_bool, (c_long, policy), (c_void_p, address)
        )
        if not can:  # the error is lent until the pool is popped
            code = self._core.calls.CFErrorGetCode(problem.value) if problem.value else None
            raise error_for(code)

    def _show(self, context: int, policy: int, reason: str, block: ReplyBlock) -> None:
        with Scope(self._core) as scope:
            self._runtime.send(
                context,
                "evaluatePolicy:localizedReason:reply:",
                None,
                (c_long, policy),
                (c_void_p, scope.text(reason.strip() or "confirm that it is you")),
                (c_void_p, block.address),
            )

    def _end(self, question: _Question) -> None:
        """Takes the question back if it is still shown; whoever comes first does it, once."""
        try:
            context = question.contexts.pop()
        except IndexError:
            return
        self._runtime.send(context, "invalidate", None)
        self._runtime.send(context, "release", None)


class _Question:
    """One question: its context, as long as somebody has to end it."""

    __slots__ = ("contexts", "is_over")

    def __init__(self) -> None:
        self.contexts: list[int] = []
        self.is_over = False


def ask(reason: str, call: Call, policy: int = BIOMETRY_OR_PASSCODE) -> None:
    """Shows this system's question; raises as `LocalAuthentication.ask`."""
    local_authentication().ask(reason, call, policy)


@cache
def local_authentication() -> LocalAuthentication:
    """This process's frameworks.

    Raises:
        PresenceUnavailable: this is no Apple platform, or they cannot be loaded.
    """
    if sys.platform not in PLATFORMS:
        raise PresenceUnavailable("Touch ID and Face ID exist on macOS and iOS only")
    try:
        ctypes.CDLL(FRAMEWORK)
        core = CoreFoundation(ctypes.CDLL(CORE_FOUNDATION))
        return LocalAuthentication(core, ObjectiveC(ctypes.CDLL(RUNTIME), ctypes.CDLL(BLOCKS)))
    except (OSError, AttributeError, ValueError) as exc:
        reason = type(exc).__name__
    raise PresenceUnavailable(f"LocalAuthentication cannot be loaded ({reason})")
