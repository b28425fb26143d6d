"""Windows Hello: a face, a finger or the PIN of the user's account."""

from __future__ import annotations

from tokenkeep.errors import PresenceDenied, StoreTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call


class WindowsHello:
    """A `Verifier` for Windows 10 and newer; not run there by its authors."""

    name = "Windows Hello"

    def verify(self, reason: str, call: Call) -> None:
        """Shows Windows' own question; raises as `Verifier.verify`."""
        from tokenkeep.native import windows_hello

        try:
            windows_hello.ask(reason, call)
            return
        except StoreTimeout:
            pass  # raised below, as what it means for a person
        raise PresenceDenied("nobody answered in time", reason="timed out")
