"""DPAPI through `crypt32`: what Windows seals for one user of one machine, and its error codes.

Invariants: nothing here shows a window (CRYPTPROTECT_UI_FORBIDDEN); every buffer that held a secret
is overwritten, Windows' own before it is freed. Sources: dpapi.h, winerror.h, and the pages of
CryptProtectData, CryptUnprotectData and of CNG's key storage functions, whose codes DPAPI passes
on where a user's keys live with another provider.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from ctypes import wintypes
from functools import cache
from typing import Any, TypeVar

from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.native.windll import last_error, load
from tokenkeep.native.winerror import Meaning, Table, busy, meaning, problem
from tokenkeep.secret import Secret

_UI_FORBIDDEN = 0x1
#: What stands in the sealed bytes for whoever looks at them with other tools; not secret.
_DESCRIPTION = "tokenkeep"

#: Asked so often, so many seconds apart, while Windows says that it is busy.
_TRIES, _PAUSE_SECONDS = 5, 0.05

T = TypeVar("T")

_SAME_USER = "sign in as the user who made it, on the machine that made it"
_GONE = (
    "open it with another key, or restore a backup; if an administrator reset the password of"
    " Windows, setting the old one again brings the key back"
)

ERRORS: Table = {
    # CryptProtectData and CryptUnprotectData.
    2: Meaning(
        "ERROR_FILE_NOT_FOUND",
        StoreLocked,
        "the user's profile is not loaded",
        "sign in, or have the service load the user's profile",
    ),
    8: busy("ERROR_NOT_ENOUGH_MEMORY", "no memory left"),
    13: Meaning(
        "ERROR_INVALID_DATA",
        SecretDamaged,
        "the sealed bytes are damaged, or another user's",
        _SAME_USER,
    ),
    87: Meaning("ERROR_INVALID_PARAMETER", UnsupportedOption, "Windows does not take it"),
    1325: Meaning(
        "ERROR_PASSWORD_RESTRICTION",
        InteractionDenied,
        "Windows would have to ask, which is not allowed",
    ),
    1722: Meaning(
        "RPC_S_SERVER_UNAVAILABLE", StoreUnavailable, "the service behind DPAPI does not run"
    ),
    6000: Meaning(
        "ERROR_DECRYPTION_FAILED", SecretDamaged, "the sealed bytes do not open", _SAME_USER
    ),
    # CNG and NCrypt.
    0x80090005: Meaning("NTE_BAD_DATA", SecretDamaged, "the sealed bytes are damaged"),
    0x80090009: Meaning("NTE_BAD_FLAGS", UnsupportedOption, "Windows does not take it"),
    0x8009000B: Meaning(
        "NTE_BAD_KEY_STATE", SecretInvalidated, "the user's key does not open any more", _GONE
    ),
    0x8009000D: Meaning("NTE_NO_KEY", SecretInvalidated, "the key is gone", _GONE),
    0x8009000F: Meaning("NTE_EXISTS", UnsupportedOption, "a key of this name exists"),
    0x80090010: Meaning("NTE_PERM", AccessDenied, "Windows refuses this program"),
    0x80090011: Meaning("NTE_NOT_FOUND", None),
    0x80090016: Meaning(
        "NTE_BAD_KEYSET", SecretInvalidated, "the TPM was cleared or the profile made anew", _GONE
    ),
    0x80090022: Meaning(
        "NTE_SILENT_CONTEXT",
        InteractionDenied,
        "Windows would have to ask, which is not allowed",
    ),
    0x80090030: busy("NTE_DEVICE_NOT_READY", "the device is not ready"),
    0x80090033: Meaning("NTE_INCORRECT_PASSWORD", AccessDenied, "the password is wrong"),
    0x80090035: Meaning("NTE_DEVICE_NOT_FOUND", StoreUnavailable, "the device is not there"),
    0x80090036: Meaning("NTE_USER_CANCELLED", InteractionDenied, "the person cancelled"),
    0x80280001: Meaning("TPM_E_AUTHFAIL", AccessDenied, "the TPM refuses the authorization"),
    0x80280803: Meaning(
        "TPM_E_DEFEND_LOCK_RUNNING", StoreLocked, "the TPM defends itself against guessing"
    ),
    0x80280921: Meaning("TPM_20_E_LOCKOUT", StoreLocked, "the TPM defends itself against guessing"),
}


def protect(secret: Secret, entropy: bytes | None = None) -> bytes:
    """The secret, sealed for this user on this machine.

    Args:
        entropy: what has to be said again to open it; not secret.

    Raises:
        StoreError: as `ERRORS` says.
    """
    code, sealed = _answer(lambda: Crypt32().protect(secret, entropy))
    if code:
        raise _problem(code, "sealing with DPAPI")
    return sealed


def unprotect(sealed: bytes, entropy: bytes | None = None) -> Secret:
    """What `protect` sealed, here or in any other program of this user.

    Windows may say that it should be sealed anew (CRYPT_I_NEW_PROTECTION_REQUIRED) beside giving
    it: that is no error, and nothing is written here.

    Raises:
        StoreError: as `ERRORS` says: `SecretDamaged`, `SecretInvalidated`, `StoreLocked`.
    """
    code, secret = _answer(lambda: Crypt32().unprotect(sealed, entropy))
    if code:
        raise _problem(code, "opening with DPAPI")
    return secret


def _answer(ask: Callable[[], tuple[int, T]]) -> tuple[int, T]:
    """What Windows answers, asked again a few times while it is busy."""
    for _try in range(_TRIES - 1):
        code, answer = ask()
        if not code or not meaning(ERRORS, code).is_busy:
            return code, answer
        time.sleep(_PAUSE_SECONDS)
    return ask()


def _problem(code: int, doing: str) -> StoreError:
    # Both calls are given everything they need: "not found" can only be about the user's own keys.
    return problem(ERRORS, code, doing) or SecretInvalidated(
        f"{doing} failed: the key is gone (NTE_NOT_FOUND)", hint=_GONE
    )


class Crypt32:
    """The two calls. Each gives a code first: 0, or why what comes second means nothing."""

    __slots__ = ()

    def protect(self, secret: Secret, entropy: bytes | None) -> tuple[int, bytes]:
        """CryptProtectData."""
        library = _crypt32()
        plain = ctypes.create_string_buffer(secret.reveal_bytes(), max(1, secret.size))
        try:
            given, more, sealed = _Blob(plain, secret.size), _blob(entropy), _Blob()
            done = library.CryptProtectData(
                ctypes.byref(given), _DESCRIPTION, more, None, None, _UI_FORBIDDEN,
                ctypes.byref(sealed),
            )  # fmt: skip
            return (0, _taken(sealed)) if done else (last_error(), b"")
        finally:
            ctypes.memset(plain, 0, len(plain))

    def unprotect(self, sealed: bytes, entropy: bytes | None) -> tuple[int, Secret]:
        """CryptUnprotectData."""
        library = _crypt32()
        buffer = ctypes.create_string_buffer(sealed, max(1, len(sealed)))
        given, more, plain = _Blob(buffer, len(sealed)), _blob(entropy), _Blob()
        done = library.CryptUnprotectData(
            ctypes.byref(given), None, more, None, None, _UI_FORBIDDEN, ctypes.byref(plain)
        )
        return (0, Secret(_taken(plain))) if done else (last_error(), Secret(b""))


class _Blob(ctypes.Structure):
    """DATA_BLOB of dpapi.h."""

    _fields_ = (("size", wintypes.DWORD), ("data", ctypes.c_void_p))

    def __init__(self, buffer: ctypes.Array[ctypes.c_char] | None = None, size: int = 0) -> None:
        super().__init__(size, None if buffer is None else ctypes.addressof(buffer))
        self.buffer = buffer  # lives as long as the pointer to it


def _blob(data: bytes | None) -> Any:
    if data is None:
        return None
    return ctypes.byref(_Blob(ctypes.create_string_buffer(data, max(1, len(data))), len(data)))


def _taken(blob: _Blob) -> bytes:
    """A copy of what Windows allocated, which is overwritten and freed."""
    try:
        return ctypes.string_at(blob.data, blob.size) if blob.size else b""
    finally:
        if blob.data:
            ctypes.memset(blob.data, 0, blob.size)
            _kernel32().LocalFree(blob.data)


@cache
def _crypt32() -> Any:
    blob = ctypes.POINTER(_Blob)
    nothing = ctypes.c_void_p  # reserved, and the prompt that never is
    return load(
        "crypt32",
        {
            "CryptProtectData": (
                wintypes.BOOL, blob, wintypes.LPCWSTR, blob, nothing, nothing, wintypes.DWORD, blob,
            ),
            "CryptUnprotectData": (
                wintypes.BOOL, blob, nothing, blob, nothing, nothing, wintypes.DWORD, blob,
            ),
        },
    )  # fmt: skip


@cache
def _kernel32() -> Any:
    return load("kernel32", {"LocalFree": (ctypes.c_void_p, ctypes.c_void_p)})
