"""The server as a process: prints one JSON line `{"issuer": ..., "pid": ...}`, then serves.

It ends at SIGTERM, at SIGINT and when its standard input closes. Lines on standard input direct
it: `offline` closes the port, `online` opens it again, the state is kept; each is answered by one
JSON line `{"online": ...}`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence

from tokenkeep.testing.authorization_server.policy import Policy, policy_from_json
from tokenkeep.testing.authorization_server.server import AuthorizationServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; the exit code of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m tokenkeep.testing.authorization_server",
        description="an OAuth 2.0 and OpenID Connect server on loopback, for tests",
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--policy",
        type=_policy,
        default=Policy(),
        help="""a JSON object, such as '{"grace_seconds": 10, "grace": "branching"}'""",
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    with AuthorizationServer(options.policy, port=options.port) as server:
        _say({"issuer": server.issuer, "pid": os.getpid()})
        for line in sys.stdin:
            _obey(server, line.strip())
    return 0


def _policy(text: str) -> Policy:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("a policy is a JSON object")
    return policy_from_json(document)


def _obey(server: AuthorizationServer, order: str) -> None:
    if order == "offline":
        server.stop()
        _say({"online": False})
    elif order == "online":
        server.start()
        _say({"online": True})
    elif order:
        _say({"error": "expected offline or online"})


def _say(document: dict[str, object]) -> None:
    print(json.dumps(document), flush=True)


def _leave(signal_number: int, frame: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
