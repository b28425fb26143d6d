"""A connection to the bus and a session with the Secret Service, made when first needed.

A request is repeated within its call's deadline when what carried it is gone: the bus, the daemon
or the session. Only requests for which twice is as good as once go through here.
"""

from __future__ import annotations

import threading

from tokenkeep.errors import StoreTimeout, StoreUnavailable
from tokenkeep.native.dbus.connection import Connection
from tokenkeep.native.dbus.errors import ConnectionLost, ErrorReply, Verdict, verdict
from tokenkeep.native.dbus.wire import Request
from tokenkeep.native.secret_service.session import DH, PLAIN, Exponent, Session, cipher_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from tokenkeep.item import Call

    T = TypeVar("T")

NAME = "org.freedesktop.secrets"
PATH = "/org/freedesktop/secrets"
SERVICE = "org.freedesktop.Secret.Service"
COLLECTION = "org.freedesktop.Secret.Collection"
ITEM = "org.freedesktop.Secret.Item"

#: The pause before the first repetition, and the longest: a daemon starts in a few hundredths.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25
#: A call without a deadline gives up after so many.
_MOST_PAUSES = 200
#: How often a request is repeated whose answer the daemon died over: it may be the request.
_MOST_LOST_REPLIES = 2
#: One negotiation in 256 has to be made again.
_MOST_NEGOTIATIONS = 8
_NO_REPLY = "org.freedesktop.DBus.Error.NoReply"
_NOT_SUPPORTED = "org.freedesktop.DBus.Error.NotSupported"


class Pause:
    """Waits between two attempts of one call, longer each time, until its deadline."""

    __slots__ = ("_call", "_count", "_seconds")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._seconds = _FIRST_PAUSE
        self._count = 0

    def __call__(self) -> None:
        """One pause.

        Raises:
            StoreTimeout: the deadline comes first.
        """
        self._count += 1
        remaining = self._call.remaining()
        if remaining == 0.0 or self._count > _MOST_PAUSES:
            raise StoreTimeout("the Secret Service did not settle in time")
        seconds = self._seconds if remaining is None else min(self._seconds, remaining)
        self._call.clock.sleep(seconds)
        self._seconds = min(2 * self._seconds, _LONGEST_PAUSE)


class Channel:
    """The connection and the session of one process with one bus."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._opening = threading.Lock()
        self._connection: Connection | None = None
        self._session: tuple[Connection, Session] | None = None

    def ask(self, request: Request, call: Call) -> tuple[Any, ...]:
        """The values that answer a request.

        Raises:
            ErrorReply: the answer is an error.
            StoreTimeout, StoreUnavailable, AccessDenied: there is no answer.
        """
        return self.repeated(lambda connection: connection.ask(request, call), call)

    def ask_all(self, requests: Sequence[Request], call: Call) -> list[tuple[Any, ...]]:
        """The values that answer requests sent together.

        Raises:
            As `ask`; the first answer that is an error.
        """

        def attempt(connection: Connection) -> list[tuple[Any, ...]]:
            answers: list[tuple[Any, ...]] = []
            for answer in connection.ask_all(requests, call):
                if isinstance(answer, ErrorReply):
                    raise answer
                answers.append(answer)
            return answers

        return self.repeated(attempt, call)

    def ask_each(
        self, requests: Sequence[Request], call: Call
    ) -> list[tuple[Any, ...] | ErrorReply]:
        """As `ask_all`, with the errors among the answers."""
        return self.repeated(lambda connection: connection.ask_all(requests, call), call)

    def ask_in_session(
        self, build: Callable[[Session], Request], call: Call
    ) -> tuple[Session, tuple[Any, ...]]:
        """As `ask`, for a request made for the session; and which one it was."""

        def attempt(connection: Connection) -> tuple[Session, tuple[Any, ...]]:
            session = self._negotiated(connection, call)
            try:
                return session, connection.ask(build(session), call)
            except ErrorReply as exc:
                # KWallet's word for a session of the daemon before it, as for an item that is gone.
                if verdict(exc.name) is Verdict.SEARCH:
                    self.forget_session(session)
                raise

        return self.repeated(attempt, call)

    def repeated(self, attempt: Callable[[Connection], T], call: Call) -> T:
        """What the attempt gives, made again while what carried it is gone.

        Raises:
            As `ask`.
        """
        pause = Pause(call)
        lost_replies = 0
        while True:
            connection = self._connected(call)
            try:
                return attempt(connection)
            except ConnectionLost:
                connection.close()
            except ErrorReply as exc:
                meant = verdict(exc.name)
                if exc.name == _NO_REPLY and lost_replies < _MOST_LOST_REPLIES:
                    lost_replies += 1
                elif meant is not Verdict.REOPEN:
                    raise
                self._session = None
            pause()

    def forget_session(self, session: Session) -> None:
        """The next request that needs a session negotiates another one."""
        held = self._session
        if held is not None and held[1] is session:
            self._session = None

    def close(self) -> None:
        """Ends the connection; requests under way are repeated over another one."""
        connection, self._connection, self._session = self._connection, None, None
        if connection is not None:
            connection.close()

    def _connected(self, call: Call) -> Connection:
        connection = self._connection
        if connection is not None and not connection.is_lost:
            return connection
        with held(self._opening, call):
            connection = self._connection
            if connection is None or connection.is_lost:
                connection = self._connection = Connection(self._address, call)
            return connection

    def _negotiated(self, connection: Connection, call: Call) -> Session:
        negotiated = self._session
        if negotiated is not None and negotiated[0] is connection:
            return negotiated[1]
        with held(self._opening, call):
            negotiated = self._session
            if negotiated is None or negotiated[0] is not connection:
                negotiated = self._session = connection, _negotiate(connection, call)
            return negotiated[1]


class held:  # noqa: N801 - a context manager, which a generator would make at a higher price
    """Holds a lock, waiting for it no longer than a call may take.

    Raises:
        StoreTimeout: another thread kept it until the deadline.
    """

    __slots__ = ("_call", "_lock")

    def __init__(self, lock: threading.Lock, call: Call) -> None:
        self._lock = lock
        self._call = call

    def __enter__(self) -> None:
        remaining = self._call.remaining()
        longest = threading.TIMEOUT_MAX if remaining is None else remaining
        if not self._lock.acquire(timeout=min(longest, threading.TIMEOUT_MAX)):
            raise StoreTimeout("another thread waits for the Secret Service")

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()


def _negotiate(connection: Connection, call: Call) -> Session:
    for _attempt in range(_MOST_NEGOTIATIONS):
        exponent = Exponent()
        try:
            output, path = _open(connection, DH, ("ay", exponent.public()), call)
        except ErrorReply as exc:
            # The specification's answer to an algorithm that is not known; else it is a failure.
            if exc.name != _NOT_SUPPORTED:
                raise
            _output, path = _open(connection, PLAIN, ("s", ""), call)
            return Session(path, None)
        kind, public = output
        agreed = exponent.agreed(public) if kind == "ay" else None
        if agreed is None:
            break
        cipher = cipher_of(agreed)
        if cipher is not None:
            return Session(path, cipher)
    raise StoreUnavailable("the Secret Service negotiates with a number that is no key")


def _open(
    connection: Connection, algorithm: str, parameter: tuple[str, Any], call: Call
) -> tuple[Any, ...]:
    request = Request(NAME, PATH, SERVICE, "OpenSession", "sv", (algorithm, parameter), answer="vo")
    return connection.ask(request, call)
