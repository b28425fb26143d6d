"""Credential Manager on its failing paths: every call that may hold the secret, every answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaks.cases import SECRET, Case
from support.credential_manager import FolderOfCredentials
from tokenkeep.backends.windows import WindowsCredentialStore
from tokenkeep.item import Call, ItemName
from tokenkeep.native.wincred import NOT_FOUND, Credential
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage

SERVICE = "org.example.leaks"
NAME = ItemName(SERVICE, "one")
#: A value that fits is kept as text, and one with a byte behind it that is no text as it is.
NO_TEXT = SECRET.encode() + b"\xff"


class Failing(FolderOfCredentials):
    """Has the secret, and answers one call with a code; None: never."""

    def __init__(self, folder: Path, verb: str, code: int | None) -> None:
        super().__init__(folder)
        self._verb, self._code = verb, code

    def read(self, target: str) -> tuple[int, Credential | None]:
        if self._verb == "read":
            return self._fail(), None
        text = Secret(SECRET.encode("utf-16-le"))
        return 0, Credential(target, NAME.name, "", 2, text)

    def write(self, credential: Credential) -> int:
        return self._fail() if self._verb == "write" else 0

    def delete(self, target: str) -> int:
        return self._fail() if self._verb == "delete" else 0

    def _fail(self) -> int:
        if self._code is None:
            threading.Event().wait(5)
        return self._code or 0


VERBS: dict[str, tuple[str, Callable[[WindowsCredentialStore], object]]] = {
    "read": ("read", lambda store: store.read(NAME, Call(0.2))),
    "write": ("write", lambda store: store.write(NAME, Secret(SECRET), Call(0.2))),
    "write bytes": ("write", lambda store: store.write(NAME, Secret(NO_TEXT), Call(0.2))),
    "storage write": (
        "write",
        lambda store: SecureStorage(SERVICE, store, timeout=0.2).write("one", SECRET),
    ),
    # python-keyring's copies go once ours is kept.
    "write, tidying up": ("delete", lambda store: store.write(NAME, Secret(NO_TEXT), Call(0.2))),
    "delete": ("delete", lambda store: store.delete(NAME, Call(0.2))),
}
CODES = {"denied": 5, "busy": 32, "unknown": 0x80099999, "no answer": None}


def _failing(verb: str, code: int | None) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        which, call = VERBS[verb]
        manager: Any = Failing(directory / "credentials", which, code)
        return call(WindowsCredentialStore(manager=manager, lock_path=str(directory / "lock")))

    return run


CASES = [
    *(
        Case(f"credential manager {verb}, {what}", _failing(verb, code))
        for verb in VERBS
        for what, code in CODES.items()
    ),
    Case("credential manager write, not kept", _failing("write", NOT_FOUND)),
    Case(
        "credential manager write, too large",
        lambda directory: WindowsCredentialStore(lock_path=str(directory / "lock")).write(
            NAME, Secret(SECRET * 500), Call(0.2)
        ),
    ),
    Case(
        "credential manager write, no Windows",
        lambda directory: WindowsCredentialStore(lock_path=str(directory / "lock")).write(
            NAME, Secret(SECRET), Call(0.2)
        ),
    ),
]
