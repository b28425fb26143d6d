"""The remote control of a server that runs in another process."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tokenkeep.testing.authorization_server.faults import Fault
from tokenkeep.testing.authorization_server.injection import fault_to_json
from tokenkeep.testing.authorization_server.policy import Policy, policy_to_json
from tokenkeep.testing.authorization_server.wire import Endpoint


class AdminRefused(Exception):
    """The server did not understand the order; the message is the server's."""


class Admin:
    """Inspects and directs the authorization server at `issuer`, from any process.

    Args:
        issuer: What the server printed at its start.
        timeout: Seconds for one order, on top of what the order itself waits.

    Raises:
        AdminRefused: The server did not understand the order.
        OSError: There is no server there, or it is offline.
    """

    def __init__(self, issuer: str, *, timeout: float = 10.0) -> None:
        self.issuer = issuer
        self._timeout = timeout
        # Loopback, whatever HTTP_PROXY says.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def counts(self) -> dict[str, int]:
        """Requests by endpoint (`token`, `revoke`, ...), and `reuse_detected`."""
        return dict(self._order("counts"))

    @property
    def token_requests(self) -> int:
        """How many requests came to the token endpoint, whatever became of them."""
        return self.counts()["token"]

    @property
    def reuse_detected(self) -> int:
        """How often a spent refresh token came outside its grace window."""
        return self.counts()["reuse_detected"]

    def requests(self) -> list[dict[str, Any]]:
        """The last requests: endpoint, method, path, parameters, headers, at, status."""
        return list(self._order("requests"))

    def add_fault(
        self, endpoint: Endpoint, *faults: Fault, times: int | None = 1, skip: int = 0
    ) -> None:
        """Arm faults as `Faults.add` does."""
        described = [fault_to_json(fault) for fault in faults]
        self._order("add_fault", endpoint=endpoint.value, faults=described, times=times, skip=skip)

    def clear_faults(self) -> None:
        """Disarm everything and let held requests go."""
        self._order("clear_faults")

    def release(self) -> None:
        """Let every request go that is held now."""
        self._order("release")

    def wait_held(self, count: int = 1, timeout: float = 5.0) -> bool:
        """Wait until so many requests are held; False if it does not come to that."""
        return bool(self._order("wait_held", count=count, timeout=timeout, waits=timeout))

    def is_alive(self, refresh_token: str) -> bool:
        """True if this refresh token is unspent, unexpired and unrevoked."""
        return bool(self._order("is_alive", token=refresh_token))

    def accepts(self, access_token: str) -> bool:
        """True if a protected resource would accept this access token now."""
        return bool(self._order("accepts", token=access_token))

    def grants(self) -> list[dict[str, Any]]:
        """Every login: family_id, client_id, user, scope, generation, revoked, and live tokens."""
        return list(self._order("grants"))

    def login(
        self,
        client_id: str = "notes",
        *,
        user: str | None = None,
        scope: str = "openid offline_access",
        nonce: str | None = None,
    ) -> dict[str, Any]:
        """A confirmed login: the dictionary that the token endpoint would have answered."""
        answer = self._order("login", client_id=client_id, user=user, scope=scope, nonce=nonce)
        return dict(answer)

    def revoke(self, token: str) -> None:
        """End the login that a token came from, as an administrator would."""
        self._order("revoke", token=token)

    def approve_device(self, user_code: str, *, user: str | None = None) -> bool:
        """Approve a device login; False if there is no such code."""
        return bool(self._order("decide_device", user_code=user_code, approve=True, user=user))

    def deny_device(self, user_code: str) -> bool:
        """Deny a device login; False if there is no such code."""
        return bool(self._order("decide_device", user_code=user_code, approve=False))

    def advance(self, seconds: float) -> None:
        """Let time pass for the server: tokens expire without waiting."""
        self._order("advance", seconds=seconds)

    def set_policy(self, policy: Policy) -> None:
        """Change how the server behaves from now on."""
        self._order("set_policy", policy=policy_to_json(policy))

    def _order(self, verb: str, *, waits: float = 0.0, **order: object) -> Any:
        request = urllib.request.Request(
            f"{self.issuer}/admin/{verb}",
            data=json.dumps(order).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=self._timeout + waits) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as exc:
            with exc:
                raise AdminRefused(f"{verb}: {_reason(exc)}") from exc


def _reason(answer: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.code}"
