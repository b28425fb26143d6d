"""An unsaved session: signed in, in memory only, trying to be saved, and saying so.

It keeps the fence: the record on disk names a spent token, and nobody else may try it. It lets go
when the record is saved, when the log ends the session, or with the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from tokenkeep.errors import RefreshUnavailable, StoreError, WriteConflict
from tokenkeep.fence import Hold
from tokenkeep.tokens.kept import KeptRecord
from tokenkeep.tokens.record import Record

T = TypeVar("T")

#: The first and the longest pause between two attempts to save.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
#: How soon a session that another process ended lets go of the fence.
_LOOK_EVERY = 0.25


class Unsaved:
    """One record that waits to be saved, with the fence in hand.

    Args:
        record: the newest one.
        saved: called once, from the background thread, when it is on disk.
        ended: called once, from the background thread, when the log has ended the session; the
            record is to be revoked.
    """

    def __init__(
        self,
        tokens: KeptRecord,
        record: Record,
        hold: Hold,
        saved: Callable[[Unsaved], None],
        ended: Callable[[Unsaved], None],
    ) -> None:
        self._tokens = tokens
        self._record = record
        self._saved = saved
        self._ended = ended
        # Whoever uses the fence does so inside this lock: the saver, a redemption, a sign-out.
        self._inside = threading.RLock()
        self._hold: Hold | None = hold
        self._stop = threading.Event()

    def start(self) -> None:
        """Begins to try, on a thread that does not keep the process alive."""
        try:
            threading.Thread(target=self._run, name="tokenkeep-saver", daemon=True).start()
        except RuntimeError:
            return  # no thread can be had: `Session.close` tries once more

    @property
    def record(self) -> Record:
        """The newest record."""
        return self._record

    @property
    def is_over(self) -> bool:
        """Whether it was saved, ended or let go."""
        return self._hold is None

    def inside(self, work: Callable[[Hold], T]) -> T | None:
        """Runs a redemption with the fence in hand; None if it is over already."""
        with self._inside:
            return None if self._hold is None else work(self._hold)

    def replaced(self, work: Callable[[Hold], T], timeout: float) -> T | None:
        """Runs what takes the session's place and gets the fence for good; None if it was over.

        If that fails, this session goes on as if nothing had been tried; a redemption waits until
        it is known.

        Raises:
            RefreshUnavailable: a redemption is on the wire, for longer than `timeout` seconds.
        """
        if not self._inside.acquire(timeout=timeout):
            raise RefreshUnavailable("the session is being refreshed; try again")
        try:
            if self._hold is None:
                return None
            result = work(self._hold)
            self._hold = None
            self._stop.set()
            return result
        finally:
            self._inside.release()

    def put(self, record: Record) -> None:
        """Takes a newer record: what `inside` brought, or noted before the wire."""
        with self._inside:
            self._record = record

    def save(self) -> bool:
        """One attempt to save; True if the record is on disk now.

        Returns False if the store still refuses, or if the session was ended or let go.
        """
        with self._inside:
            if self._hold is None or self._is_ended():
                return False
            try:
                self._tokens.put(self._record)
            except WriteConflict:
                pass  # a newer one lies there: there is nothing left to save
            except StoreError:
                return False
            if self._is_ended():
                return False  # what was written is dead; `_end_if_ended` erases it
            self._finish()
        self._saved(self)
        return True

    def let_go(self, timeout: float) -> Hold | None:
        """Stops trying and hands over the fence; None if it was over already, or is in use.

        A redemption that is on the wire keeps it; the saver lets go once that has come back.
        """
        if not self._inside.acquire(timeout=timeout):
            return None
        try:
            hold, self._hold = self._hold, None
            self._stop.set()
            return hold
        finally:
            self._inside.release()

    def _run(self) -> None:
        pause, waited = _FIRST_PAUSE, 0.0
        while not self._stop.wait(_LOOK_EVERY):
            waited += _LOOK_EVERY
            if self._end_if_ended():
                return
            if waited >= pause:
                waited, pause = 0.0, min(pause * 2, _LONGEST_PAUSE)
                if self.save():
                    return

    def _end_if_ended(self) -> bool:
        with self._inside:
            if self._hold is None or not self._is_ended():
                return False
            try:
                self._tokens.erase_dead()
            except StoreError:
                pass  # dead by the log's word; the next login or restore erases it
            self._finish()
        self._ended(self)
        return True

    def _is_ended(self) -> bool:
        return self._tokens.has_ended(self._record.session_id)

    def _finish(self) -> None:
        hold, self._hold = self._hold, None
        self._stop.set()
        if hold is not None:
            hold.release()
