"""msal-extensions: its token cache over a file; an item is the secret of one access token.

Access tokens, because they are what the cache finds by key rather than by looking at each.
"""

from __future__ import annotations

import os
import sys
import time

from msal_extensions import FilePersistence, PersistedTokenCache

ACCESS_TOKEN = PersistedTokenCache.CredentialType.ACCESS_TOKEN


class Peer:
    """A cache file below `place`, without encryption."""

    def __init__(self, place: str) -> None:
        persistence = FilePersistence(os.path.join(place, "msal.cache"))
        self._cache = PersistedTokenCache(persistence)

    def read(self, name: str) -> str | None:
        """The text under a name."""
        for entry in self._cache.search(ACCESS_TOKEN, target=["read"], query=_key(name)):
            return str(entry["secret"])
        return None

    def write(self, name: str, value: str) -> None:
        """Keep a text under a name."""
        entry = {**_key(name), "target": "read", "credential_type": ACCESS_TOKEN}
        expiry = str(int(time.time()) + 86_400)
        self._cache.modify(ACCESS_TOKEN, entry, {"secret": value, "expires_on": expiry})


def _key(name: str) -> dict[str, str]:
    return {
        "home_account_id": name,
        "environment": "issuer.example",
        "client_id": "bench",
        "realm": "organizations",
    }


if __name__ == "__main__":
    print(Peer(sys.argv[1]).read(sys.argv[2]))
