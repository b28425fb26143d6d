"""What a TPM's response codes and its device's errors mean: the one table.

Response codes: TCG TPM 2.0 Library, part 2, section 6.6. A code of format 1 says which handle,
parameter or session it is about; that is taken off before it is looked up.
"""

from __future__ import annotations

import errno

from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    ValueTooLarge,
)

_LAYER = 0xFFF
_FORMAT_1 = 0x080
#: Error number and format of a format-1 code, without the handle, parameter or session.
_FORMAT_1_BASE = 0x0BF

_GONE = (
    "open the vault with another of its keys, then add this TPM again:"
    " tokenkeep vault add-key --tpm; without another key, restore an export"
)
_NO_TPM = "switch the TPM on in the firmware, or open the vault with another of its keys"
_PERMISSION = "add the user to the group that owns the device, usually tss"
_LATER = "retry in a moment, or open the vault with another of its keys"
_PIN = "give the PIN of the vault's TPM key; wrong ones lock the TPM for a while"

#: code -> what the TPM says, our error, the way out.
RESPONSES: dict[int, tuple[str, type[StoreError], str | None]] = {
    0x921: (
        "the TPM is locked after too many wrong PINs",
        StoreLocked,
        "wait until it lets go (minutes to hours), or open the vault with another of its keys",
    ),
    0x148: ("the TPM's memory is locked until it is reset", StoreLocked, "restart the machine"),
    0x922: ("the TPM is busy", StoreTimeout, _LATER),
    0x908: ("the TPM yielded", StoreTimeout, _LATER),
    0x90A: ("the TPM is testing itself", StoreTimeout, _LATER),
    0x920: ("the TPM limits its writes", StoreTimeout, _LATER),
    0x923: ("the TPM's memory is not accessible now", StoreTimeout, _LATER),
    0x902: ("the TPM has no room for an object", StoreTimeout, _LATER),
    0x903: ("the TPM has no room for a session", StoreTimeout, _LATER),
    0x904: ("the TPM has no room", StoreTimeout, _LATER),
    0x905: ("the TPM has no session left", StoreTimeout, _LATER),
    0x128: ("a PCR changed while the TPM looked at it", StoreTimeout, _LATER),
    0x909: ("the command to the TPM was cancelled", InteractionDenied, None),
    0x08E: ("the TPM refuses this authorization", AccessDenied, _PIN),
    0x0A2: ("the TPM refuses this authorization", AccessDenied, _PIN),
    0x09D: ("a PCR that the key is sealed to has another value now", SecretInvalidated, _GONE),
    0x09F: ("the sealed key does not open in this TPM", SecretInvalidated, _GONE),
    0x08B: ("the TPM's storage key is gone", SecretInvalidated, _GONE),
    0x152: ("the TPM's storage key is gone", SecretInvalidated, _GONE),
    0x0A3: ("the key's policy has expired", SecretInvalidated, _GONE),
    0x155: ("the sealed key is damaged", SecretDamaged, None),
    0x095: ("the sealed key is damaged", SecretDamaged, None),
    0x147: ("the value is too large for the TPM", ValueTooLarge, None),
    0x14B: ("the TPM's memory is full", StoreFull, None),
    0x100: ("the TPM was not started", StoreUnavailable, "restart the machine"),
    0x101: ("the TPM has failed", StoreUnavailable, "restart the machine"),
    0x120: ("the TPM is disabled", StoreUnavailable, _NO_TPM),
    0x130: ("the TPM needs a restart", StoreUnavailable, "restart the machine"),
}

#: The session that it happened in is spent: a new one may succeed.
PCR_CHANGED = 0x128
#: A wrong authorization value; 0x08E was counted by the TPM.
REFUSED = frozenset({0x08E, 0x0A2})
#: Sent again until the deadline; every other code ends the call at once, a wrong PIN above all.
RETRIED = frozenset(code for code, (_, error, _) in RESPONSES.items() if error is StoreTimeout) - {
    PCR_CHANGED
}

#: errno -> what the device's driver says, our error, the way out.
DEVICE: dict[int, tuple[str, type[StoreError], str | None]] = {
    errno.ENOENT: ("this machine has no TPM 2.0", StoreUnavailable, _NO_TPM),
    errno.ENODEV: ("this machine has no TPM 2.0", StoreUnavailable, _NO_TPM),
    errno.ENXIO: ("this machine has no TPM 2.0", StoreUnavailable, _NO_TPM),
    errno.ENOTDIR: ("this machine has no TPM 2.0", StoreUnavailable, _NO_TPM),
    errno.ECONNREFUSED: ("nothing answers in the TPM's place", StoreUnavailable, _NO_TPM),
    errno.EACCES: ("this user may not use the TPM", AccessDenied, _PERMISSION),
    errno.EPERM: ("this user may not use the TPM", AccessDenied, _PERMISSION),
    errno.EBUSY: ("another program holds the TPM", StoreTimeout, _LATER),
    errno.EAGAIN: ("the TPM is busy", StoreTimeout, _LATER),
    errno.EINTR: ("the TPM's driver was interrupted", StoreTimeout, _LATER),
    errno.ETIME: ("the TPM does not answer its driver", StoreTimeout, _LATER),
    errno.ETIMEDOUT: ("the TPM does not answer", StoreTimeout, _LATER),
}
#: Tried again until the deadline.
BUSY_DEVICE = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR})


def base_code(code: int) -> int:
    """A response code without the layer that it came through and the part that it is about."""
    code &= _LAYER
    return code & _FORMAT_1_BASE if code & _FORMAT_1 else code


def response_error(code: int, doing: str) -> StoreError:
    """Our error for a response code; one that is not in the table is unavailable, never absent."""
    unknown = ("the TPM refuses", StoreUnavailable, None)
    what, error, hint = RESPONSES.get(base_code(code), unknown)
    return error(f"{doing}: {what} (0x{code:03x})", hint=hint)


def device_error(number: int | None, path: str) -> StoreError:
    """Our error for an errno of the device's driver or socket."""
    unknown = ("the TPM cannot be reached", StoreUnavailable, _NO_TPM)
    what, error, hint = DEVICE.get(number or 0, unknown)
    name = errno.errorcode.get(number or 0, str(number))
    return error(f"{what}: {path} ({name})", hint=hint)
