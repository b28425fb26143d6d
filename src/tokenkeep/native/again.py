"""Asking a busy platform again: pauses that grow, until the call's deadline."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call

#: Seconds of trying for a call without a deadline.
_LONGEST_BUSY = 60.0


class Pauses:
    """The pauses between the attempts of one call.

    Args:
        first, longest: seconds of the first one, and of those that it grows to.
    """

    __slots__ = ("_call", "_longest", "_next", "_until")

    def __init__(self, call: Call, first: float = 0.02, longest: float = 0.5) -> None:
        remaining = call.remaining()
        self._call = call
        self._next = first
        self._longest = longest
        self._until = call.clock.monotonic() + (_LONGEST_BUSY if remaining is None else remaining)

    def wait(self) -> bool:
        """Waits, twice as long each time; False, at once, if the call would be over by then.

        That leaves the time to say what the platform was busy with.
        """
        pause, self._next = self._next, min(2 * self._next, self._longest)
        if self._until - self._call.clock.monotonic() <= pause:
            return False
        self._call.clock.sleep(pause)
        return True
