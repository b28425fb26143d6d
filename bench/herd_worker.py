"""Runs inside a client's environment: callers that meet one expired access token.

`herd_worker.py CLIENT`: a module of `herds` with a class `Client(config)` that has `call()` (asks
for the user info and returns the HTTP status), `refresh_token()` (what is kept) and the static
`login(config)` (keeps the answer of a login). JSON lines in, JSON lines out, as `worker.py`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from importlib import import_module


class Herd:
    """One process of the herd."""

    def __init__(self, module: str) -> None:
        self._class = import_module("herds." + module).Client
        self._client = None

    def login(self, config: dict) -> dict:
        """Keep the answer of a login."""
        self._class.login(config)
        return {}

    def prepare(self, config: dict) -> dict:
        """Start as the application does, up to the moment before the first request."""
        self._client = self._class(config)
        return {}

    def go(self, callers: int) -> dict:
        """Everybody at once; what each got."""
        results: list = [None] * callers
        start = threading.Barrier(callers)

        def caller(number: int) -> None:
            start.wait()
            started = time.perf_counter()
            try:
                results[number] = {"status": self._client.call()}
            except Exception as exc:
                told = f"{type(exc).__name__}: {' '.join(str(exc).split())[:48]}"
                results[number] = {"status": 0, "error": told}
            results[number]["seconds"] = time.perf_counter() - started

        threads = [threading.Thread(target=caller, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"results": results}

    def kept(self) -> dict:
        """The refresh token that the next start would find."""
        return {"refresh_token": self._client.refresh_token()}

    def logout(self) -> dict:
        """End the session, as far as the client can."""
        self._client.session.logout()
        return {}


def main() -> int:
    """Serve orders until standard input ends."""
    herd = Herd(sys.argv[1])
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = getattr(herd, order.pop("do"))(**order)
        except Exception as exc:
            answer = {"error": f"{type(exc).__name__}: {' '.join(str(exc).split())[:120]}"}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
