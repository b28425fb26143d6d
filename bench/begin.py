"""Runs inside tokenkeep's environment: begins a session where the command line keeps its own.

One JSON object on standard input: issuer, service, and the token endpoint's answer.
"""

from __future__ import annotations

import json
import sys

from tokenkeep import Provider, SecureStorage, Session, TokenStorage
from tokenkeep.config import load, storage_options


def main() -> None:
    """Begin it."""
    given = json.load(sys.stdin)
    storage = SecureStorage(given["service"], *storage_options(load()))
    provider = Provider(given["issuer"], client_id="bench")
    session = Session(provider, TokenStorage(storage), share_access_tokens=True)
    session.begin(given["tokens"])


if __name__ == "__main__":
    main()
