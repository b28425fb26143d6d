"""The authorization server for a test: real HTTP on loopback, driven and inspected in process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from tokenkeep.testing.authorization_server import admin_door, endpoints
from tokenkeep.testing.authorization_server.grants import Family, Login
from tokenkeep.testing.authorization_server.injection import Faults
from tokenkeep.testing.authorization_server.listener import Listener
from tokenkeep.testing.authorization_server.pending import Decision
from tokenkeep.testing.authorization_server.policy import Policy
from tokenkeep.testing.authorization_server.realm import Realm
from tokenkeep.testing.authorization_server.records import Requests, SeenRequest
from tokenkeep.testing.authorization_server.wire import PATHS, Answer, Endpoint, Request


class AuthorizationServer:
    """An OAuth 2.0 and OpenID Connect server on `127.0.0.1`, for as long as the `with` block.

    Everything may be called from any thread while requests are being answered.

    Args:
        policy: How it behaves; see `Policy`.
        port: The port; 0 takes a free one.
        clock: The server's time in seconds since the epoch; `advance` adds to it.

    Attributes:
        issuer: `http://127.0.0.1:PORT`.
        faults: What goes wrong next.
        requests: What was asked.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._listener = Listener(self._respond, self.now, port)
        self.issuer = f"http://127.0.0.1:{self._listener.port}"
        self._realm = Realm(self.issuer, policy or Policy(), clock)
        self.requests = Requests()
        self.faults = Faults(self.now)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Go online, on the same port every time, remembering everything."""
        self.faults.start()
        self._listener.start()

    def stop(self) -> None:
        """Go offline: connections are refused, open ones break, requests on hold stay undone."""
        self.faults.stop()
        self._listener.stop()

    def close(self) -> None:
        """Stop for good.

        Raises:
            AssertionError: The server itself failed while answering; what the test saw was not
                what the policy says.
        """
        self.faults.stop()
        self._listener.close()
        if self._listener.failures:
            raise AssertionError(f"the server failed: {'; '.join(self._listener.failures)}")

    # Time and behaviour.

    def now(self) -> float:
        """The server's time in seconds since the epoch."""
        return self._realm.now()

    def advance(self, seconds: float) -> None:
        """Let time pass for the server: tokens expire without waiting."""
        self._realm.advanced_seconds += seconds

    @property
    def clock(self) -> Callable[[], float]:
        """The server's source of time, without what `advance` added."""
        return self._realm.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:
        self._realm.clock = clock

    @property
    def policy(self) -> Policy:
        """The policy in force; assign another one at any time."""
        return self._realm.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        with self._realm.lock:
            self._realm.grants.policy = policy

    # Logins without a browser.

    def login(
        self,
        client_id: str = "notes",
        *,
        user: str | None = None,
        scope: str = "openid offline_access",
        nonce: str | None = None,
    ) -> dict[str, object]:
        """A confirmed login: the dictionary that the token endpoint would have answered."""
        realm = self._realm
        login = Login(client_id, user or realm.policy.user, scope, nonce)
        with realm.lock:
            issued = realm.grants.begin(login, realm.now())
        return realm.token_answer(issued)

    def approve(
        self, authorization_url: str, *, user: str | None = None, deny: bool = False
    ) -> str:
        """Visit an authorization address and decide; returns where the browser is sent.

        Raises:
            ValueError: The server answered with a page instead of a redirect.
        """
        from tokenkeep.testing.authorization_server.browser import redirect_of

        return redirect_of(authorization_url, user=user, deny=deny)

    def drive_browser(self, url: str, *, user: str | None = None) -> int:
        """Do what a browser and its person would: visit, approve, follow to the client's port.

        Returns:
            The HTTP status of the last page.
        """
        from tokenkeep.testing.authorization_server.browser import drive

        return drive(url, user=user)

    def approve_device(self, user_code: str, *, user: str | None = None) -> bool:
        """Approve a device login; False if there is no such code."""
        with self._realm.lock:
            return self._realm.devices.decide(
                user_code, Decision.APPROVED, user or self._realm.policy.user
            )

    def deny_device(self, user_code: str) -> bool:
        """Deny a device login; False if there is no such code."""
        with self._realm.lock:
            return self._realm.devices.decide(user_code, Decision.DENIED, self._realm.policy.user)

    # Looking inside.

    @property
    def token_requests(self) -> int:
        """How many requests came to the token endpoint, whatever became of them."""
        return self.requests.count(Endpoint.TOKEN)

    @property
    def reuse_detected(self) -> int:
        """How often a spent refresh token came outside its grace window."""
        with self._realm.lock:
            return self._realm.grants.reuse_detected

    def is_alive(self, refresh_token: str) -> bool:
        """True if this refresh token is its family's current one: unspent, unexpired, unrevoked."""
        with self._realm.lock:
            return self._realm.grants.is_refresh_token_alive(refresh_token, self.now())

    def accepts(self, access_token: str) -> bool:
        """True if a protected resource would accept this access token now."""
        with self._realm.lock:
            return self._realm.grants.accepted(access_token, self.now()) is not None

    def grants(self) -> list[Family]:
        """Every login so far, the ended ones too, oldest first; copies."""
        with self._realm.lock:
            return [_copy(family) for family in self._realm.grants.families]

    def family_of(self, token: str) -> Family | None:
        """The login that a refresh or access token came from; a copy."""
        with self._realm.lock:
            family = self._realm.grants.family_of(token)
            return None if family is None else _copy(family)

    def revoke(self, token: str) -> None:
        """End the login that a token came from, as an administrator would."""
        with self._realm.lock:
            family = self._realm.grants.family_of(token)
            if family is not None:
                family.revoke()

    def _respond(self, request: Request) -> Answer:
        if request.path.startswith(admin_door.PREFIX):
            return admin_door.answer(self, request)
        endpoint = PATHS.get(request.path)
        if endpoint is None:
            return Answer(404)
        seen = SeenRequest(endpoint, request, self.now())
        self.requests.add(seen)
        answer = self._answer_with_faults(endpoint, request)
        if not answer.dropped:
            seen.status = answer.status
        return answer

    def _answer_with_faults(self, endpoint: Endpoint, request: Request) -> Answer:
        faults = self.faults.take(endpoint)
        for fault in faults:
            outcome = fault.before(request, self.faults)
            if isinstance(outcome, Answer):
                return outcome
            request = outcome
        answer = endpoints.answer(self._realm, endpoint, request)
        for fault in faults:
            answer = fault.after(answer, self.faults)
        return answer


def _copy(family: Family) -> Family:
    return replace(
        family,
        refresh_tokens={
            value: replace(token, successors=list(token.successors))
            for value, token in family.refresh_tokens.items()
        },
        access_tokens={value: replace(token) for value, token in family.access_tokens.items()},
    )
