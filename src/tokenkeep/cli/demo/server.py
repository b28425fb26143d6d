"""The authorization server of the story: a process of its own, and its remote control."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tokenkeep.cli.demo.children import Child, StoryError
from tokenkeep.testing.authorization_server import Admin, Endpoint, Hold, Policy, When

MODULE = "tokenkeep.testing.authorization_server"
CLIENT_ID = "demo"
#: Request parameters that are secret for as long as they live, or were.
_SECRET_PARAMETERS = ("refresh_token", "token", "code", "code_verifier", "device_code")


class Server:
    """The server's process. Strict unless changed: refresh tokens rotate, reuse ends a login."""

    def __init__(self, env: Mapping[str, str], directory: str) -> None:
        self.policy = Policy()
        self._child = Child([sys.executable, "-m", MODULE], env, directory, talks=True)
        self.pid = self._child.pid
        try:
            self.issuer = str(json.loads(self._child.line())["issuer"])
        except BaseException:
            self._child.kill()
            raise
        self.admin = Admin(self.issuer)

    def close(self) -> None:
        """Ends the process."""
        self._child.kill()

    def change(self, **changes: Any) -> None:
        """Changes the policy from now on."""
        self.policy = replace(self.policy, **changes)
        self.admin.set_policy(self.policy)

    def go_offline(self) -> None:
        """Closes the port; everything is remembered."""
        self._order("offline", is_online=False)

    def go_online(self) -> None:
        """Opens the port again."""
        self._order("online", is_online=True)

    @property
    def whole_lifetime(self) -> str:
        """Seconds that only a new token has left: who needs a token for so long needs a refresh."""
        return f"{self.policy.access_token_seconds:.0f}"

    def login_of(self, user: str) -> dict[str, Any]:
        """What the server knows of a user's latest login: generation, revoked, live tokens.

        Raises:
            StoryError: there is none.
        """
        found = [each for each in self.admin.grants() if each["user"] == user]
        if not found:
            raise StoryError(f"the server knows no login of {user}")
        return dict(found[-1])

    def hold_next_refresh(self) -> None:
        """The next token request is carried out, and its answer kept back until `release`."""
        self.admin.add_fault(Endpoint.TOKEN, Hold(When.AFTER))

    def wait_until_held(self) -> None:
        """Waits until the server keeps an answer back.

        Raises:
            StoryError: nobody asked.
        """
        if not self.admin.wait_held(timeout=15.0):
            raise StoryError("no token request came to the server")

    def release(self) -> None:
        """Lets the held answer go."""
        self.admin.clear_faults()

    def wait_until_refused(self, access_token: str) -> None:
        """Waits until an access token has expired at the server.

        Raises:
            StoryError: it does not.
        """
        deadline = time.monotonic() + 10.0
        while self.admin.accepts(access_token):
            if time.monotonic() > deadline:
                raise StoryError("the access token does not expire")
            time.sleep(0.05)

    def requests(self, endpoint: Endpoint) -> list[dict[str, Any]]:
        """The requests that came to an endpoint, oldest first."""
        return [each for each in self.admin.requests() if each["endpoint"] == endpoint.value]

    def secrets(self) -> set[bytes]:
        """Every token and code that the server gave out or was sent, as far as it remembers."""
        return {value.encode() for value in self._secrets() if value}

    def _secrets(self) -> Iterator[str]:
        for login in self.admin.grants():
            yield from login["refresh_tokens"]
            yield from login["access_tokens"]
        for request in self.admin.requests():
            for name in _SECRET_PARAMETERS:
                yield request["parameters"].get(name, "")

    def _order(self, order: str, *, is_online: bool) -> None:
        self._child.tell(order)
        if json.loads(self._child.line()).get("online") is not is_online:
            raise StoryError(f"the server did not go {order}")
