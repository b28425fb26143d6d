"""What the Linux kernel says about its keys in /proc: quotas, times, names, its own version."""

from __future__ import annotations

import os

_KEYS = "/proc/sys/kernel/keys"


def quota_bytes() -> int | None:
    """How many bytes of keys this user may have; None if the machine does not say."""
    if not hasattr(os, "geteuid"):
        return None
    mine = f"{os.geteuid()}:"
    try:
        with open("/proc/key-users", encoding="ascii", errors="replace") as lines:
            for line in lines:
                words = line.split()
                if words and words[0] == mine:
                    return int(words[4].partition("/")[2])
    except (OSError, ValueError, IndexError):
        pass
    # No keys yet. Root of a container's own user namespace has an ordinary user's quota.
    is_root = os.geteuid() == 0 and _first_words("/proc/self/uid_map")[:2] == ["0", "0"]
    return _number_in(f"{_KEYS}/{'root_' if is_root else ''}maxbytes")


def persistent_seconds() -> int | None:
    """How long a persistent keyring stays unused; None if this kernel has none."""
    return _number_in(f"{_KEYS}/persistent_keyring_expiry")


def descriptions(path: str = "/proc/keys") -> dict[int, bytes] | None:
    """What describes each "user" key that this process may see, by number; dead ones included.

    Behind each description is what the kernel adds: a colon, a blank and the value's size. None if
    the machine does not say: a container may hide the file, or show an empty one.
    """
    import re

    # security/keys/proc.c: number, flags, usage, time left, permissions, user, group, type.
    begins = re.compile(
        rb"^([0-9a-f]{8}) [-IRDQUNi]{7} +\d+ +\w+ [0-9a-f]{8} +-?\d+ +-?\d+ (.{9}) ", re.M
    )
    try:
        with open(path, "rb") as file:
            said = file.read()
    except OSError:
        return None
    if not said:
        return None
    # Before the first line, and then of each: its number, its type, the rest of it.
    _nothing, *parts = begins.split(said)
    return {
        int(number, 16): rest.removesuffix(b"\n")
        for number, kind, rest in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        if kind.rstrip() == b"user"
    }


def kernel_version() -> tuple[int, int]:
    """The kernel's version, of which two parts matter; zeros if it cannot be told."""
    try:
        major, minor = os.uname().release.split(".")[:2]
        return int(major), int("".join(digit for digit in minor if digit.isdigit()) or 0)
    except (AttributeError, ValueError):
        return 0, 0


def _number_in(path: str) -> int | None:
    words = _first_words(path)
    return int(words[0]) if words and words[0].isdecimal() else None


def _first_words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline().split()
    except OSError:
        return []
