"""The Linux kernel's key retention service: its system calls, and what their errors mean.

The numbers are the kernel's own (its `syscall.tbl` files and `include/uapi/linux/keyctl.h`); no
library is needed. A failed call raises `KeyctlError`, which `translated` makes one of our errors.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from tokenkeep.errors import (
    AccessDenied,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: What add_key(2) and keyctl(2) are called on each architecture, for 64 and for 32 bit processes.
_NUMBERS = {
    "x86_64": (248, 250),
    "i386": (286, 288),
    "aarch64": (217, 219),
    "riscv64": (217, 219),
    "loongarch64": (217, 219),
    "arm": (309, 311),
    "ppc64": (269, 271),
    "s390x": (278, 280),
}
#: Other names that `uname` has for them, and what a 32 bit process on them is.
_ALIASES = {
    "amd64": "x86_64",
    "i486": "i386",
    "i586": "i386",
    "i686": "i386",
    "arm64": "aarch64",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "ppc64le": "ppc64",
    "ppc": "ppc64",
}
_NARROW = {"x86_64": "i386", "aarch64": "arm", "ppc64": "ppc64", "arm": "arm", "i386": "i386"}

#: The keyrings that the kernel knows by a number for whoever calls.
THREAD = -1
PROCESS = -2
SESSION = -3
USER = -4

#: A "user" key holds from 1 to 32,767 bytes (keyrings(7)).
MAX_PAYLOAD_BYTES = 32_767

#: Permission bits (keyctl_setperm(3)): whoever possesses the key may do everything with it, other
#: processes of its owner may see that it is there, everybody else nothing.
OWNER_ONLY = 0x3F010000
#: Its owner may link it, and nobody may read or find it.
LINK_ONLY = 0x00100000

_GET_KEYRING_ID, _SETPERM, _DESCRIBE, _LINK, _UNLINK = 0, 5, 6, 8, 9
_SEARCH, _READ, _SET_TIMEOUT, _GET_PERSISTENT = 10, 11, 15, 22

#: Linux's numbers (asm-generic/errno.h): Python names them on Linux only.
EPERM, ENOENT, ENOMEM, EACCES, ENODEV, ENOTDIR, EINVAL, ENOSYS = 1, 2, 12, 13, 19, 20, 22, 38
EOPNOTSUPP, ETIMEDOUT, EDQUOT = 95, 110, 122
ENOKEY, EKEYEXPIRED, EKEYREVOKED, EKEYREJECTED = 126, 127, 128, 129

#: Each error, and which of ours it means; None is "there is no such key".
ERRORS: dict[int, type[StoreError] | None] = {
    ENOKEY: None,
    EKEYEXPIRED: SecretInvalidated,
    EKEYREVOKED: SecretInvalidated,
    EKEYREJECTED: AccessDenied,
    EDQUOT: StoreFull,
    EACCES: AccessDenied,
    EPERM: AccessDenied,
    ENOSYS: StoreUnavailable,
    EOPNOTSUPP: StoreUnavailable,
    ENODEV: StoreUnavailable,
    EINVAL: UnsupportedOption,
    ENOTDIR: UnsupportedOption,
    ENOMEM: StoreTimeout,
    ETIMEDOUT: StoreTimeout,
}
#: Errors that pass by themselves: worth another try within the deadline.
BUSY = frozenset(code for code, kind in ERRORS.items() if kind is StoreTimeout)
#: The key is there, and nothing but a new value or deleting brings its name back to life.
DEAD = frozenset({EKEYEXPIRED, EKEYREVOKED})

_SAID = {
    EKEYEXPIRED: ("its time is over", "write it anew, or sign in again"),
    EKEYREVOKED: ("it was revoked", "write it anew, or sign in again"),
    EDQUOT: (
        "this user's quota of keys is full",
        "delete items, or use a vault: tokenkeep vault create",
    ),
    EACCES: (
        "this process does not possess the key",
        "begin a session of your own, as after su: keyctl session - COMMAND",
    ),
    EPERM: (
        "the kernel's keys are forbidden here, as many containers do",
        "allow add_key and keyctl in the container, or: tokenkeep vault create",
    ),
    ENOSYS: ("this kernel keeps no keys", "tokenkeep vault create"),
    EOPNOTSUPP: ("this kernel does not keep such keys", "tokenkeep vault create"),
    ENODEV: ("this kernel does not keep such keys", "tokenkeep vault create"),
    ENOMEM: ("the kernel had no memory for it", None),
    ETIMEDOUT: ("the kernel did not answer in time", None),
}


class KeyctlError(Exception):
    """A system call failed; holds nothing but its error number."""

    def __init__(self, code: int) -> None:
        super().__init__(errno.errorcode.get(code, str(code)))
        self.code = code


def translated(code: int, doing: str) -> StoreError:
    """Our error for the kernel's, where the call was about `doing` something.

    A code that is not in the table means that the store cannot be used now.
    """
    kind = ERRORS.get(code) or StoreUnavailable
    said, hint = _SAID.get(code, (f"the kernel says {errno.errorcode.get(code, code)}", None))
    return kind(f"{doing} in the kernel keyring failed: {said}", hint=hint)


def numbers(machine: str, is_64_bit: bool) -> tuple[int, int]:
    """The numbers of add_key and keyctl.

    Raises:
        StoreUnavailable: nobody told us about this architecture.
    """
    known = _ALIASES.get(machine, machine)
    found = _NUMBERS.get(known if is_64_bit else _NARROW.get(known, ""))
    if found is None:
        raise StoreUnavailable(
            f"the kernel's keys are not known for {machine}", hint="tokenkeep vault create"
        )
    return found


class Keyctl:
    """The calls, with numbers for keys and keyrings and bytes for descriptions.

    Every call raises `KeyctlError`. None of them waits for anything.

    Args:
        invoke: stands in for the system calls in tests: takes "add_key" or "keyctl" and its
            arguments, gives the result or a negative error number.
    """

    __slots__ = ("_invoke",)

    def __init__(self, invoke: Callable[..., int] | None = None) -> None:
        self._invoke = invoke

    def add(self, ring: int, description: bytes, payload: Secret) -> int:
        """Adds a "user" key, or gives the keyring's key of that description the new payload."""
        self._ready()  # whose errors must not pass through a frame that has the payload
        return self._call(
            "add_key", b"user", description, payload.reveal_bytes(), payload.size, ring
        )

    def search(self, ring: int, description: bytes) -> int | None:
        """The key of that description in the keyring or one linked to it; None if there is none."""
        try:
            return self._call("keyctl", _SEARCH, ring, b"user", description, 0)
        except KeyctlError as exc:
            if exc.code != ENOKEY:
                raise
        return None

    def read(self, key: int) -> Secret:
        """A key's payload."""
        buffer = ctypes.create_string_buffer(MAX_PAYLOAD_BYTES)
        try:
            size = self._call("keyctl", _READ, key, buffer, MAX_PAYLOAD_BYTES)
            return Secret(memoryview(buffer).cast("B")[:size])
        finally:
            ctypes.memset(buffer, 0, MAX_PAYLOAD_BYTES)

    def keys(self, ring: int) -> tuple[int, ...]:
        """The keys that are linked to a keyring, of every kind."""
        room = 256
        while True:
            buffer = ctypes.create_string_buffer(room * 4)
            size = self._call("keyctl", _READ, ring, buffer, room * 4)
            if size <= room * 4:
                return struct.unpack(f"{size // 4}i", buffer.raw[: size // 4 * 4])
            room = size // 4 + 64  # others may add meanwhile

    def describe(self, key: int) -> tuple[str, int, bytes]:
        """A key's type, its owner's user id, and its description."""
        buffer = ctypes.create_string_buffer(4352)  # at most 4,095 bytes, and what is before them
        self._call("keyctl", _DESCRIBE, key, buffer, 4352)
        kind, uid, _gid, _permissions, description = buffer.value.split(b";", 4)
        return kind.decode("ascii", "replace"), int(uid), description

    def link(self, key: int, ring: int) -> None:
        """Puts a key into a keyring, in the place of one with the same description."""
        self._call("keyctl", _LINK, key, ring)

    def unlink(self, key: int, ring: int) -> bool:
        """Takes a key out of a keyring; False if it was not in there."""
        try:
            self._call("keyctl", _UNLINK, key, ring)
        except KeyctlError as exc:
            if exc.code not in (ENOENT, ENOKEY):
                raise
            return False
        return True

    def set_timeout(self, key: int, seconds: int) -> None:
        """Lets a key end by itself after so many seconds; 0 for never."""
        self._call("keyctl", _SET_TIMEOUT, key, seconds)

    def set_permissions(self, key: int, permissions: int) -> None:
        """Says who may do what with a key."""
        self._call("keyctl", _SETPERM, key, permissions)

    def number(self, ring: int) -> int:
        """The number of the keyring that a special number means for this process."""
        return self._call("keyctl", _GET_KEYRING_ID, ring, 0)

    def persistent(self, into: int) -> int:
        """The user's persistent keyring, linked to another; begins its time anew."""
        return self._call("keyctl", _GET_PERSISTENT, -1, into)

    def _call(self, name: str, *arguments: object) -> int:
        result = self._ready()(name, *arguments)
        if result < 0:
            del arguments  # this frame is in the traceback
            raise KeyctlError(-result)
        return result

    def _ready(self) -> Callable[..., int]:
        if self._invoke is None:
            self._invoke = _system_call()
        return self._invoke


def _system_call() -> Callable[..., int]:
    """What makes the calls.

    Raises:
        StoreUnavailable: this system is not Linux, or of an architecture unknown to us.
    """
    if not hasattr(os, "uname") or os.uname().sysname != "Linux":
        raise StoreUnavailable("the kernel keyring is Linux only", hint="tokenkeep vault create")
    add_key, keyctl = numbers(os.uname().machine, struct.calcsize("P") == 8)
    which = {"add_key": add_key, "keyctl": keyctl}
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long

    def invoke(name: str, *arguments: object) -> int:
        passed = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
        result: int = syscall(ctypes.c_long(which[name]), *passed)
        return -ctypes.get_errno() if result < 0 else result

    return invoke
