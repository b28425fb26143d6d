"""What Android's failures mean: the one table of throwables and codes. Values only.

Sources: android.security.KeyStoreException (public codes, API 33), keystore2's ResponseCode.aidl
(positive internal codes), KeyMint's ErrorCode.aidl (negative internal codes), for the texts before
Android 13 android.security.KeyStore and KeymasterDefs.sErrorCodeToString, and the constants of
android.hardware.biometrics.BiometricPrompt.
"""

from __future__ import annotations

from enum import Enum

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
)


class Meaning(Enum):
    """What a failure means for the caller; the value is the class of error it ends as."""

    LOCKED = StoreLocked
    INVALIDATED = SecretInvalidated
    UNAVAILABLE = StoreUnavailable
    DENIED = AccessDenied
    DECLINED = InteractionDenied
    DAMAGED = SecretDamaged
    TOO_LARGE = ValueTooLarge
    FULL = StoreFull
    MISUSED = UnsupportedOption
    #: Tried again until the deadline.
    BUSY = StoreTimeout
    #: Tried once more; then the key decides: still there, the bytes are damaged; else it is gone.
    UNDECIDED = (SecretDamaged, SecretInvalidated)
    #: Tried once more, as Android now and then says so of a good key; then the key is gone.
    DOUBTED = (SecretInvalidated,)
    #: Made again without StrongBox, if the options allow that.
    NO_STRONGBOX = (StoreUnavailable,)

    @property
    def error(self) -> type[StoreError]:
        """The error in the end, where the key is still there."""
        error: type[StoreError] = self.value[0] if isinstance(self.value, tuple) else self.value
        return error


_M = Meaning

#: Throwables that say what happened, wherever in the chain of causes; the first match counts.
CERTAIN = {
    "android.security.keystore.KeyPermanentlyInvalidatedException": _M.INVALIDATED,
    "android.security.keystore.UserNotAuthenticatedException": _M.LOCKED,
    "android.security.keystore.StrongBoxUnavailableException": _M.NO_STRONGBOX,
    "android.security.keystore.BackendBusyException": _M.BUSY,
    "android.security.keystore.KeyExpiredException": _M.INVALIDATED,
    "android.security.keystore.KeyNotYetValidException": _M.UNAVAILABLE,
    "android.os.TransactionTooLargeException": _M.TOO_LARGE,
}

#: `KeyStoreException.getNumericErrorCode()`, API 33 and later.
PUBLIC = {
    1: _M.UNAVAILABLE,  # OTHER
    2: _M.LOCKED,  # USER_AUTHENTICATION_REQUIRED
    3: _M.UNAVAILABLE,  # KEYSTORE_UNINITIALIZED
    4: _M.UNAVAILABLE,  # INTERNAL_SYSTEM_ERROR
    5: _M.DENIED,  # PERMISSION_DENIED
    6: _M.INVALIDATED,  # KEY_DOES_NOT_EXIST; keystore2's KEY_PERMANENTLY_INVALIDATED too
    7: _M.UNDECIDED,  # KEY_CORRUPTED
    8: _M.UNAVAILABLE,  # ID_ATTESTATION_FAILURE
    9: _M.UNAVAILABLE,  # ATTESTATION_CHALLENGE_TOO_LARGE
    10: _M.UNAVAILABLE,  # KEYMINT_FAILURE
    11: _M.UNAVAILABLE,  # KEYSTORE_FAILURE
    12: _M.UNAVAILABLE,  # UNIMPLEMENTED
    13: _M.MISUSED,  # INCORRECT_USAGE
    14: _M.UNAVAILABLE,  # KEY_NOT_TEMPORALLY_VALID
    15: _M.BUSY,  # KEY_OPERATION_EXPIRED
    16: _M.UNAVAILABLE,  # ATTESTATION_KEYS_UNAVAILABLE
}

#: keystore2's ResponseCode (positive) and KeyMint's ErrorCode (negative).
INTERNAL = {
    2: _M.LOCKED,  # LOCKED
    3: _M.UNAVAILABLE,  # UNINITIALIZED
    4: _M.UNAVAILABLE,  # SYSTEM_ERROR
    6: _M.DENIED,  # PERMISSION_DENIED
    7: _M.INVALIDATED,  # KEY_NOT_FOUND
    8: _M.DAMAGED,  # VALUE_CORRUPTED
    15: _M.LOCKED,  # OP_AUTH_NEEDED, before Android 12
    17: _M.INVALIDATED,  # KEY_PERMANENTLY_INVALIDATED
    18: _M.BUSY,  # BACKEND_BUSY
    19: _M.BUSY,  # OPERATION_BUSY
    20: _M.MISUSED,  # INVALID_ARGUMENT
    21: _M.TOO_LARGE,  # TOO_MUCH_DATA: 32 KiB in a transaction
    22: _M.UNAVAILABLE,  # OUT_OF_KEYS, of attestation, as the next four
    23: _M.UNAVAILABLE,
    24: _M.UNAVAILABLE,
    25: _M.UNAVAILABLE,
    26: _M.UNAVAILABLE,
    29: _M.FULL,  # TOO_MANY_APP_KEYS
    30: _M.FULL,
    -21: _M.UNDECIDED,  # INVALID_INPUT_LENGTH: shorter than anything that was sealed
    -25: _M.INVALIDATED,  # KEY_EXPIRED
    -26: _M.LOCKED,  # KEY_USER_NOT_AUTHENTICATED
    -28: _M.BUSY,  # INVALID_OPERATION_HANDLE: another operation took its place
    -30: _M.UNDECIDED,  # VERIFICATION_FAILED: seen after a backup was restored
    -31: _M.BUSY,  # TOO_MANY_OPERATIONS
    -33: _M.INVALIDATED,  # INVALID_KEY_BLOB
    -41: _M.BUSY,  # MEMORY_ALLOCATION_FAILED
    -48: _M.BUSY,  # SECURE_HW_BUSY
    -49: _M.BUSY,  # SECURE_HW_COMMUNICATION_FAILED
    -54: _M.BUSY,  # KEY_RATE_LIMIT_EXCEEDED
    -56: _M.UNAVAILABLE,  # KEY_MAX_OPS_EXCEEDED: until the next boot
    -62: _M.BUSY,  # KEY_REQUIRES_UPGRADE: Android upgrades it by itself
    -68: _M.NO_STRONGBOX,  # HARDWARE_TYPE_UNAVAILABLE
    -72: _M.LOCKED,  # DEVICE_LOCKED
    -85: _M.BUSY,  # HARDWARE_NOT_YET_AVAILABLE
    -100: _M.UNAVAILABLE,  # UNIMPLEMENTED
}

#: The whole message of a KeyStoreException before Android 13, which names no code: for what has no
#: text of its own it is the bare number.
TEXTS = {
    "User authentication required": 2,
    "Keystore not initialized": 3,
    "System error": 4,
    "Permission denied": 6,
    "Key not found": 7,
    "Key blob corrupted": 8,
    "Operation requires authorization": 15,
    "Key permanently invalidated": 17,
    "Invalid input length": -21,
    "Key expired": -25,
    "Key user not authenticated": -26,
    "Invalid operation handle": -28,
    "Signature/MAC verification failed": -30,
    "Too many operations": -31,
    "Invalid key blob": -33,
    "Memory allocation failed": -41,
    "Requested security level (likely Strongbox) is not available.": -68,
    "Device locked": -72,
    "Not implemented": -100,
}

#: Throwables that say less than a code would; the first match counts.
GENERAL = {
    "javax.crypto.AEADBadTagException": _M.UNDECIDED,
    "javax.crypto.BadPaddingException": _M.UNDECIDED,
    # Android wraps every failure of its Keystore that it has no class for into one of those below:
    # with such a cause, whose code nobody knows, nothing is concluded from them.
    "android.security.KeyStoreException": _M.UNAVAILABLE,
    "javax.crypto.IllegalBlockSizeException": _M.UNDECIDED,
    "java.security.UnrecoverableKeyException": _M.DOUBTED,
    "java.security.UnrecoverableEntryException": _M.DOUBTED,
    "java.security.NoSuchAlgorithmException": _M.UNAVAILABLE,
    "java.security.NoSuchProviderException": _M.UNAVAILABLE,
    "javax.crypto.NoSuchPaddingException": _M.UNAVAILABLE,
    "java.security.InvalidAlgorithmParameterException": _M.MISUSED,
    "java.lang.IllegalStateException": _M.UNAVAILABLE,
    "java.lang.SecurityException": _M.DENIED,
    # Whatever else is in the chain says more; this is what a dead key says before API level 33.
    "java.security.InvalidKeyException": _M.INVALIDATED,
    # Without a code these two tell nothing: nothing is concluded from them.
    "java.security.KeyStoreException": _M.UNAVAILABLE,
    "java.security.ProviderException": _M.UNAVAILABLE,
}

#: `BiometricPrompt.BIOMETRIC_ERROR_...`, as onAuthenticationError gives them.
PROMPT = {
    1: _M.BUSY,  # HW_UNAVAILABLE
    2: _M.BUSY,  # UNABLE_TO_PROCESS
    3: _M.DECLINED,  # TIMEOUT
    4: _M.FULL,  # NO_SPACE
    5: _M.DECLINED,  # CANCELED
    7: _M.LOCKED,  # LOCKOUT: for 30 seconds
    8: _M.UNAVAILABLE,  # VENDOR
    9: _M.LOCKED,  # LOCKOUT_PERMANENT: until the device is unlocked
    10: _M.DECLINED,  # USER_CANCELED
    11: _M.UNAVAILABLE,  # NO_BIOMETRICS enrolled
    12: _M.UNAVAILABLE,  # HW_NOT_PRESENT
    13: _M.DECLINED,  # NEGATIVE_BUTTON
    14: _M.UNAVAILABLE,  # NO_DEVICE_CREDENTIAL
    15: _M.UNAVAILABLE,  # SECURITY_UPDATE_REQUIRED
}

#: Beyond these tables: something went wrong, and nothing is concluded from it.
UNKNOWN = Meaning.UNAVAILABLE


class Thrown:
    """What is kept of a throwable: class names and codes, never its message.

    Args:
        classes: the throwable's class and its causes', outermost first.
        public, internal: the codes of an android.security.KeyStoreException among them.
        is_out_of_space: a cause says that the disk is full (ENOSPC).
    """

    __slots__ = ("classes", "internal", "is_out_of_space", "public")

    def __init__(
        self,
        classes: tuple[str, ...],
        public: int | None = None,
        internal: int | None = None,
        is_out_of_space: bool = False,
    ) -> None:
        self.classes = classes
        self.public = public
        self.internal = internal
        self.is_out_of_space = is_out_of_space

    @property
    def meaning(self) -> Meaning:
        """By the tables above, from what is certain to what is general."""
        if self.is_out_of_space:
            return Meaning.FULL
        for table in (CERTAIN, GENERAL):
            if table is GENERAL:
                by_code = INTERNAL.get(self.internal or 0) or PUBLIC.get(self.public or 0)
                if by_code is not None:
                    return by_code
            for name, meaning in table.items():
                if name in self.classes:
                    return meaning
        return UNKNOWN

    def __str__(self) -> str:
        """For a message: the class's last name and the codes."""
        words = [self.classes[0].rpartition(".")[2] if self.classes else "unknown throwable"]
        if self.internal is not None:
            words.append(f"keystore code {self.internal}")
        elif self.public is not None:
            words.append(f"code {self.public}")
        return ", ".join(words)
