"""Kernel keyrings of a test's own, and what the kernel can do beyond what the store uses."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator

from tokenkeep.backends.kernel_keyring import (
    KernelKeyringOptions,
    KernelKeyringStore,
    Keyring,
    probe,
)
from tokenkeep.errors import TokenkeepError
from tokenkeep.item import Call
from tokenkeep.native.keyctl import PROCESS, USER, Keyctl, KeyctlError

_JOIN_SESSION, _REVOKE = 1, 3


def missing_kernel_keyring() -> str | None:
    """Why the kernel's keyrings cannot be used here; None if they can."""
    try:
        for keyring in Keyring:
            probe(KernelKeyringOptions(keyring), Call())
    except TokenkeepError as exc:
        return f"no kernel keyring: {exc}"
    return None


def join_new_session() -> int:
    """Gives this thread, and whatever it starts, a session keyring of its own."""
    return Keyctl()._call("keyctl", _JOIN_SESSION, None)


def revoke(key: int) -> None:
    """Takes a key's value away, as a logout does with a session."""
    Keyctl()._call("keyctl", _REVOKE, key)


def ring_of(keyring: Keyring) -> int:
    """The keyring's number, possessed by this thread."""
    keys = Keyctl()
    if keyring is Keyring.SESSION:
        return keys.number(-3)
    keys.link(USER, PROCESS)
    return USER if keyring is Keyring.USER else keys.persistent(PROCESS)


def clear(keyring: Keyring) -> None:
    """Takes everything of tokenkeep's out of a keyring, and what is dead in it."""
    keys, ring = Keyctl(), ring_of(keyring)
    for key in keys.keys(ring):
        try:
            is_ours = keys.describe(key)[2].startswith(b"tokenkeep:")
        except KeyctlError:
            is_ours = True
        if is_ours:
            keys.unlink(key, ring)


def empty(keyring: Keyring) -> None:
    """An empty keyring: a new session, or the user's without our items."""
    if keyring is Keyring.SESSION:
        join_new_session()
    else:
        clear(keyring)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One test run at a time uses the keyrings that all processes of a user share."""
    path = os.path.join(tempfile.gettempdir(), f"tokenkeep-keyring-tests-{os.geteuid()}")
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def store(keyring: Keyring = Keyring.SESSION, timeout: int | None = None) -> KernelKeyringStore:
    """A store over the real kernel."""
    return KernelKeyringStore(KernelKeyringOptions(keyring, timeout))
