"""`SessionAuth` for aiohttp: `aiohttp.ClientSession(middlewares=(SessionAuth(session),))`."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from tokenkeep.errors import MissingExtra
from tokenkeep.integrations.bearer import Answer, Bearer, origin_of
from tokenkeep.session.state import AccessToken

try:
    import aiohttp
    from multidict import CIMultiDict, CIMultiDictProxy
    from yarl import URL
except ImportError:
    _is_installed = False
else:
    _is_installed = True

if not _is_installed:
    raise MissingExtra(extra="aiohttp")

#: The origin that a redirect leads to, if it is not the one that was asked. aiohttp runs a client's
#: middlewares for every hop of a redirect, in one task; without this, a redirect would carry the
#: token to wherever a server says.
_redirected_to: ContextVar[str] = ContextVar("tokenkeep_redirected_to", default="")


class SessionAuth(Bearer):
    """Sends a session's access token with every request, as a client middleware.

    A streamed body is not sent twice: its 401 is the answer.
    """

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """One authorised request."""
        from tokenkeep.aio.threads import in_thread

        url = str(request.url)
        strayed, _ = _redirected_to.get(), _redirected_to.set("")
        if strayed == origin_of(url):
            stray = await handler(request)
            _follow(stray, always=True)
            return stray
        response: aiohttp.ClientResponse | None = None
        flow = self.flow(url)
        answer: object = None
        try:
            while True:
                try:
                    wish = flow.send(answer)
                except StopIteration:
                    break
                if isinstance(wish, AccessToken):
                    if response is not None:
                        response.release()
                    self.authorise(request.headers, wish, request.method, url)
                    response = await handler(request)
                    is_final = not _is_repeatable(request)
                    answer = Answer(response.status, _joined(response.headers), is_final)
                else:
                    answer = await in_thread(wish)
        except BaseException:
            if response is not None:
                response.close()  # nobody gets it: its connection must not stay taken
            raise
        assert response is not None
        _follow(response)
        return response


def _follow(response: aiohttp.ClientResponse, *, always: bool = False) -> None:
    """Remembers where a redirect leads, if the token must not go there."""
    location = response.headers.get("Location", "")
    if response.status not in (301, 302, 303, 307, 308) or not location:
        return
    try:
        target = origin_of(str(response.url.join(URL(location))))
    except ValueError:
        return  # it leads nowhere, which is for aiohttp to say
    if always or target != origin_of(str(response.url)):
        _redirected_to.set(target)


def _joined(headers: CIMultiDictProxy[str]) -> Mapping[str, str]:
    """Each header once, as other clients give them: a server may send two challenges in two."""
    return CIMultiDict({name: ", ".join(headers.getall(name)) for name in headers})


def _is_repeatable(request: Any) -> bool:
    body = request.body
    kinds = (bytes, bytearray, aiohttp.BytesPayload, aiohttp.FormData)
    return not body or isinstance(body, kinds)
