"""The marker of an installation: whether it is settled what became of an earlier one's items.

It lies in the state directory, which goes with the application. Until it is settled, it names by
their digests the items that this installation has written, so that nobody takes them for left over.
Nothing in it is secret. Absent, nobody has asked yet; empty, it is settled.

Every write looks here, and almost every one finds nothing to do: what that takes is imported late.
"""

from __future__ import annotations

import os

from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreUnavailable,
)
from tokenkeep.paths import is_plain, state_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenkeep.clock import Clock
    from tokenkeep.fence import Hold
    from tokenkeep.item import Call

_NAME = "installed"
_BEGUN = b"begun\n"
_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Marker:
    """One service's marker. Every method raises a `StoreError` where the file cannot be used."""

    __slots__ = ("_path",)

    def __init__(self, state_directory: str, service: str) -> None:
        if is_plain(service):
            self._path = os.path.join(state_directory, service, _NAME)
        else:
            from tokenkeep.sessionlog import service_directory

            self._path = os.path.join(service_directory(state_directory, service), _NAME)

    def hold(self, clock: Clock, call: Call) -> Hold:
        """The right to settle, or to say what this installation writes.

        Raises:
            StoreTimeout: somebody else had it all the time.
        """
        from tokenkeep.fence import Fence

        fence = Fence(os.path.join(os.path.dirname(self._path), "install.lock"), clock)
        return fence.hold("fresh install", call)

    def may_be_open(self) -> bool:
        """False where there is surely nothing to settle: one look, on the way of every write."""
        path = self._path
        try:
            # By `access` first, which says no without an exception: most installations never ask.
            return os.access(path, os.F_OK) and os.stat(path).st_size > 0
        except OSError:
            return False

    def is_settled(self) -> bool:
        """Whether nothing is left to do."""
        found = self._read()
        return found is not None and not found.startswith(_BEGUN)

    def begin(self) -> None:
        """Makes the marker, if there is none; from then on what is written has to be claimed."""
        if self._read() is not None:
            return
        aside = self._path + ".new"
        try:
            # By renaming: a marker without its word would say that all is settled.
            self._put(aside, _BEGUN, os.O_TRUNC)
            os.replace(aside, self._path)
            if os.name != "nt":  # Windows has no handle to a directory that could be flushed
                directory = os.open(os.path.dirname(self._path), os.O_RDONLY | _CLOEXEC)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
        except OSError as exc:
            raise _translated(exc) from None

    def claimed(self, call: Call, *names: str) -> Claimed:
        """For the `with` block that writes items: they are this installation's own.

        Raises (on entering):
            StoreError: it could not be noted, and they must not be written.
        """
        return Claimed(self, call, names)

    def claim(self, *names: str) -> bool:
        """Says that items are this installation's own; False if all is settled. Durable."""
        return self._note(b"+", names)

    def disclaim(self, *names: str) -> None:
        """Takes one `claim` of each item back; what others say of it stays."""
        self._note(b"-", names)

    def left_over(self, names: list[str]) -> list[str]:
        """Those of the names that this installation has not written."""
        from collections import Counter

        said = Counter((self._read() or b"").split())
        digests = {name: _digest(name) for name in names}
        return [name for name, each in digests.items() if said[b"+" + each] <= said[b"-" + each]]

    def settle(self) -> None:
        """Says that nothing is left to do; durable on return."""
        try:
            self._put(self._path, b"", os.O_TRUNC)
        except OSError as exc:
            raise _translated(exc) from None

    def _note(self, sign: bytes, names: Iterable[str]) -> bool:
        found = self._read()
        if found is None or not found.startswith(_BEGUN):
            return False
        try:
            # A newline first: a crash may have torn the line before.
            words = b"".join(sign + _digest(name) + b"\n" for name in names)
            self._put(self._path, b"\n" + words, os.O_APPEND)
        except OSError as exc:
            raise _translated(exc) from None
        return True

    def _read(self) -> bytes | None:
        try:
            # Never waits for a pipe that somebody put there.
            flags = os.O_RDONLY | _CLOEXEC | getattr(os, "O_NONBLOCK", 0)
            with open(self._path, "rb", opener=lambda path, _flags: os.open(path, flags)) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise _translated(exc) from None

    def _put(self, path: str, data: bytes, how: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | how | _CLOEXEC, 0o600)
        try:
            if os.write(fd, data) != len(data):
                raise StoreFull("no room left for the marker of the installation")
            os.fsync(fd)
        finally:
            os.close(fd)


class Claimed:
    """See `Marker.claimed`. What the store was too locked to take is not claimed."""

    __slots__ = ("_call", "_is_noted", "_marker", "_names")

    def __init__(self, marker: Marker, call: Call, names: tuple[str, ...]) -> None:
        self._marker = marker
        self._call = call
        self._names = names
        self._is_noted = False

    def __enter__(self) -> None:
        if self._marker.may_be_open():
            with self._marker.hold(self._call.clock, self._call):
                self._is_noted = self._marker.claim(*self._names)

    def __exit__(self, _kind: object, problem: BaseException | None, _trace: object) -> None:
        if not (self._is_noted and isinstance(problem, (StoreLocked, InteractionDenied))):
            return
        try:
            with self._marker.hold(self._call.clock, self._call):
                self._marker.disclaim(*self._names)
        except StoreError:
            return  # the store's own answer counts, and what is claimed is not cleared


def open_markers(services: Iterable[str], directory: str | None) -> dict[str, Marker]:
    """By service, what has to be told of items before they are written.

    Args:
        directory: where the markers lie; the user's state directory if None.
    """
    try:
        where = state_directory() if directory is None else directory
    except StoreUnavailable:
        return {}  # nobody can have begun one
    markers = {service: Marker(where, service) for service in sorted(services)}
    return {service: marker for service, marker in markers.items() if marker.may_be_open()}


def _digest(name: str) -> bytes:
    from tokenkeep.crypto import checksum

    return checksum(b"tokenkeep item\0" + name.encode("utf-8")).hex()[:32].encode("ascii")


def _translated(exc: OSError) -> StoreError:
    import errno

    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull("no room left for the marker of the installation")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(
            f"cannot use the state directory: {exc.strerror}", hint="make it yours and writable"
        )
    return StoreUnavailable(f"cannot use the state directory: {exc.strerror}")
