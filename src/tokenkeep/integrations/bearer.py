"""How an authorised request goes, whatever the library: written once, driven by each.

Get a token, send, and on a 401 ask the session what to send instead, once. An answer that arrives
after a sign-out is dropped. Tokens go over https, or to this machine; never to another origin than
the one that was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tokenkeep.errors import LoginRequired, UnsupportedOption
from tokenkeep.oauth.urls import is_loopback_host
from tokenkeep.session.session import Session
from tokenkeep.session.state import AccessToken

if TYPE_CHECKING:
    from tokenkeep.aio import AsyncSession

#: What a driver is asked for: to send the request with a token (and answer with the status), or
#: to make a call that may block (and answer with its result).
Wish = AccessToken | Callable[[], Any]


class Bearer:
    """What every integration shares.

    Args:
        session: whose access tokens are sent; either face.
        origins: the only origins, such as "https://api.example", that may get a token; any https
            origin that a request names if None.
    """

    def __init__(
        self, session: Session | AsyncSession, *, origins: Collection[str] | None = None
    ) -> None:
        self._session: Session = session if isinstance(session, Session) else session.sync
        self._origins = None if origins is None else frozenset(map(origin_of, origins))

    def flow(self, url: str) -> Generator[Wish, Any, None]:
        """The steps of one authorised request to `url`; its return means "use the last answer".

        Raises:
            UnsupportedOption: the url may not get a token.
            LoginRequired: signed out, or the session ended while the answer was on its way.
            SessionError, StoreError: no token is to be had; see `Session.access_token`.
        """
        self._check(url)
        session = self._session
        token: AccessToken | None = session.fresh_token()
        if token is None:
            token = yield session.access_token
        status = yield token
        if status == 401:
            newer = yield partial(session.token_after_401, token)
            if newer is not None:
                token = newer
                yield newer
        assert token is not None
        if not (yield partial(session.is_current, token)):
            raise LoginRequired(
                "the session ended while the request was on its way", reason="ended elsewhere"
            )

    def allows(self, url: str) -> bool:
        """Whether a request to `url` may carry a token."""
        if self._origins is not None and origin_of(url) not in self._origins:
            return False
        parts = urlsplit(url)
        is_here = is_loopback_host(parts.hostname or "")
        return parts.scheme == "https" or (parts.scheme == "http" and is_here)

    def _check(self, url: str) -> None:
        if not self.allows(url):
            raise UnsupportedOption(
                "an access token is not sent there: neither https nor this machine,"
                " or not among the origins that were given"
            )


def origin_of(url: str) -> str:
    """Scheme, host and port, spelled one way."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def header(token: AccessToken) -> str:
    """The Authorization header's value (RFC 6750, section 2.1)."""
    return f"Bearer {token.reveal()}"
