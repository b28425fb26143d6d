"""A case: a call with a secret in it that fails, or shows something.

Each module `cases_*.py` beside this one has a list `CASES`; `test_failures.py` finds them all.
A case's `run` gets an empty directory, uses `SECRET` as the secret, and must raise.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: Nothing in it is escaped by `repr`, a form or JSON, so that it is found wherever it is.
SECRET = "tkLeak7c9e2f4b1d8a"
#: The secret as it may hide: hexadecimal, and base64 at each of its three alignments.
FORMS = (
    SECRET,
    SECRET.encode().hex(),
    *(
        base64.b64encode(b"\0" * shift + SECRET.encode())[4:-4].decode().rstrip("=")
        for shift in range(3)
    ),
)


@dataclass(frozen=True)
class Case:
    """One failing call.

    Attributes:
        name: which call, failing how.
        run: makes the call.
        writes_plain: the secret lies in a file by the test's own doing.
    """

    name: str
    run: Callable[[Path], object]
    writes_plain: bool = False


def found_in(text: str) -> list[str]:
    """The forms of the secret that a text has."""
    return [form for form in FORMS if form in text]
