"""Windows Credential Manager through `advapi32`: generic credentials, and the table of its errors.

Nothing here knows items. The functions give codes; 0 is success. Sources: wincred.h, winerror.h,
and the page of each function.
"""

from __future__ import annotations

import ctypes
import threading
from ctypes import wintypes
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from tokenkeep.errors import (
    AccessDenied,
    StoreFull,
    StoreUnavailable,
    UnsupportedOption,
    ValueTooLarge,
)
from tokenkeep.native.windll import last_error, load
from tokenkeep.native.winerror import Meaning, Table, busy
from tokenkeep.secret import Secret

#: CRED_MAX_CREDENTIAL_BLOB_SIZE is 5 * 512 since Windows 7; old headers still say 512.
MAX_BLOB_BYTES = 2_560
#: CRED_MAX_USERNAME_LENGTH, in UTF-16 units.
MAX_USER_UNITS = 513
#: CRED_MAX_GENERIC_TARGET_NAME_LENGTH, in UTF-16 units.
MAX_TARGET_UNITS = 32_767

_GENERIC = 1  # CRED_TYPE_GENERIC
_TYPES = 7  # CRED_TYPE_MAXIMUM
NOT_FOUND = 1168
TOO_LARGE = 1783
_USE_A_VAULT = "keep it in a vault: tokenkeep vault create"

ERRORS: Table = {
    5: Meaning("ERROR_ACCESS_DENIED", AccessDenied, "Windows refuses this program"),
    8: busy("ERROR_NOT_ENOUGH_MEMORY", "no memory left"),
    32: busy("ERROR_SHARING_VIOLATION", "somebody else has it open"),
    87: Meaning("ERROR_INVALID_PARAMETER", UnsupportedOption, "Windows does not take it"),
    112: Meaning("ERROR_DISK_FULL", StoreFull, "the disk is full", "make room on the disk"),
    # Wine keeps credentials in its registry: a reader meets one that is being deleted.
    1015: busy("ERROR_CANTREAD", "somebody is deleting it"),
    1018: busy("ERROR_KEY_DELETED", "somebody is deleting it"),
    1004: Meaning("ERROR_INVALID_FLAGS", UnsupportedOption, "Windows does not take it"),
    NOT_FOUND: Meaning("ERROR_NOT_FOUND", None),
    1312: Meaning(
        "ERROR_NO_SUCH_LOGON_SESSION",
        StoreUnavailable,
        "this logon has no credential set, as over SSH and in services",
        _USE_A_VAULT,
    ),
    1722: Meaning(
        "RPC_S_SERVER_UNAVAILABLE",
        StoreUnavailable,
        "the Credential Manager service does not run",
        "start it: sc start VaultSvc",
    ),
    TOO_LARGE: Meaning(
        "RPC_X_BAD_STUB_DATA", ValueTooLarge, "the value is too large", _USE_A_VAULT
    ),
    2202: Meaning("ERROR_BAD_USERNAME", UnsupportedOption, "Windows does not take the user name"),
}


@dataclass(frozen=True, slots=True)
class Credential:
    """One generic credential; `blob` is None where only what names it was asked for."""

    target: str
    user: str
    comment: str
    persist: int
    blob: Secret | None = None


class CredentialManager:
    """The calls. Each gives a code first: 0, or why there is no answer.

    Attributes:
        turn: held by whoever is calling: Windows takes one call after the other anyway, and Wine
            does not tolerate two threads at once.
    """

    __slots__ = ()

    turn: ClassVar[threading.Lock | None] = threading.Lock()

    def read(self, target: str) -> tuple[int, Credential | None]:
        """The credential under a target, whose case does not matter."""
        library = _library()
        found = _Pointer()
        if not library.CredReadW(target, _GENERIC, 0, ctypes.byref(found)):
            return last_error(), None
        try:
            return 0, _taken(found.contents, with_blob=True)
        finally:
            library.CredFree(found)

    def write(self, credential: Credential) -> int:
        """Keeps the credential, in place of one under the same target."""
        library = _library()
        assert credential.blob is not None
        size = credential.blob.size
        # A copy of ours, overwritten below: `Secret` hands out no pointer.
        blob = (ctypes.c_ubyte * max(1, size)).from_buffer_copy(
            credential.blob.reveal_bytes() or b"\0"
        )
        raw = _Credential()
        raw.Type = _GENERIC
        raw.TargetName = credential.target
        raw.UserName = credential.user
        raw.Comment = credential.comment
        raw.Persist = credential.persist
        raw.CredentialBlobSize = size
        raw.CredentialBlob = ctypes.cast(blob, ctypes.POINTER(ctypes.c_ubyte))
        try:
            if library.CredWriteW(ctypes.byref(raw), 0):
                return 0
            return last_error()
        finally:
            ctypes.memset(blob, 0, len(blob))

    def delete(self, target: str) -> int:
        """Removes the credential under a target, whose case does not matter."""
        if _library().CredDeleteW(target, _GENERIC, 0):
            return 0
        return last_error()

    def all(self) -> tuple[int, list[Credential]]:
        """Every generic credential of the user, without what it keeps."""
        library = _library()
        count = wintypes.DWORD()
        found = ctypes.POINTER(_Pointer)()
        if not library.CredEnumerateW(None, 0, ctypes.byref(count), ctypes.byref(found)):
            return last_error(), []
        try:
            each = [found[number].contents for number in range(count.value)]
            return 0, [_taken(raw, with_blob=False) for raw in each if raw.Type == _GENERIC]
        finally:
            library.CredFree(found)

    def longest_persistence(self) -> tuple[int, int]:
        """The highest CRED_PERSIST_... that generic credentials have in this logon; 0 for none."""
        most = (wintypes.DWORD * _TYPES)()
        if not _library().CredGetSessionTypes(_TYPES, most):
            return last_error(), 0
        return 0, most[_GENERIC]


class _FileTime(ctypes.Structure):
    _fields_ = (("low", wintypes.DWORD), ("high", wintypes.DWORD))


class _Credential(ctypes.Structure):
    """CREDENTIALW of wincred.h."""

    _fields_ = (
        ("Flags", wintypes.DWORD),
        ("Type", wintypes.DWORD),
        ("TargetName", wintypes.LPWSTR),
        ("Comment", wintypes.LPWSTR),
        ("LastWritten", _FileTime),
        ("CredentialBlobSize", wintypes.DWORD),
        ("CredentialBlob", ctypes.POINTER(ctypes.c_ubyte)),
        ("Persist", wintypes.DWORD),
        ("AttributeCount", wintypes.DWORD),
        ("Attributes", ctypes.c_void_p),
        ("TargetAlias", wintypes.LPWSTR),
        ("UserName", wintypes.LPWSTR),
    )


_Pointer = ctypes.POINTER(_Credential)


def _taken(raw: Any, with_blob: bool) -> Credential:
    """A copy of what Windows gave; Windows' own copy of the value is overwritten."""
    blob = None
    size = raw.CredentialBlobSize
    if with_blob:
        blob = Secret(ctypes.string_at(raw.CredentialBlob, size) if size else b"")
    if size:
        ctypes.memset(raw.CredentialBlob, 0, size)
    return Credential(
        raw.TargetName or "", raw.UserName or "", raw.Comment or "", raw.Persist, blob
    )


@cache
def _library() -> Any:
    number = wintypes.DWORD
    return load(
        "advapi32",
        {
            "CredReadW": (
                wintypes.BOOL,
                wintypes.LPCWSTR,
                number,
                number,
                ctypes.POINTER(_Pointer),
            ),
            "CredWriteW": (wintypes.BOOL, _Pointer, number),
            "CredDeleteW": (wintypes.BOOL, wintypes.LPCWSTR, number, number),
            "CredEnumerateW": (
                wintypes.BOOL,
                wintypes.LPCWSTR,
                number,
                ctypes.POINTER(number),
                ctypes.POINTER(ctypes.POINTER(_Pointer)),
            ),
            "CredGetSessionTypes": (wintypes.BOOL, number, ctypes.POINTER(number)),
            "CredFree": (None, ctypes.c_void_p),
        },
    )
