"""A locked session: looked at again by itself once its store can be read.

Somebody who listens wants to be told, so while the state is `LOCKED` and there is a listener a
thread waits for the store. Without one nothing waits: the next call looks anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tokenkeep.errors import StoreError, UnsupportedOption
from tokenkeep.item import Call
from tokenkeep.session.known import Known
from tokenkeep.session.state import State
from tokenkeep.storage import SecureStorage
from tokenkeep.unlock import wait_until_unlocked

#: Seconds of the first and of the longest wait; after each the thread sees whether anybody still
#: wants to know.
_FIRST_TURN, _LONGEST_TURN = 5.0, 60.0
#: The first and the longest pause after a wait that brought nothing: a store that is away, or one
#: that is open while the record is not.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class UnlockRetry:
    """Ends the state `LOCKED` of one session, on a thread that does not keep the process alive.

    Args:
        storage: what is waited for, by the machine's own clock as every thread waits.
        look: takes what log and store say now.
        is_alive: whether the session still exists; the thread must not keep it.
    """

    def __init__(
        self,
        known: Known,
        storage: SecureStorage,
        look: Callable[[], State],
        is_alive: Callable[[], bool],
    ) -> None:
        self._known = known
        self._storage = storage
        self._look = look
        self._is_alive = is_alive
        self._lock = threading.Lock()
        self._is_running = False
        self._stop = threading.Event()
        known.when_locked = self.start

    def start(self) -> None:
        """Begins to wait, if the session is locked, somebody listens and nothing waits yet."""
        with self._lock:
            if self._is_running or not self._is_wanted():
                return
            self._is_running = True
        try:
            threading.Thread(target=self._run, name="tokenkeep-unlock", daemon=True).start()
        except RuntimeError:  # no thread can be had: the next call looks
            with self._lock:
                self._is_running = False

    def stop(self) -> None:
        """Waits no more, now or later; a wait under way ends by itself, without a look."""
        self._stop.set()

    def _is_wanted(self) -> bool:
        return (
            self._known.state is State.LOCKED
            and self._known.has_listeners
            and self._is_alive()
            and not self._stop.is_set()
        )

    def _run(self) -> None:
        pause, turn = _FIRST_PAUSE, _FIRST_TURN
        while True:
            with self._lock:
                if not self._is_wanted():
                    self._is_running = False
                    return
            try:
                storage, call = self._storage, Call(turn)
                if not wait_until_unlocked(storage.store, storage.service, call):
                    turn = min(turn * 2, _LONGEST_TURN)
                    continue
                if self._is_wanted():
                    self._look()
            except UnsupportedOption:
                # The session of another issuer: the next call tells its caller.
                self._stop.set()
            except StoreError:
                pass  # away, or not answering: it may come back
            if self._is_wanted():
                self._stop.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
