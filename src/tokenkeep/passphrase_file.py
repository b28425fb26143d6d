"""Reading a secret that somebody keeps in a file of its own: a passphrase, a client's secret."""

from __future__ import annotations

import os

from tokenkeep.errors import AccessDenied, StoreUnavailable, UnsupportedOption
from tokenkeep.secret import Secret

#: Far more than any passphrase; a bound on what a mistaken file can make us read.
MAX_BYTES = 1_048_576


def read_passphrase(path: str, option: str = "--passphrase-file") -> Secret:
    """What a passphrase file holds, or another secret's, without one trailing newline.

    Args:
        option: which option names such a file; for the messages.

    Raises:
        StoreUnavailable: it does not exist.
        AccessDenied: it cannot be read, or others can.
        UnsupportedOption: it is empty, no file, or too large to be a passphrase.
    """
    problem: OSError | None = None
    what = option.removeprefix("--").replace("-", " ")
    text = bytearray()
    is_open_to_others = False
    try:
        with open(path, "rb") as file:
            is_open_to_others = os.name == "posix" and bool(os.fstat(file.fileno()).st_mode & 0o77)
            if not is_open_to_others:
                text += file.read(MAX_BYTES + 1)
    except OSError as exc:
        problem = exc
    if isinstance(problem, FileNotFoundError):
        raise StoreUnavailable(f"{path}: no such {what}", hint=f"{option} FILE")
    if isinstance(problem, PermissionError):
        raise AccessDenied(f"{path}: {problem.strerror}", hint=f"chmod u+r {path}")
    if problem is not None:
        raise UnsupportedOption(f"{path}: {problem.strerror}")
    if is_open_to_others:
        raise AccessDenied(f"{path}: other users can read it", hint=f"chmod 600 {path}")
    if text.endswith(b"\n"):
        del text[-2 if text.endswith(b"\r\n") else -1 :]
    size = len(text)
    if size in range(1, MAX_BYTES + 1):
        return Secret(text)
    del text  # it must not stay in a captured frame
    raise UnsupportedOption(f"{path}: the {what} is {'too large' if size else 'empty'}")
