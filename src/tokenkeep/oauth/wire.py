"""The values a transport carries: one HTTP request and its answer. Neither prints its content.

Nothing here does input or output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from tokenkeep.secret import Secret

#: Names and values in order; secrets stay `Secret` until the bytes for the wire are made.
Pairs = tuple[tuple[str, "str | Secret"], ...]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to a provider; `form` is the body, None for GET."""

    method: str
    url: str
    headers: Pairs = field(default=(), repr=False)
    form: Pairs | None = field(default=None, repr=False)

    def body(self) -> bytes:
        """The form as application/x-www-form-urlencoded; plain, so never kept in a local."""
        return b"" if self.form is None else form_encoded(self.form)

    def secrets(self) -> list[Secret]:
        """Every secret the request carries."""
        carried = [*self.headers, *(self.form or ())]
        return [value for _, value in carried if isinstance(value, Secret)]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer, read to its end and bounded in size; header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


def form_encoded(pairs: Pairs) -> bytes:
    """The pairs as application/x-www-form-urlencoded (RFC 6749, appendix B)."""
    return "&".join(
        f"{quote_plus(name)}={quote_plus(_plain(value))}" for name, value in pairs
    ).encode("ascii")


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value
