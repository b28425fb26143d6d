"""What the store contract works with: names and values that a backend may confuse."""

from __future__ import annotations

from typing import Any

from tokenkeep.item import MAX_NAME_BYTES, SESSION, Call, ItemName
from tokenkeep.secret import Secret

SERVICE = "org.example.contract"
OTHER_SERVICE = "org.example.contract2"
ONE = ItemName(SERVICE, "one")
TWO = ItemName(SERVICE, "two")
RECORD = ItemName(SERVICE, "one", SESSION)

#: Each is a name of its own: no backend may fold, trim, normalise or parse them.
NAMES = (
    "token",
    "Token",
    "TOKEN",
    "straße",
    "STRASSE",
    "caf\u00e9",  # é as one character
    "cafe\u0301",  # and as two
    "ﬁ",
    "fi",
    "a b",
    " leading",
    "trailing ",
    "trailing.",
    ".",
    "..",
    "../up",
    "a/b",
    "a\\b",
    "C:\\x",
    "CON",
    "a:b",
    "line\nbreak",
    "tab\there",
    "\x01\x7f",
    "%00",
    "%2e",
    "'; DROP TABLE items; --",
    '"quoted"',
    "*",
    "-rf",
    "🗝️",
    "שלום",
    "\u202egnp.exe",
    "\U0010ffff",
    "a" * MAX_NAME_BYTES,
    "é" * (MAX_NAME_BYTES // 2),
    "A" * MAX_NAME_BYTES,
)
VALUES = (
    b"",
    b"\0",
    b"plain",
    "naïve 🗝️".encode(),
    b"trailing newline\n",
    b" \t spaces ",
    bytes(range(256)),
    b"\xff\xfe\x00\xd8",
    b"x" * 2_000,
)
#: Where a store states no limit it takes what an application may be allowed to keep.
LARGE = 65_536

#: How often a worker repeats itself, where several work at once.
ROUNDS = 25


def call(timeout: float = 30.0) -> Call:
    """A deadline that a loaded machine keeps."""
    return Call(timeout)


class closing:  # noqa: N801
    """Closes a store that can be closed."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __enter__(self) -> Any:
        return self._store

    def __exit__(self, *_exc: object) -> None:
        if hasattr(self._store, "close"):
            self._store.close()


def revealed(secret: Secret | None) -> bytes | None:
    """The bytes, for comparing."""
    return None if secret is None else secret.reveal_bytes()
