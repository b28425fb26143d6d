"""Keeps live tokens out of the logs of other people's libraries.

`hpack` at DEBUG prints every header of HTTP/2, `requests_oauthlib` its headers and bodies. The
filter here rewrites such records in two ways: the exact values of watched secrets, wherever they
stand, and whatever stands behind a telling name such as `authorization` or `refresh_token`.

What it costs: to find a value one has to have it. The filter holds watched secrets weakly, so it
keeps none alive, and makes plain copies only for the moment of looking at one record; like every
`str` in Python they cannot be wiped afterwards.

What it cannot do: a library that was never imported when `install` ran, and is not in
`THIRD_PARTY_LOGGERS`, is not seen; put the filter on your handlers too if you log at DEBUG. A
token cut in two, or encoded in a way of its own, passes. A filter is a net, not a licence.
"""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import quote, quote_plus

from tokenkeep.secret import Secret

REPLACEMENT = "[redacted]"
#: A shorter value would be found in innocent text all the time; telling names still hide it.
MIN_VALUE_CHARACTERS = 8

#: Filters do not see the records of a logger's children, so each child is named; others that
#: exist when `install` runs are found by themselves.
THIRD_PARTY_LOGGERS: Mapping[str, tuple[str, ...]] = {
    "hpack": ("hpack", "table"),
    "httpx2": (),
    "httpcore2": ("connection", "http11", "http2", "proxy", "socks"),
    "httpx": (),
    "httpcore": ("connection", "http11", "http2", "proxy", "socks"),
    "urllib3": (
        *("connection", "connectionpool", "poolmanager", "response"),
        *("util.retry", "http2.connection"),
    ),
    "requests_oauthlib": (
        *("oauth1_auth", "oauth1_session", "oauth2_auth", "oauth2_session"),
        *("compliance_fixes.facebook", "compliance_fixes.slack"),
    ),
    "oauthlib": (),
    "aiohttp": ("access", "client", "internal", "server", "web", "websocket"),
}

_HEADERS = ("authorization", "proxy-authorization", "cookie", "set-cookie", "dpop")
_FIELDS = (
    *("access_token", "refresh_token", "id_token", "id_token_hint", "logout_token", "token"),
    *("client_secret", "client_assertion", "assertion", "subject_token", "actor_token"),
    *("code", "code_verifier", "device_code", "user_code", "password", "state", "nonce"),
)
_TELLING = frozenset((*_HEADERS, *_FIELDS, "x-api-key", "api_key"))
#: Longest first, so that `code` does not end the search for `code_verifier`; "-" is "_".
_ANY_NAME = "|".join(
    re.sub("[-_]", "[-_]", name) for name in sorted(_TELLING, key=len, reverse=True)
)

#: 'name': 'value', "name": "value", (b'name', b'value') and what else a repr or JSON makes.
_QUOTED = re.compile(
    rf"""(?P<key>b?(?P<quote>['"])(?:{_ANY_NAME})(?P=quote)\s*[:,=]\s*)"""
    r"""(?:b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|(?!\[redacted)[^\s,}\])]+)""",
    re.IGNORECASE,
)
#: Name: value, to the end of the line, written out or escaped.
_HEADER_LINE = re.compile(
    rf"(?:\b|(?<=\\[nr]))(?P<key>(?:{'|'.join(_HEADERS)})[ \t]*[:=][ \t]*)(?:(?!\\r|\\n)[^\r\n])+",
    re.IGNORECASE,
)
#: name=value in a form, a query or a sentence.
_PAIR = re.compile(rf"""(?<![\w-])(?P<key>(?:{_ANY_NAME})=)[^&\s'"<>]+""", re.IGNORECASE)
_SCHEME = re.compile(r"\b(?P<key>(?:Bearer|DPoP|Basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_JWT = re.compile(r"(?P<key>)\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_PATTERNS = (_QUOTED, _HEADER_LINE, _PAIR, _SCHEME, _JWT)


class HasLiveTokens(Protocol):
    """What has tokens that change, such as a `Session`."""

    def live_tokens(self) -> Iterable[Secret]:
        """The tokens that are good now."""
        ...


class RedactingFilter(logging.Filter):
    """Rewrites records that would print a token; lets every record through.

    Goes on a logger or, better, on a handler (`handler.addFilter`): that one sees the records of
    every logger. A record in which nothing is found stays as it is. If a record cannot be looked
    at, its text is withheld.

    Args:
        secrets: values to look for; see `watch`, and `follow` for a session's.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        super().__init__()
        self._watched: dict[int, weakref.ref[Secret]] = {}
        self._followed: weakref.WeakSet[HasLiveTokens] = weakref.WeakSet()
        for secret in secrets:
            self.watch(secret)

    def watch(self, secret: Secret) -> None:
        """Looks for this value from now on, as long as somebody else keeps the secret."""
        key, watched = id(secret), self._watched
        watched[key] = weakref.ref(secret, lambda _gone: watched.pop(key, None) and None)

    def follow(self, source: HasLiveTokens) -> None:
        """Looks for whatever tokens a session has at the time, as long as the session is there."""
        self._followed.add(source)

    def filter(self, record: logging.LogRecord) -> bool:
        """Redacts the record in place; always True."""
        try:
            self._redact(record)
        except Exception as exc:
            record.msg = f"[record withheld: it could not be redacted ({type(exc).__name__})]"
            record.args = None
            record.exc_info = record.exc_text = record.stack_info = None
        return True

    def text(self, text: str) -> str:
        """The text without what the filter knows to be secret."""
        return self._by_name(self._by_value(text))

    def _redact(self, record: logging.LogRecord) -> None:
        before = record.getMessage()
        is_hpack = record.name.partition(".")[0] == "hpack"
        arguments = _cleaned_arguments(record.args, hides_bytes=is_hpack)
        if arguments is record.args:
            after = self.text(before)
        else:
            after = self.text(str(record.msg) % arguments)
        if after != before:
            record.msg, record.args = after, None
        if record.exc_info and not record.exc_text:
            # A formatter prints `exc_text` where there is one.
            record.exc_text = self.text(logging.Formatter().formatException(record.exc_info))
        elif record.exc_text:
            record.exc_text = self.text(record.exc_text)
        if record.stack_info:
            record.stack_info = self.text(record.stack_info)

    def _by_value(self, text: str) -> str:
        watched = [reference() for reference in list(self._watched.values())]
        live = [secret for source in list(self._followed) for secret in source.live_tokens()]
        for secret in (*watched, *live):
            if secret is not None:
                text = _without_value(text, secret)
        return text

    @staticmethod
    def _by_name(text: str) -> str:
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\g<key>{REPLACEMENT}", text)
        return text


def install(
    redacting: RedactingFilter | None = None,
    *,
    loggers: Mapping[str, tuple[str, ...]] = THIRD_PARTY_LOGGERS,
) -> Callable[[], None]:
    """Puts a filter on the loggers of third parties and on their children.

    Args:
        redacting: one that watches secrets; None takes one that goes by names alone.
        loggers: a library's logger, and those of its children that may not exist yet.

    Returns:
        What takes the filter off again; may be called twice.
    """
    redacting = RedactingFilter() if redacting is None else redacting
    covered: list[logging.Logger] = []
    for library, children in loggers.items():
        # A copy: another thread may be importing a library meanwhile.
        existing = [
            name for name in list(logging.root.manager.loggerDict) if name.startswith(f"{library}.")
        ]
        for name in dict.fromkeys(
            (library, *(f"{library}.{each}" for each in children), *existing)
        ):
            logger = logging.getLogger(name)
            if redacting not in logger.filters:
                logger.addFilter(redacting)
                covered.append(logger)

    def undo() -> None:
        while covered:
            covered.pop().removeFilter(redacting)

    return undo


def _without_value(text: str, secret: Secret) -> str:
    """The text without the secret: as it is, as a URL or form has it, as a repr escapes it."""
    try:
        value = secret.reveal_bytes()
    except ValueError:
        return text  # wiped
    if len(value) < MIN_VALUE_CHARACTERS:
        return text
    spellings = {repr(value)[2:-1]}
    try:
        plain = value.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        spellings |= {plain, repr(plain)[1:-1], quote(plain, safe=""), quote(plain)}
        spellings.add(quote_plus(plain))
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, REPLACEMENT)
    return text


def _cleaned_arguments(arguments: Any, *, hides_bytes: bool) -> Any:
    """The arguments of a record without what stands behind telling names; itself if clean."""
    if isinstance(arguments, tuple):
        if hides_bytes and len(arguments) == 1 and isinstance(arguments[0], bytes | bytearray):
            # A whole header block: its Huffman code hides nothing from people and all from us.
            return (f"[{len(arguments[0])} bytes {REPLACEMENT}]",)
        return _cleaned_sequence(arguments, 0)
    return _cleaned(arguments, 0)


def _cleaned(value: Any, depth: int) -> Any:
    if depth > 8:
        return value
    if type(value) is dict:
        cleaned = {
            key: REPLACEMENT if _is_telling(key) and each else _cleaned(each, depth + 1)
            for key, each in value.items()
        }
        return value if all(cleaned[key] is each for key, each in value.items()) else cleaned
    if isinstance(value, list | tuple):
        return _cleaned_sequence(value, depth)
    return value


def _cleaned_sequence(values: Any, depth: int) -> Any:
    """A sequence: what follows a telling name is its value, as in hpack's `%s=%s` and in pairs."""
    cleaned = [_cleaned(each, depth + 1) for each in values]
    for index in range(len(values) - 1):
        if _is_telling(values[index]) and isinstance(values[index + 1], str | bytes | bytearray):
            cleaned[index + 1] = REPLACEMENT
    if all(new is old for new, old in zip(cleaned, values, strict=True)):
        return values
    return cleaned if isinstance(values, list) else tuple(cleaned)


def _is_telling(name: Any) -> bool:
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    if not isinstance(name, str) or len(name) > 32:
        return False
    lowered = name.lower()
    return lowered in _TELLING or lowered.replace("-", "_") in _TELLING
