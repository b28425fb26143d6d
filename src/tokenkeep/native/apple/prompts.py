"""The one switch, for the whole process, that keeps the file keychain from asking the person.

An item's access list may raise a panel whatever a query says; only
`SecKeychainSetUserInteractionAllowed` reaches it, and it counts for every thread at once. So calls
that may ask and calls that must not never run at the same time, and the switch is put back as it
was found.
"""

from __future__ import annotations

import os
import threading

from tokenkeep.errors import StoreTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenkeep.item import Call


class PromptSwitch:
    """Runs calls silently, or with prompts, never both at once.

    Args:
        get: whether the system may ask now.
        put: lets the system ask, or not.
    """

    def __init__(self, get: Callable[[], bool], put: Callable[[bool], None]) -> None:
        self._get, self._put = get, put
        self._before = True
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._running = {True: 0, False: 0}
        self._pid = os.getpid()

    def enter(self, may_ask: bool, call: Call) -> None:
        """Waits for its turn; `leave` must follow.

        Raises:
            StoreTimeout: calls of the other sort were running until the deadline.
        """
        if self._pid != os.getpid():  # forked: the threads that were counted are not here
            if self._running[False]:
                self._put(self._before)
            self._begin()
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._running[not may_ask] == 0, _longest(call.remaining())
            ):
                raise StoreTimeout("the keychain is waiting for the person")
            if not may_ask and self._running[False] == 0:
                self._before = self._get()
                self._put(False)
            self._running[may_ask] += 1

    def leave(self, may_ask: bool) -> None:
        """Puts the switch back when the last silent call is done."""
        with self._changed:
            self._running[may_ask] -= 1
            if not may_ask and self._running[False] == 0:
                self._put(self._before)
            self._changed.notify_all()


def _longest(seconds: float | None) -> float | None:
    return None if seconds is None else min(seconds, threading.TIMEOUT_MAX)
