"""The flow of an authorised request, for the two generations of httpx alike."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

from tokenkeep.integrations.bearer import Answer, Bearer, origin_of
from tokenkeep.session.state import AccessToken


class HttpxBearer(Bearer):
    """Drives `Bearer.flow` as httpx's authentication flow, synchronous and asynchronous.

    A request whose body is a stream that cannot be sent twice is not sent twice: its 401 is the
    answer; so is the 401 of a page that a redirect led to from what was done already. Redirects are
    httpx's affair, which takes the header away when the origin changes.
    """

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """One authorised request of a `Client`."""
        flow = self.flow(str(request.url))
        wish = next(flow, None)
        while wish is not None:
            if isinstance(wish, AccessToken):
                self.authorise(request.headers, wish, request.method, str(request.url))
                answer: object = _answer(request, (yield request))
            else:
                answer = wish()
            wish = _next(flow, answer)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """One authorised request of an `AsyncClient`."""
        from tokenkeep.aio.threads import in_thread

        flow = self.flow(str(request.url))
        wish = next(flow, None)
        while wish is not None:
            if isinstance(wish, AccessToken):
                self.authorise(request.headers, wish, request.method, str(request.url))
                answer: object = _answer(request, (yield request))
            else:
                answer = await in_thread(wish)
            wish = _next(flow, answer)


def _next(flow: Generator[Any, Any, None], answer: object) -> Any:
    try:
        return flow.send(answer)
    except StopIteration:
        return None


def _answer(request: Any, response: Any) -> Answer:
    status: int = response.status_code
    if status == 401 and not _is_from(request, response):
        status = 0  # from where no token went
    # A redirect to a page that says what became of it: the request itself was not refused.
    was_done = response.request.method != request.method
    return Answer(status, response.headers, was_done or not _is_repeatable(request))


def _is_repeatable(request: Any) -> bool:
    # httpx reads a body into memory when it is made of bytes, text, a form or JSON.
    return hasattr(request, "_content")


def _is_from(request: Any, response: Any) -> bool:
    return origin_of(str(response.url)) == origin_of(str(request.url))
