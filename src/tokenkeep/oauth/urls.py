"""Which addresses a token may travel to: https, or http within this machine.

Nothing here does input or output.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

#: What browsers and proxies take without trouble.
MAX_URL_CHARACTERS = 2048


def is_loopback_host(host: str) -> bool:
    """Whether the host is this machine by its spelling alone: 127.0.0.0/8, ::1 or localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return IPv4Address(host).is_loopback
    except ValueError:
        pass
    try:
        # Not `is_loopback`: newer Pythons extend it to addresses mapped from IPv4.
        return IPv6Address(host) == IPv6Address("::1")
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    """Whether the URL, already found sound, leads to this machine."""
    return is_loopback_host(urlsplit(url).hostname or "")


def issuer_problem(url: object) -> str | None:
    """What is wrong with the URL as an issuer (RFC 8414, section 2); None if it can be one."""
    problem = endpoint_problem(url)
    if problem is None and "?" in str(url):
        return "has a query"
    return problem


def endpoint_problem(url: object) -> str | None:
    """What is wrong with the URL as an endpoint of a provider; None if it can be one.

    The answer does not repeat the URL.
    """
    if not isinstance(url, str):
        return "is not text"
    if not url:
        return "is empty"
    if len(url) > MAX_URL_CHARACTERS:
        return f"has more than {MAX_URL_CHARACTERS} characters"
    # Python's parser drops tabs and line ends silently; browsers read "\" as "/".
    if any(not "!" <= character <= "~" or character in '\\"<>^`{|}' for character in url):
        return "has characters that a URL cannot have"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("https", "http"):
        return "is not an https URL"
    if not host:
        return "names no host"
    if "@" in parts.netloc:
        return "has a user name or password"
    if "#" in url:
        return "has a fragment"
    if parts.scheme == "http" and not is_loopback_host(host):
        return "is not https, and not on this machine"
    return None
