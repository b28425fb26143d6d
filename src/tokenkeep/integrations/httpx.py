"""`SessionAuth` for httpx: `httpx.Client(auth=SessionAuth(session))`, and `AsyncClient` alike."""

from __future__ import annotations

from tokenkeep.errors import MissingExtra
from tokenkeep.integrations._httpx import HttpxBearer

try:
    import httpx
except ImportError:
    _is_installed = False
else:
    _is_installed = True

if not _is_installed:
    raise MissingExtra(extra="httpx")


class SessionAuth(HttpxBearer, httpx.Auth):
    """Sends a session's access token with every request of a client."""
