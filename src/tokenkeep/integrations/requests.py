"""`SessionAuth` for requests: `requests.Session().auth = SessionAuth(session)`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from tokenkeep.errors import MissingExtra
from tokenkeep.integrations.bearer import Answer, Bearer
from tokenkeep.session.state import AccessToken

try:
    import requests
    from requests.auth import AuthBase
except ImportError:
    _is_installed = False
else:
    _is_installed = True

if not _is_installed:
    raise MissingExtra(extra="requests")


class SessionAuth(Bearer, AuthBase):
    """Sends a session's access token with every request.

    A body that cannot be rewound is not sent twice: its 401 is the answer. Redirects are requests'
    affair, which takes the header away when the host changes.
    """

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Puts the token on, and waits for the answer."""
        flow = self.flow(request.url or "")
        self._put_on(request, _token(flow, None))
        start = _position(request.body)

        def on_response(response: requests.Response, **settings: Any) -> requests.Response:
            is_ours = response.request is request
            status = response.status_code if is_ours else 0
            is_final = start is None and not isinstance(
                request.body, str | bytes | bytearray | None
            )
            try:
                token = _token(flow, Answer(status, response.headers, is_final))
                while token is not None:
                    response.content  # noqa: B018 - to its end: the connection can be reused
                    response.close()
                    again = request.copy()
                    # The copy shares the hook, which has done its work.
                    again.hooks = {**again.hooks, "response": []}
                    if start is not None:
                        again.body.seek(start)  # type: ignore[union-attr]
                    self._put_on(again, token)
                    repeated: requests.Response = response.connection.send(again, **settings)
                    repeated.history.append(response)
                    repeated.request = again
                    response = repeated
                    token = _token(flow, Answer(repeated.status_code, repeated.headers))
            except BaseException:
                response.close()  # nobody gets it: its connection must not stay taken
                raise
            return response

        request.register_hook("response", on_response)  # type: ignore[no-untyped-call]
        return request

    def _put_on(self, request: requests.PreparedRequest, token: Any) -> None:
        self.authorise(request.headers, token, request.method or "", request.url or "")


def _token(flow: Generator[Any, Any, None], answer: object) -> Any:
    """Drives the flow to its next token; None when it is done."""
    while True:
        try:
            wish = flow.send(answer)
        except StopIteration:
            return None
        if isinstance(wish, AccessToken):
            return wish
        answer = wish()


def _position(body: Any) -> int | None:
    try:
        position: int = body.tell()
    except (AttributeError, OSError):
        return None
    return position
