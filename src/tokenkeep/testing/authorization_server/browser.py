"""A browser without a window and the person before it: visits, approves, follows redirects.

    BROWSER="python -m tokenkeep.testing.authorization_server.browser %s"

makes it the browser of a command that opens one. It exits with 0 if the last page was a success.
"""

from __future__ import annotations

import http.client
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message
from html.parser import HTMLParser
from typing import IO

from tokenkeep.testing.authorization_server.wire import with_query

# A login visits the server, at most one page with a question, and the client's port.
_MAX_VISITS = 10
_TIMEOUT_SECONDS = 30.0
_MAX_PAGE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class _Page:
    url: str
    status: int
    location: str | None
    links: dict[str, str]


def drive(url: str, *, user: str | None = None) -> int:
    """Visit `url` as `user`, approve what is asked, follow every redirect.

    Returns:
        The HTTP status of the last page.

    Raises:
        OSError: Somebody on the way does not answer.
    """
    address = url if user is None else with_query(url, {"login": user})
    visited = _visit(address)
    for _ in range(_MAX_VISITS):
        onward = visited.location or visited.links.get("approve")
        if onward is None:
            break
        visited = _visit(onward)
    return visited.status


def redirect_of(url: str, *, user: str | None = None, deny: bool = False) -> str:
    """Decide at an authorization address; where the browser is sent, without going there.

    Raises:
        ValueError: The server answered with a page.
    """
    decision = "deny" if deny else "approve"
    visited = _visit(with_query(url, {"login": user, "decision": decision}))
    if visited.location is None:
        raise ValueError(f"a page with status {visited.status} instead of a redirect")
    return visited.location


class _Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are followed by hand, so that each can be looked at."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        return None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        rel, href = named.get("rel"), named.get("href")
        if tag == "a" and rel and href:
            self.found.setdefault(rel, href)


def _visit(url: str) -> _Page:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("not a web address")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)
    try:
        with opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
            return _page(url, answer.status, answer.headers, answer.read(_MAX_PAGE_BYTES))
    except urllib.error.HTTPError as answer:
        with answer:
            return _page(url, answer.code, answer.headers, b"")


def _page(url: str, status: int, headers: Message, body: bytes) -> _Page:
    location = headers.get("Location")
    links = _Links()
    links.feed(body.decode("utf-8", "replace"))
    return _Page(
        url, status, urllib.parse.urljoin(url, location) if location else None, links.found
    )


def _main() -> int:
    if len(sys.argv) != 2:
        print(
            "usage: python -m tokenkeep.testing.authorization_server.browser URL", file=sys.stderr
        )
        return 2
    try:
        status = drive(sys.argv[1])
    except (OSError, ValueError) as exc:
        print(f"error: {type(exc).__name__}", file=sys.stderr)
        return 1
    return 0 if status < 400 else 1


if __name__ == "__main__":
    sys.exit(_main())
