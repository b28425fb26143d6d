"""What the server was asked: a count for each endpoint, and the last requests in full.

Thread-safe. Requests are kept as they came, tokens included: this is for tests.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field

from tokenkeep.testing.authorization_server.wire import Endpoint, Request

# Enough for the longest test; a server that is asked for hours does not grow for ever.
KEPT_REQUESTS = 2000


@dataclass
class SeenRequest:
    """One request; `status` is None until it was answered, and stays None if it never was."""

    endpoint: Endpoint
    request: Request = field(repr=False)
    at: float
    status: int | None = None

    @property
    def grant_type(self) -> str | None:
        """The grant of a token request."""
        return self.request.form.get("grant_type")


class Requests:
    """The requests since the server was made or `clear` was called."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Endpoint] = Counter()
        self._grants: Counter[str] = Counter()
        self._seen: deque[SeenRequest] = deque(maxlen=KEPT_REQUESTS)

    def add(self, seen: SeenRequest) -> None:
        """Count a request the moment it arrives, whatever becomes of it."""
        with self._lock:
            self._counts[seen.endpoint] += 1
            if seen.endpoint is Endpoint.TOKEN and seen.grant_type is not None:
                self._grants[seen.grant_type] += 1
            self._seen.append(seen)

    def count(self, endpoint: Endpoint, *, grant_type: str | None = None) -> int:
        """How many requests came to an endpoint; of the token endpoint's, also by grant."""
        with self._lock:
            return self._counts[endpoint] if grant_type is None else self._grants[grant_type]

    def counts(self) -> dict[str, int]:
        """The number of requests by the endpoint's name; all endpoints are there."""
        with self._lock:
            return {endpoint.value: self._counts[endpoint] for endpoint in Endpoint}

    def to(self, endpoint: Endpoint) -> list[SeenRequest]:
        """The last requests to an endpoint, oldest first."""
        with self._lock:
            return [seen for seen in self._seen if seen.endpoint is endpoint]

    def all(self) -> list[SeenRequest]:
        """The last requests to any endpoint, oldest first."""
        with self._lock:
            return list(self._seen)

    def clear(self) -> None:
        """Forget and count from zero."""
        with self._lock:
            self._counts.clear()
            self._grants.clear()
            self._seen.clear()
