"""The C stand-in for Apple's frameworks: built once, loaded here, driven by the real binding."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache, partial
from pathlib import Path

from tokenkeep.backends.apple import AppleOptions, AppleStore
from tokenkeep.native.apple.security import Security

SOURCES = Path(__file__).resolve().parents[1] / "native" / "apple"
#: The stand-in needs a system with fork and file locks.
COMPILER = (shutil.which("cc") or shutil.which("gcc")) if hasattr(os, "fork") else None


@cache
def library(source: str = "stand_in.c") -> str:
    """The path of the built library."""
    assert COMPILER is not None
    directory = tempfile.mkdtemp(prefix="tokenkeep-apple-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    built = os.path.join(directory, "stand_in.so")
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-pthread"]
    command = [COMPILER, *flags, str(SOURCES / source), "-o", built]
    subprocess.run(command, check=True, timeout=120)
    return built


class StandIn:
    """The library's switches and counters, by their names without `stand_in_`."""

    def __init__(self, path: str) -> None:
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "calls", ctypes.CDLL(path))

    def __getattr__(self, name: str) -> int:
        return self._variable(name).value

    def __setattr__(self, name: str, value: int) -> None:
        self._variable(name).value = value

    def _variable(self, name: str) -> ctypes.c_long | ctypes.c_int:
        counters = ("live", "misuses", "violations", "panels", "steps")
        kind = ctypes.c_long if name in counters else ctypes.c_int
        return kind.in_dll(self.calls, f"stand_in_{name}")

    @property
    def violation(self) -> str:
        """The last thing that a real framework would have refused or done silently."""
        return (ctypes.c_char * 200).in_dll(self.calls, "stand_in_violation").value.decode()

    def begin(self, place: str, platform: str) -> None:
        """Everything as in a fresh process, with the items of a place."""
        self.calls.stand_in_open(place.encode())
        for name in ("hangs", "answer", "is_locked", "asks", "is_unsigned", "has_no_default"):
            setattr(self, name, 0)
        for name in ("live", "misuses", "violations", "panels", "steps"):
            setattr(self, name, 0)
        self.is_ios = int(platform == "ios")
        self.fail_at(-1, 0)
        self.plan("", 0, 0)
        self.calls.SecKeychainSetUserInteractionAllowed(1)

    def fail_at(self, step: int, status: int) -> None:
        """Lets one step fail, of all that can: an allocation, or a call with this status."""
        self.calls.stand_in_fail_at(ctypes.c_long(step), status)

    def plan(self, function: str, status: int, times: int) -> None:
        """Lets a function answer with a status that often, and do nothing."""
        self.calls.stand_in_plan(function.encode(), status, times)

    def create_keychain(self, path: str) -> None:
        """A file keychain by its path."""
        self.calls.stand_in_create_keychain(path.encode())


@cache
def security(path: str, platform: str) -> Security:
    """The real binding over the stand-in."""
    return Security(ctypes.CDLL(path), ctypes.CDLL(path), platform)


def open_store(
    path: str, place: str, platform: str, options: AppleOptions, keychain: str | None = None
) -> AppleStore:
    """A store over the stand-in, with the items of a place; also in another process."""
    calls = ctypes.CDLL(path)
    calls.stand_in_open(place.encode())
    StandIn(path).is_ios = int(platform == "ios")
    if keychain is not None:
        calls.stand_in_create_keychain(keychain.encode())
    return AppleStore(options, platform=platform, security=partial(security, path, platform))
