"""Credential Manager in a folder: the limits that Windows documents and Wine does not keep.

A stand-in for `native.wincred.CredentialManager` that runs everywhere and is shared by processes.
Where the documentation leaves something open, it does what would hurt a careless store most: it
strips blanks from user names and folds the case of targets as Unicode does.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
from pathlib import Path

from tokenkeep.backends.windows import WindowsCredentialStore, WindowsOptions
from tokenkeep.native.wincred import (
    MAX_BLOB_BYTES,
    MAX_TARGET_UNITS,
    MAX_USER_UNITS,
    NOT_FOUND,
    TOO_LARGE,
    Credential,
)
from tokenkeep.secret import Secret

INVALID_PARAMETER = 87
#: CRED_MAX_STRING_LENGTH, in UTF-16 units.
MAX_COMMENT_UNITS = 256


class FolderOfCredentials:
    """One file for each credential, replaced as a whole.

    Attributes:
        failure: what every call answers, if it is not 0.
        calls: the names of the calls that were made.
        longest: what `longest_persistence` answers.
        turn: none: its calls may be made at once, and there are no forks on Windows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failure = 0
        self.calls: list[str] = []
        self.longest = 3
        self.turn = None

    def read(self, target: str) -> tuple[int, Credential | None]:
        self.calls.append("read")
        if self.failure:
            return self.failure, None
        found = self._load(self._file(target))
        return (0, found) if found is not None else (NOT_FOUND, None)

    def write(self, credential: Credential) -> int:
        self.calls.append("write")
        if self.failure:
            return self.failure
        assert credential.blob is not None
        if credential.blob.size > MAX_BLOB_BYTES:
            return TOO_LARGE
        if (
            not 0 < units(credential.target) <= MAX_TARGET_UNITS
            or units(credential.user) > MAX_USER_UNITS
            or units(credential.comment) > MAX_COMMENT_UNITS
            or credential.persist not in (1, 2, 3)
        ):
            return INVALID_PARAMETER
        self.folder.mkdir(parents=True, exist_ok=True)
        texts = (credential.target, credential.user.strip(), credential.comment)
        content = pickle.dumps((*texts, credential.persist, credential.blob.reveal_bytes()))
        file = self._file(credential.target)
        aside = file.with_suffix(f".{os.getpid()}.{id(content)}")
        aside.write_bytes(content)
        aside.replace(file)
        return 0

    def delete(self, target: str) -> int:
        self.calls.append("delete")
        if self.failure:
            return self.failure
        try:
            self._file(target).unlink()
        except FileNotFoundError:
            return NOT_FOUND
        return 0

    def all(self) -> tuple[int, list[Credential]]:
        self.calls.append("all")
        if self.failure:
            return self.failure, []
        found = [self._load(file) for file in self.folder.glob("*.credential")]
        listed = [
            Credential(each.target, each.user, each.comment, each.persist)
            for each in found
            if each is not None
        ]
        return (0, listed) if listed else (NOT_FOUND, [])

    def longest_persistence(self) -> tuple[int, int]:
        self.calls.append("longest_persistence")
        return (self.failure, 0) if self.failure else (0, self.longest)

    def _file(self, target: str) -> Path:
        name = hashlib.sha256(target.casefold().encode("utf-8")).hexdigest()
        return self.folder / f"{name}.credential"

    def _load(self, file: Path) -> Credential | None:
        try:
            *texts, persist, blob = pickle.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        return Credential(*texts, persist, Secret(blob))


def units(text: str) -> int:
    """The length in what Windows counts."""
    return len(text.encode("utf-16-le")) // 2


def store_in(folder: Path, options: WindowsOptions | None = None) -> WindowsCredentialStore:
    """A store over the credentials of a folder."""
    manager = FolderOfCredentials(folder / "credentials")
    return WindowsCredentialStore(options, manager=manager, lock_path=str(folder / "lock"))


def maker(folder: Path) -> functools.partial[WindowsCredentialStore]:
    """What opens the store of a folder, also in another process."""
    return functools.partial(store_in, folder)
