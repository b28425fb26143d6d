"""`SessionAuth` for httpx2: `httpx2.Client(auth=SessionAuth(session))`, and `AsyncClient` alike."""

from __future__ import annotations

from tokenkeep.errors import MissingExtra
from tokenkeep.integrations._httpx import HttpxBearer

try:
    import httpx2
except ImportError:
    _is_installed = False
else:
    _is_installed = True

if not _is_installed:
    raise MissingExtra(extra="oauth")


class SessionAuth(HttpxBearer, httpx2.Auth):
    """Sends a session's access token with every request of a client."""
