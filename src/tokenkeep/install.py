"""Fresh-install detection for an application's plain items.

Some stores outlive the application: a keychain keeps its items when an app is removed, and shows
them to the app that is installed later, perhaps by another person. Sessions are told apart by their
log (`TokenStorage(fresh_install=...)`). An application that wants the same for its other items asks
here, once at every start; a marker of the same kind in the state directory, which goes with the
application, says whether this installation has been here before.

The first version of an application that asks says "keep", so that it claims the items that its
earlier versions left; later versions say what they mean.
"""

from __future__ import annotations

import errno
import os
from enum import Enum

from tokenkeep.errors import AccessDenied, StoreError, StoreFull, StoreUnavailable
from tokenkeep.fence import Fence
from tokenkeep.item import MIGRATION
from tokenkeep.sessionlog import service_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from tokenkeep.storage import SecureStorage

    Policy = Literal["clear", "keep"] | Callable[[list[str]], bool]

_MARKER = "installed"


class Installation(Enum):
    """What was found at a start, and what became of the items."""

    KNOWN = "known"  #: the installation has been here before
    FRESH = "fresh"  #: it is new, and nothing was left by another
    CLEARED = "cleared"  #: it is new, and what was left was erased
    KEPT = "kept"  #: it is new, and what was left is its own now


def check_fresh_install(storage: SecureStorage, policy: Policy = "clear") -> Installation:
    """Treats the items of an installation that is gone as `policy` says; once in each installation.

    Session records are left to `TokenStorage`. Killed at any step, the next start goes on. Two
    processes take turns.

    Args:
        policy: "clear" erases what was left, "keep" goes on with it, a function is asked with the
            names and keeps them by answering True.

    Raises:
        ValueError: the policy is something else.
        StoreError: the store cannot tell, or an item could not be erased: nothing is settled, the
            next start asks again.
    """
    if not (callable(policy) or policy in ("clear", "keep")):
        raise ValueError('a policy is "clear", "keep" or a function')
    directory = service_directory(storage.state_directory, storage.service)
    marker = os.path.join(directory, _MARKER)
    if _is_there(marker):
        return Installation.KNOWN
    fence = Fence(os.path.join(directory, "install.lock"), storage.clock)
    with fence.hold("fresh install", storage.call()):
        if _is_there(marker):
            return Installation.KNOWN
        found = _settle(storage, policy)
        _mark(marker)
        return found


def _settle(storage: SecureStorage, policy: Policy) -> Installation:
    names = storage.names()
    if not names:
        return Installation.FRESH
    if policy(names) if callable(policy) else policy == "keep":
        return Installation.KEPT
    # First: once no item is left, nobody looks here again.
    for item in storage.store.names(storage.service, storage.call()):
        if item.kind == MIGRATION:  # what an import replaced was another person's secret, too
            storage.store.delete(item, storage.call())
    for name in names:
        storage.delete(name)
    return Installation.CLEARED


def _is_there(marker: str) -> bool:
    try:
        os.lstat(marker)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as exc:
        raise _translated(exc) from None
    return True


def _mark(marker: str) -> None:
    try:
        fd = os.open(marker, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        if os.name != "nt":  # Windows has no handle to a directory that could be flushed
            directory = os.open(os.path.dirname(marker), os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
    except OSError as exc:
        raise _translated(exc) from None


def _translated(exc: OSError) -> StoreError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull("no room left for the marker of the installation")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(
            f"cannot use the state directory: {exc.strerror}", hint="make it yours and writable"
        )
    return StoreUnavailable(f"cannot use the state directory: {exc.strerror}")
