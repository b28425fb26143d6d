"""The journal of a migration: what was begun, written and taken away, so that any start can go on.

An append-only file in the service's state directory, durable line by line, that goes when its
migration was confirmed or undone. It holds nothing secret: pairs of names and values appear as
hashes under a key that is itself an item of the new place, so that the file alone tells nobody what
the items are called and lets nobody guess at their values.

A line is words and eight hexadecimal digits over them. One without its newline was torn by a crash
and never counts; the next writer closes it with ` torn`. Any other line that is not whole is
damage, and nothing goes on from there: it may have been the end.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from tokenkeep.crypto import checksum
from tokenkeep.errors import FormatUnsupported, SecretDamaged
from tokenkeep.sessionlog import service_directory
from tokenkeep.vault.files import sync_directory, translated

_TORN = b" torn"
_CHECK_DIGITS = 8
_ENDING = ".journal"
#: A hundred thousand items leave less; a bound on what a mistaken file can make us read.
_MAX_BYTES = 64 << 20
_WHAT = "the migration's journal"
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

#: What is said of one item: about to be written, or written over another; read back; found equal;
#: taken from the old place; and in the new place what it was before.
WRITE, REPLACE, WROTE, SAME = "write", "replace", "wrote", "same"
REMOVED, RESTORED = "removed", "restored"


class Phase(Enum):
    """How far a migration is."""

    NONE = "none"  #: nothing was begun, or all was brought to an end
    COPYING = "copying"  #: begun, or interrupted: run it again
    COPIED = "copied"  #: everything is in both places: confirm or undo
    CONFIRMING = "confirming"  #: being taken from the old place, or interrupted in it
    UNDOING = "undoing"  #: being taken from the new place, or interrupted in it


_PHASES = {
    "copied": Phase.COPIED,
    "confirm": Phase.CONFIRMING,
    "undo": Phase.UNDOING,
    "confirmed": Phase.NONE,
    "undone": Phase.NONE,
}
_OF_ITEMS = (WRITE, REPLACE, WROTE, SAME, REMOVED, RESTORED)


@dataclass(frozen=True, slots=True)
class Entry:
    """The last word on one item: what happened, and the hash of the value it happened to."""

    event: str
    value: str


@dataclass(slots=True)
class Told:
    """What a journal says.

    Attributes:
        id: names the migration; empty if none was ever begun.
        names: the hash of which items it is about.
        entries: by the hash of an item's two names.
    """

    phase: Phase = Phase.NONE
    id: str = ""
    names: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)


class Journals:
    """The journals of everything that moves from one place into one service's stores of a kind.

    Each migration has one of its own, as the same source may be on its way into several stores.
    Whose it is does not stand in it: the migration's key lies in the store that it goes to. Where
    that was cleared, the journal stays and says nothing to any store: it could be that of one which
    cannot be asked now, and would lose its way back.
    """

    def __init__(self, state_directory: str, service: str, identity: str) -> None:
        self._directory = os.path.join(service_directory(state_directory, service), "migrations")
        name = checksum(b"tokenkeep migration\0" + identity.encode("utf-8", "surrogateescape"))
        self._name = name.hex()[:32]
        #: One for all of them: they take from the same place.
        self.fence_path = os.path.join(self._directory, f"{self._name}.lock")

    def all(self) -> list[Journal]:
        """Those that are there; one may be gone by the time it is read.

        Raises:
            AccessDenied, StoreUnavailable: they cannot be listed.
        """
        try:
            found = sorted(os.listdir(self._directory))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as exc:
            raise translated(exc, _WHAT) from None
        # One without an id in its name is of a version that had one for all.
        names = [name for name in found if name.startswith(self._name) and name.endswith(_ENDING)]
        return [Journal(os.path.join(self._directory, name)) for name in names]

    def of(self, migration_id: str) -> Journal:
        """The journal for a migration, which its first line makes."""
        return Journal(os.path.join(self._directory, f"{self._name}-{migration_id}{_ENDING}"))


class Journal:
    """The journal of one migration."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory = os.path.dirname(path)

    def read(self) -> Told:
        """What it says; nothing if there is none. Changes nothing.

        Raises:
            AccessDenied, StoreUnavailable: it is there and cannot be read.
            SecretDamaged: a line is damaged.
            FormatUnsupported: a newer version wrote it.
        """
        *lines, _torn = self._bytes().split(b"\n")
        told = Told()
        for line in lines:
            if not line.endswith(_TORN):
                self._hear(told, line)
        return told

    def append(self, *lines: tuple[str, ...]) -> None:
        """Adds lines of words; durable on return.

        Raises:
            StoreFull, AccessDenied, StoreUnavailable: the lines could not be kept.
        """
        data = b"".join(_line(words) for words in lines)
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _FLAGS, 0o600)
            try:
                size = os.fstat(fd).st_size
                if size and _last_byte(fd, size) != b"\n":
                    data = _TORN + b"\n" + data
                if os.write(fd, data) != len(data):
                    raise OSError(errno.ENOSPC, "short write")
                os.fsync(fd)
            finally:
                os.close(fd)
            if size == 0:
                sync_directory(self._directory)
                sync_directory(os.path.dirname(self._directory))
        except OSError as exc:
            raise translated(exc, _WHAT) from None

    def remove(self) -> None:
        """Removes it once no word in it counts any more; one that stays does no harm."""
        with suppress(OSError):
            os.unlink(self.path)

    def _bytes(self) -> bytes:
        try:
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _FLAGS)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise OSError(errno.EACCES, "it is not a regular file")
                with os.fdopen(os.dup(fd), "rb") as file:
                    return file.read(_MAX_BYTES)
            finally:
                os.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError as exc:
            raise translated(exc, _WHAT) from None

    def _hear(self, told: Told, line: bytes) -> None:
        words = line[: -_CHECK_DIGITS - 1]
        if line != words + b" " + _check(words):
            # Nothing is lost without it: what was copied is found again as equal.
            raise SecretDamaged("the migration's journal is damaged", hint=f"rm {self.path}")
        event, *rest = words.decode("ascii").split(" ")
        if event == "start" and len(rest) == 1:
            told.phase, told.id, told.names, told.entries = Phase.COPYING, rest[0], "", {}
        elif event == "names" and len(rest) == 1:
            told.names = rest[0]
        elif event in _OF_ITEMS and len(rest) == 2:
            told.entries[rest[0]] = Entry(event, rest[1])
            if event not in (REMOVED, RESTORED):
                told.phase = Phase.COPYING
        elif event in _PHASES and not rest:
            told.phase = _PHASES[event]
        else:
            raise FormatUnsupported(
                "a newer version of tokenkeep began this migration",
                hint="pip install --upgrade tokenkeep",
            )


def _line(words: tuple[str, ...]) -> bytes:
    text = " ".join(words).encode("ascii")
    return text + b" " + _check(text) + b"\n"


def _check(words: bytes) -> bytes:
    return checksum(words).hex()[:_CHECK_DIGITS].encode("ascii")


def _last_byte(fd: int, size: int) -> bytes:
    os.lseek(fd, size - 1, os.SEEK_SET)
    return os.read(fd, 1)
