"""How an authorised request goes, whatever the library: written once, driven by each.

Get a token, send, and on a 401 ask the session what to send instead, once; for a request that
cannot be sent twice the next one has it. An answer that arrives after a sign-out is dropped. Tokens
go over https, or to this machine; never to another origin than the one that was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from tokenkeep.errors import LoginRequired, SessionError, StoreError, UnsupportedOption
from tokenkeep.oauth.dpop import NONCE_WANTED, usable_nonce
from tokenkeep.oauth.urls import is_loopback_host
from tokenkeep.session.session import Session
from tokenkeep.session.state import AccessToken

if TYPE_CHECKING:
    from tokenkeep.aio.session import AsyncSession

#: What a driver is asked for: to send the request with a token (and give its `Answer`), or to make
#: a call that may block (and answer with its result).
Wish = AccessToken | Callable[[], Any]
#: Resource servers whose newest DPoP nonce is remembered.
_MOST_NONCES = 64


class Answer(NamedTuple):
    """What a resource server answered; status 0 if it has nothing to say of the token.

    `is_final` is whether the request cannot be sent again.
    """

    status: int
    headers: Mapping[str, str]
    is_final: bool = False


class Bearer:
    """What every integration shares.

    Args:
        session: whose access tokens are sent; either face.
        origins: the only origins, such as "https://api.example", that may get a token; any https
            origin that a request names if None. A single one may be text.

    Raises:
        UnsupportedOption: one of the origins is none.
    """

    def __init__(
        self, session: Session | AsyncSession, *, origins: Collection[str] | None = None
    ) -> None:
        self._session: Session = session if isinstance(session, Session) else session.sync
        self._nonces: dict[str, str] = {}
        named = [origins] if isinstance(origins, str) else origins
        self._origins = None if named is None else frozenset(map(_named_origin, named))

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
        answer = yield from self._sent(token, url)
        if answer.status == 401 and answer.is_final:
            yield partial(self._renew, token)
        elif answer.status == 401:
            newer = yield partial(session.token_after_401, token)
            if newer is not None:
                token = newer
                yield from self._sent(newer, url)
        assert token is not None
        if not (yield partial(session.is_current, token)):
            raise LoginRequired(
                "the session ended while the request was on its way", reason="ended elsewhere"
            )

    def authorise(
        self, headers: MutableMapping[str, str], token: AccessToken, method: str, url: str
    ) -> None:
        """Puts on what authorises one request, in the place of what authorised an earlier one.

        Source: RFC 6750, section 2.1; RFC 9449, section 7.1.
        """
        headers.pop("DPoP", None)
        key = token.dpop_key
        if key is None:
            headers["Authorization"] = f"Bearer {token.reveal()}"
            return
        at = self._session.tokens.storage.clock.wall()
        nonce = self._nonces.get(origin_of(url))
        headers["Authorization"] = f"DPoP {token.reveal()}"
        headers["DPoP"] = key.proof(method, url, at=at, nonce=nonce, access_token=token)

    def _sent(self, token: AccessToken, url: str) -> Generator[Wish, Any, Answer]:
        """The answer to a request with this token, sent again once if only a nonce was missing."""
        answer: Answer = yield token
        if token.dpop_key is not None and self._has_new_nonce(answer, url):
            if answer.is_final:
                return answer._replace(status=0)
            answer = yield token
            self._has_new_nonce(answer, url)
        return answer

    def _renew(self, rejected: AccessToken) -> None:
        """Sees to the next request, where this one has its answer whatever comes of it."""
        try:
            self._session.token_after_401(rejected)
        except (SessionError, StoreError):
            return

    def _has_new_nonce(self, answer: Answer, url: str) -> bool:
        """Keeps the nonce of an answer; whether the answer asks for it (section 9)."""
        nonce, origin = usable_nonce(answer.headers.get("DPoP-Nonce")), origin_of(url)
        if nonce is None or nonce == self._nonces.get(origin):
            return False
        if len(self._nonces) >= _MOST_NONCES:
            self._nonces.clear()
        self._nonces[origin] = nonce
        return answer.status == 401 and NONCE_WANTED in answer.headers.get("WWW-Authenticate", "")

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


def _named_origin(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        if parts.scheme and parts.hostname:
            return origin_of(origin)
    except ValueError:
        pass  # a port that is none, or half an IPv6 address
    raise UnsupportedOption(
        "an origin has a scheme and a host", hint='origins=["https://api.example"]'
    )
