"""What the keychain's answers (OSStatus) mean; the one table for them.

Names and numbers are those of Security/SecBase.h and MacErrors.h; the one that only Apple's own
code names is marked.
"""

from __future__ import annotations

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
    UnsupportedOption,
    ValueTooLarge,
    WriteConflict,
)

SUCCESS = 0
NOT_FOUND = -25300
INVALID_ITEM = -25304
DUPLICATE = -25299
LOCKED = -25308
NOT_AVAILABLE = -25291
IO = -36
ALLOCATE = -108

UNLOCK = "unlock the device; on macOS: security unlock-keychain"
_ALLOW = "unlock it first, or allow prompts: SecureStorage(..., interaction=Interaction.ALLOWED)"
_ENTITLE = (
    "sign the program with the keychain-access-groups entitlement,"
    " or use AppleOptions(keychain=Keychain.FILE) on macOS"
)
_LIST = "security list-keychains; security default-keychain"
_VAULT = "tokenkeep vault create"
_ERASE = "erase the item and sign in again"
_LATER = "retry; if it stays so, restart the machine"

#: OSStatus -> its name, our error (None: there is no such item), what happened, the remedy.
STATUS: dict[int, tuple[str, type[StoreError] | None, str, str | None]] = {
    -25308: ("errSecInteractionNotAllowed", StoreLocked, "the keychain is locked", UNLOCK),
    -25315: ("errSecInteractionRequired", InteractionDenied, "a person has to be asked", _ALLOW),
    -25320: ("errSecInDarkWake", StoreLocked, "the machine is half asleep", UNLOCK),
    # Private: the keychain is being upgraded and waits for the device to be unlocked.
    -34019: ("errSecUpgradePending", StoreLocked, "the keychain waits for an upgrade", UNLOCK),
    -25291: ("errSecNotAvailable", StoreTimeout, "no keychain is available now", _LATER),
    -26275: ("errSecDecode", SecretInvalidated, "the item's key is gone from this device", _ERASE),
    -25300: ("errSecItemNotFound", None, "there is no such item", None),
    -25304: ("errSecInvalidItemRef", None, "there is no such item any more", None),
    # Also what an item answers whose access list would have to ask, while asking is forbidden.
    -25293: ("errSecAuthFailed", InteractionDenied, "the keychain did not let us in", _ALLOW),
    -128: ("errSecUserCanceled", InteractionDenied, "cancelled", None),
    -25243: ("errSecNoAccessForItem", AccessDenied, "the item's access list names others", None),
    -25244: ("errSecInvalidOwnerEdit", AccessDenied, "the item belongs to another program", None),
    -34018: ("errSecMissingEntitlement", AccessDenied, "the program has no entitlement", _ENTITLE),
    -34020: ("errSecRestrictedAPI", AccessDenied, "the keychain refuses this program", None),
    -25299: ("errSecDuplicateItem", WriteConflict, "somebody else wrote first", None),
    -25302: ("errSecDataTooLarge", ValueTooLarge, "the value is too large", _VAULT),
    -67596: ("errSecQuotaExceeded", StoreFull, "the quota is used up", None),
    -67597: ("errSecFileTooBig", ValueTooLarge, "the keychain's file would be too large", _VAULT),
    -34: ("errSecDiskFull", StoreFull, "the disk is full", None),
    -25292: ("errSecReadOnly", AccessDenied, "the keychain is read-only", None),
    -61: ("errSecWrPerm", AccessDenied, "the keychain may not be written", None),
    -49: ("errSecOpWr", AccessDenied, "another program writes the keychain's file", None),
    -36: ("errSecIO", StoreTimeout, "the keychain's file could not be read or written", _LATER),
    -25294: ("errSecNoSuchKeychain", StoreUnavailable, "there is no such keychain", _LIST),
    -25307: ("errSecNoDefaultKeychain", StoreUnavailable, "no default keychain", _LIST),
    -25295: ("errSecInvalidKeychain", SecretDamaged, "this is not a keychain", None),
    -25310: ("errSecWrongSecVersion", SecretDamaged, "the keychain's version is unknown", None),
    -67598: ("errSecInvalidDatabaseBlob", SecretDamaged, "the keychain is damaged", None),
    -67599: ("errSecInvalidKeyBlob", SecretDamaged, "the item's key is damaged", None),
    -67600: ("errSecIncompatibleDatabaseBlob", SecretDamaged, "the item is damaged", None),
    -25316: ("errSecDataNotAvailable", StoreLocked, "the item's data is not available", UNLOCK),
    -67585: ("errSecServiceNotAvailable", StoreUnavailable, "the service is not available", None),
    -25312: ("errSecNoStorageModule", StoreUnavailable, "the storage module is missing", None),
    -67587: ("errSecDeviceReset", SecretInvalidated, "the device was reset", _ERASE),
    -67588: ("errSecDeviceFailed", StoreUnavailable, "the device failed", None),
    -50: ("errSecParam", UnsupportedOption, "the keychain does not take these options", None),
    -909: ("errSecBadReq", UnsupportedOption, "the keychain does not take this request", None),
    -4: ("errSecUnimplemented", UnsupportedOption, "this system does not implement it", None),
    -108: ("errSecAllocate", StoreTimeout, "the keychain had no memory", _LATER),
}

#: Answers that may be another one in a moment: asked again until the deadline.
PASSING = frozenset({NOT_AVAILABLE, IO, ALLOCATE})


def is_absent(status: int) -> bool:
    """Whether the answer means that there is no such item, and nothing else."""
    return status in (NOT_FOUND, INVALID_ITEM)


def error_for(status: int, doing: str, text: str = "") -> StoreError:
    """Our error for an answer; one that nobody foresaw is never taken for absent.

    Args:
        doing: what was tried, for the message.
        text: what the system says about the status.
    """
    name, kind, meaning, hint = STATUS.get(status, ("", None, text or "unknown answer", None))
    said = f"{name}, {status}" if name else f"OSStatus {status}"
    if kind is None:
        kind = StoreUnavailable
    return kind(f"{doing}: {meaning} ({said})", hint=hint)
