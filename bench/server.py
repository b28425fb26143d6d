"""The strict local authorization server, in a process of its own.

Refresh tokens rotate, and one that comes twice ends the whole session: RFC 9700 section 4.14.2.
"""

from __future__ import annotations

import json
import subprocess
import time
from types import TracebackType
from typing import Any, Self

from environments import clean, python_of
from measure import PeerFailed

from tokenkeep.testing.authorization_server.admin import Admin
from tokenkeep.testing.authorization_server.policy import Policy

SCOPE = "openid profile offline_access read"
#: How long an access token lives that is to have expired when the herd comes.
SHORT_SECONDS = 1.0
LONG_SECONDS = 3600.0


class Server:
    """For as long as the `with` block; `admin` looks into it.

    Args:
        place: its home directory.
    """

    def __init__(self, place: str) -> None:
        self._process = subprocess.Popen(
            [python_of("tokenkeep"), "-m", "tokenkeep.testing.authorization_server"],
            env=clean(place),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._end()
            raise PeerFailed("the authorization server does not start")
        self.issuer: str = json.loads(line)["issuer"]
        self.admin = Admin(self.issuer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def short(self) -> None:
        """From now on access tokens expire almost at once."""
        self.admin.set_policy(Policy(access_token_seconds=SHORT_SECONDS))

    def long(self, *, waits: bool = True) -> None:
        """From now on access tokens last; waits until those from before have expired."""
        self.admin.set_policy(Policy(access_token_seconds=LONG_SECONDS))
        if waits:
            time.sleep(SHORT_SECONDS + 0.3)

    def log_in(self) -> dict[str, Any]:
        """A login, as the token endpoint answers it."""
        return self.admin.login("bench", scope=SCOPE)

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
