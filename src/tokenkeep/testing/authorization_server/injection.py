"""Which faults are armed, for which endpoint and how often; and where requests are held.

Thread-safe. A request takes at most one armed set of faults.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from tokenkeep.testing.authorization_server.faults import KINDS, Fault, When
from tokenkeep.testing.authorization_server.wire import Endpoint


class Stopped(Exception):
    """The server stopped while this request was standing still."""


@dataclass
class _Armed:
    endpoint: Endpoint
    faults: tuple[Fault, ...]
    times: int | None
    skip: int


class Faults:
    """The armed faults, and the stage on which held and delayed requests wait."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._changed = threading.Condition()
        self._armed: list[_Armed] = []
        self._held = 0
        self._releases = 0
        self._stopped = False

    def add(self, endpoint: Endpoint, *faults: Fault, times: int | None = 1, skip: int = 0) -> None:
        """Arm faults that all happen to the same request.

        Args:
            endpoint: Whose requests.
            faults: In the order in which they happen.
            times: To so many requests; None: to all until `clear`.
            skip: So many requests pass first. Of several calls for one endpoint, the second begins
                when the first is used up.
        """
        if not faults:
            raise ValueError("no fault given")
        with self._changed:
            self._armed.append(_Armed(endpoint, faults, times, skip))

    def clear(self) -> None:
        """Disarm everything and let held requests go."""
        with self._changed:
            self._armed.clear()
        self.release()

    def armed(self) -> int:
        """How many calls of `add` are not used up."""
        with self._changed:
            return len(self._armed)

    def release(self) -> None:
        """Let every request go that is held now; later ones are held again."""
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    def held(self) -> int:
        """How many requests are held now."""
        with self._changed:
            return self._held

    def wait_held(self, count: int = 1, timeout: float = 5.0) -> bool:
        """Wait until so many requests are held; False if it does not come to that."""
        with self._changed:
            return self._changed.wait_for(lambda: self._held >= count, timeout)

    def take(self, endpoint: Endpoint) -> tuple[Fault, ...]:
        """What happens to the request that just came."""
        with self._changed:
            for armed in self._armed:
                if armed.endpoint is endpoint:
                    return self._use(armed)
        return ()

    def pause(self, seconds: float) -> None:
        """Let real time pass.

        Raises:
            Stopped: The server stopped meanwhile.
        """
        until = time.monotonic() + seconds
        with self._changed:
            while not self._stopped and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            self._raise_if_stopped()

    def hold(self, at_most_seconds: float) -> None:
        """Wait for the next `release`.

        Raises:
            Stopped: The server stopped meanwhile.
        """
        with self._changed:
            releases = self._releases
            self._held += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(
                    lambda: self._stopped or self._releases != releases, at_most_seconds
                )
            finally:
                self._held -= 1
            self._raise_if_stopped()

    def stop(self) -> None:
        """Send every waiting request home without an answer."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def start(self) -> None:
        """Let requests wait again."""
        with self._changed:
            self._stopped = False

    def _use(self, armed: _Armed) -> tuple[Fault, ...]:
        if armed.skip > 0:
            armed.skip -= 1
            return ()
        if armed.times is not None:
            armed.times -= 1
            if armed.times <= 0:
                self._armed.remove(armed)
        return armed.faults

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise Stopped


def fault_to_json(fault: Fault) -> dict[str, object]:
    """The fault as a JSON object, for another process."""
    document: dict[str, object] = {"fault": type(fault).__name__, **asdict(fault)}
    if isinstance(document.get("when"), When):
        document["when"] = getattr(fault, "when").value  # noqa: B009 - not every kind has it
    return document


def fault_from_json(document: Mapping[str, object]) -> Fault:
    """The fault that a JSON object describes.

    Raises:
        ValueError: There is no such fault, or it has no such field.
    """
    values = dict(document)
    kind = KINDS.get(str(values.pop("fault", None)))
    if kind is None:
        raise ValueError("no such fault")
    if "when" in values:
        values["when"] = When(values["when"])
    names = values.get("names")
    if isinstance(names, list):
        values["names"] = tuple(names)
    try:
        return kind(**values)
    except TypeError as exc:
        raise ValueError(f"not a fault: {exc}") from exc
