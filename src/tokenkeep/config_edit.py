"""Setting entries of `config.toml` without touching anything else in it."""

from __future__ import annotations

import contextlib
import errno
import os

from tokenkeep import config
from tokenkeep.errors import AccessDenied, StoreFull, StoreUnavailable, UnsupportedOption


def save(path: str | None = None, **values: str | None) -> None:
    """Sets entries of the file (None removes one), in one step that a crash cannot halve.

    Comments, order, unknown entries and tables stay.

    Raises:
        UnsupportedOption: the file is damaged, or written in a way that cannot be edited safely,
            or a value is no UTF-8; it was left as it is.
        AccessDenied, StoreFull, StoreUnavailable: it cannot be written; it was left as it is.
    """
    path = os.path.realpath(path if path is not None else config.default_path())
    before = config.read_text(path)
    expected = config.read_file(path)
    for key, value in values.items():
        if value is None:
            expected.pop(key, None)
        else:
            expected[key] = value
    after = before
    for key, value in values.items():
        if value is not None and not _is_text(value):
            raise UnsupportedOption(
                f"{path} cannot name what is not UTF-8", hint="choose another path"
            )
        after = _edited(after, key, value)
    if config.parsed(after, path) != expected:
        raise UnsupportedOption(
            f"{path}: cannot be edited without losing something",
            hint="set the entries by hand: " + ", ".join(sorted(values)),
        )
    _replace(path, after)


def _edited(text: str, key: str, value: str | None) -> str:
    """The text with one top-level entry set; `save` checks that nothing else changed."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    if not lines[-1]:
        lines.pop()
    end = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    mine = [
        at
        for at, line in enumerate(lines[:end])
        if line.partition("=")[0].strip().strip("\"'") == key and "=" in line
    ]
    entry = [] if value is None else [f"{key} = {_quoted(value)}\n"]
    if mine:
        lines[mine[0] : mine[0] + 1] = entry
        return "".join(lines)
    if entry and end and not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    lines[end:end] = entry
    return "".join(lines)


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # a path that the file system has as other bytes
        return False
    return True


def _quoted(value: str) -> str:
    if value.isprintable():
        for quote, forbidden in (('"', '"\\'), ("'", "'")):
            if not any(character in value for character in forbidden):
                return quote + value + quote
    escaped = (
        character
        if character.isprintable() and character not in '"\\'
        else f"\\U{ord(character):08x}"
        for character in value
    )
    return f'"{"".join(escaped)}"'


def _replace(path: str, text: str) -> None:
    directory = os.path.dirname(path)
    aside = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong first is what is said
                os.unlink(aside)
            raise
        _sync_directory(directory)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"{path}: {exc.strerror}", hint="make room on the disk") from exc
        if exc.errno in (errno.EACCES, errno.EPERM):
            raise AccessDenied(f"{path}: {exc.strerror}", hint=f"chmod u+rwx {directory}") from exc
        raise StoreUnavailable(f"{path}: {exc.strerror}") from exc


def _sync_directory(directory: str) -> None:
    if os.name != "posix":  # Windows cannot open a directory
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
