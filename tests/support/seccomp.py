"""A container's rule against the kernel's keys: system calls that end with EPERM."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from tokenkeep.native.keyctl import numbers

_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid_keys() -> None:
    """From now on this process, and whatever it starts, is refused add_key and keyctl.

    Raises:
        OSError: this kernel filters no system calls.
    """
    add_key, keyctl = numbers(os.uname().machine, struct.calcsize("P") == 8)
    steps = [
        (_LOAD, 0, 0, 0),  # the call's number stands first
        (_EQUALS, 1, 0, add_key),
        (_EQUALS, 0, 1, keyctl),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    program = _Program(len(steps), code)
    if prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "no filter for system calls")
