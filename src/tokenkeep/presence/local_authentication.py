"""Touch ID, Face ID, or the password of the person's account, on macOS and iOS."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call


class LocalAuthentication:
    """A `Verifier` for Apple's devices; not run on one by its authors.

    Args:
        allow_passcode: the passcode, the account's password or a companion will do as well.
    """

    name = "Touch ID, Face ID or the passcode"

    def __init__(self, *, allow_passcode: bool = True) -> None:
        self.allow_passcode = allow_passcode

    def verify(self, reason: str, call: Call) -> None:
        """Shows the system's own question; raises as `Verifier.verify`."""
        from tokenkeep.native import local_authentication as native

        policy = native.BIOMETRY_OR_PASSCODE if self.allow_passcode else native.BIOMETRY
        native.ask(reason, call, policy)
