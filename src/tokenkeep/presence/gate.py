"""PresenceGate: items that are read only after the person has proved to be at the device.

Encryption never implies presence and presence never implies encryption: the gate stands in front
of a storage, and whoever has the storage itself needs no gate. A session's own record lies behind
no gate, so that refreshing in the background never asks anybody.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Protocol

from tokenkeep.errors import PresenceDenied
from tokenkeep.item import Call, Interaction
from tokenkeep.secret import as_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from tokenkeep.secret import Secret
    from tokenkeep.storage import SecureStorage
    from tokenkeep.store import StoreFacts


class Verifier(Protocol):
    """One way for a person to prove to be there."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    def verify(self, reason: str, call: Call) -> None:
        """Returns once the person has confirmed.

        Args:
            reason: why, shown to the person where that is possible.

        Raises:
            PresenceDenied: cancelled, failed, or not in time.
            PresenceUnavailable, NotEnrolled, PresenceLockedOut: nobody was asked.
        """
        ...


class Policy:
    """How long one proof is good: see `always`, `every` and `at_start`."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"Policy({self.seconds})"


#: Every read needs a proof of its own.
always = Policy(0.0)
#: One proof is good for as long as the process runs.
at_start = Policy(math.inf)


def every(minutes: float) -> Policy:
    """One proof is good for so many minutes; sleeping counts.

    Raises:
        ValueError: not a positive number.
    """
    if not 0 < minutes < math.inf:
        raise ValueError("a proof is good for a positive number of minutes")
    return Policy(minutes * 60)


class PresenceGate:
    """A storage whose items are read only in somebody's presence. Safe from any thread.

    Listing, writing and deleting need no proof: they show nothing.

    Args:
        storage: where the items are; it is not reachable through the gate.
        verifier: how the person proves to be there.
        policy: `always`, `every(minutes)` or `at_start`.
        names: the items that need a proof; all if None.
        reason: shown to the person.
        timeout: seconds that the person has.
    """

    __slots__ = (
        "__storage",
        "_lock",
        "_names",
        "_pid",
        "_policy",
        "_proved_at",
        "_reason",
        "_timeout",
        "_verifier",
    )

    def __init__(
        self,
        storage: SecureStorage,
        verifier: Verifier,
        policy: Policy = always,
        *,
        names: Collection[str] | None = None,
        reason: str = "show a secret",
        timeout: float = 60.0,
    ) -> None:
        self.__storage = storage
        self._verifier = verifier
        self._policy = policy
        self._names = None if names is None else frozenset(names)
        self._reason = reason
        self._timeout = timeout
        self._lock = threading.Lock()
        self._proved_at: float | None = None
        self._pid = os.getpid()

    @property
    def service(self) -> str:
        """Whose items they are."""
        return self.__storage.service

    @property
    def facts(self) -> StoreFacts:
        """What protects the items, the gate aside."""
        return self.__storage.facts

    def read(self, name: str) -> Secret | None:
        """The secret under a name; None if there is none.

        Raises:
            PresenceError: nobody proved to be there; nothing was read.
            As `SecureStorage.read`.
        """
        if self._names is None or name in self._names:
            self.require()
        return self.__storage.read(name)

    def read_all(self) -> dict[str, Secret]:
        """Every item by name, after one proof.

        Raises:
            As `read`.
        """
        self.require()
        return self.__storage.read_all()

    def write(self, name: str, value: Secret | str | bytes | bytearray) -> None:
        """As `SecureStorage.write`."""
        try:
            value = as_secret(value)
        except (TypeError, ValueError):
            del value  # this frame is in the traceback
            raise
        self.__storage.write(name, value)

    def delete(self, name: str) -> bool:
        """As `SecureStorage.delete`."""
        return self.__storage.delete(name)

    def names(self) -> list[str]:
        """As `SecureStorage.names`."""
        return self.__storage.names()

    def contains(self, name: str) -> bool:
        """As `SecureStorage.contains`."""
        return self.__storage.contains(name)

    def require(self) -> None:
        """Returns once somebody has proved to be there, as the policy has it; at once if it holds.

        Threads that come together ask the person one after the other, and not twice for what one
        proof is good for.

        Raises:
            PresenceError: nobody did.
        """
        clock = self.__storage.clock
        call = Call(self._timeout, Interaction.ALLOWED, clock)
        lock = self._own_lock()
        if not lock.acquire(timeout=self._timeout):
            raise PresenceDenied("another prompt was open all the time", reason="timed out")
        try:
            now = clock.monotonic()
            if self._proved_at is not None and now < self._proved_at + self._policy.seconds:
                return
            self._proved_at = None
            self._verifier.verify(self._reason, call)
            self._proved_at = clock.monotonic()
        finally:
            lock.release()

    def forget(self) -> None:
        """The next read needs a new proof whatever the policy: for a screen that was locked."""
        with self._own_lock():
            self._proved_at = None

    def _own_lock(self) -> threading.Lock:
        if self._pid != os.getpid():
            # A forked child proves for itself, and whoever had the lock may not exist there.
            self._lock, self._proved_at = threading.Lock(), None
            self._pid = os.getpid()
        return self._lock

    def __repr__(self) -> str:
        return f"PresenceGate({self.service!r}, {self._verifier.name})"
