"""Keys in AndroidKeyStore: made, used and looked at, never made by using them.

A busy Keystore is asked again until the deadline; what may pass is tried once more; nothing is
erased because of a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from tokenkeep.errors import (
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.item import Call
from tokenkeep.native.again import Pauses
from tokenkeep.native.android.codes import Meaning, Thrown
from tokenkeep.native.android.jvm import Bridge, JavaThrown, as_bytes, run
from tokenkeep.secret import Secret

T = TypeVar("T")

#: What a caller does with a cipher that waits for a person's confirmation.
Confirm = Callable[[Bridge, Any], None]

_STORE = "AndroidKeyStore"
_KEY_INFO = "android.security.keystore.KeyInfo"
#: Where the ciphers live that can use a Keystore key.
_CIPHERS = "AndroidKeyStoreBCWorkaround"
_GCM = "AES/GCM/NoPadding"
_TAG_BITS = 128
#: The Keystore chooses 96 bits; a caller's own are refused.
_NONCE_BYTES = 12
#: Seconds between two attempts at a busy Keystore: the first, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
#: The API levels that brought what we ask for.
_API_28, _API_30, _API_31 = 28, 30, 31

_HINTS = {
    Meaning.LOCKED: "unlock the device or authenticate, then retry",
    Meaning.INVALIDATED: "call storage.reset() and sign in again",
    Meaning.DOUBTED: "call storage.reset() and sign in again",
    Meaning.BUSY: "retry in a moment",
    Meaning.DENIED: "only the application that made the key may use it",
    Meaning.NO_STRONGBOX: "AndroidOptions(strongbox=StrongBox.PREFERRED) takes what the device has",
    Meaning.FULL: "remove keys that this application no longer needs",
}


class NoStrongBox(StoreUnavailable):
    """The device's StrongBox cannot do it; do without, or use another device."""


class SecurityLevel(IntEnum):
    """Where a key lives: `KeyProperties.SECURITY_LEVEL_...`."""

    UNKNOWN = -2
    UNKNOWN_SECURE = -1
    SOFTWARE = 0
    TRUSTED_ENVIRONMENT = 1
    STRONGBOX = 2

    @property
    def is_hardware(self) -> bool:
        """Whether the key never leaves secure hardware."""
        return self in (self.UNKNOWN_SECURE, self.TRUSTED_ENVIRONMENT, self.STRONGBOX)


@dataclass(frozen=True, slots=True)
class KeySpec:
    """What a new key demands.

    Args:
        strongbox: it lives in StrongBox, or is not made.
        unlocked_device_required: the device is unlocked whenever it is used.
        authentication_seconds: a person authenticated within so many seconds, 0 for every use; None
            for never.
        authenticators: `KeyProperties.AUTH_...`, or-ed.
        invalidated_by_enrolment: a new finger or face ends it; None is Android's own rule.
    """

    strongbox: bool = False
    unlocked_device_required: bool = False
    authentication_seconds: int | None = None
    authenticators: int = 0
    invalidated_by_enrolment: bool | None = None


def generate(call: Call, alias: str, spec: KeySpec) -> None:
    """Makes an AES-256-GCM key that never leaves the Keystore; none if it comes too late.

    Raises:
        NoStrongBox: it is asked for, and cannot.
        StoreUnavailable: there is no Keystore.
        UnsupportedOption: this version of Android is too old for what is asked, or a lock screen
            is missing that the key would depend on.
        StoreLocked, StoreTimeout, StoreFull, AccessDenied: as the tables say.
    """

    def make(way: Bridge) -> None:
        generator = way.load("javax.crypto.KeyGenerator").getInstance("AES", _STORE)
        parameters = _parameters(way, alias, spec)
        generator.init(parameters)
        generator.generateKey()
        if call.remaining() == 0.0:  # nobody waits for it any more, or will ever ask for it
            store = _store(way)
            store.deleteEntry(alias)

    settled(call, "making a key in the Keystore", None, make)


def seal(
    call: Call, alias: str, plain: Secret, associated: bytes, confirm: Confirm | None = None
) -> bytes:
    """Nonce, ciphertext and tag, under a nonce that the Keystore chooses.

    Raises:
        As `open_sealed`, but SecretDamaged.
    """

    def encrypt(way: Bridge) -> bytes:
        cipher = way.load("javax.crypto.Cipher")
        using = cipher.getInstance(_GCM)
        mode, key = cipher.ENCRYPT_MODE, _key(way, alias)
        using.init(mode, key)
        if confirm is not None:
            confirm(way, using)
        using.updateAAD(associated)
        value = plain.reveal_bytes()
        sealed = using.doFinal(value)
        del value  # this frame may end up in a traceback
        return as_bytes(using.getIV()) + as_bytes(sealed)

    return settled(call, "sealing with the Keystore", alias, encrypt)


def open_sealed(
    call: Call, alias: str, sealed: bytes, associated: bytes, confirm: Confirm | None = None
) -> Secret:
    """What `seal` sealed.

    Raises:
        SecretInvalidated: the key is gone for good.
        SecretDamaged: the key is there, and these bytes are not what it sealed.
        StoreLocked: a person has to authenticate, or to unlock the device.
        StoreTimeout, StoreUnavailable, AccessDenied: it cannot be used now.
        InteractionDenied, StoreLocked: as `confirm` raises.
    """

    def decrypt(way: Bridge) -> Secret:
        cipher = way.load("javax.crypto.Cipher")
        parameters = way.load("javax.crypto.spec.GCMParameterSpec")
        using = cipher.getInstance(_GCM)
        nonce, body = parameters(_TAG_BITS, sealed[:_NONCE_BYTES]), sealed[_NONCE_BYTES:]
        mode, key = cipher.DECRYPT_MODE, _key(way, alias)
        using.init(mode, key, nonce)
        if confirm is not None:
            confirm(way, using)
        using.updateAAD(associated)
        return Secret(as_bytes(using.doFinal(body)))

    return settled(call, "opening with the Keystore", alias, decrypt)


def unwrap(call: Call, alias: str, wrapped: bytes, is_oaep: bool) -> Secret:
    """An AES key that was wrapped with an RSA key of the Keystore, as raw bytes.

    Args:
        is_oaep: with OAEP, SHA-256 and MGF1 with SHA-1; else PKCS #1 version 1.5.

    Raises:
        As `open_sealed`.
    """

    def unwrapped(way: Bridge) -> Secret:
        cipher = way.load("javax.crypto.Cipher")
        private, mode, kind = _key(way, alias), cipher.UNWRAP_MODE, cipher.SECRET_KEY
        transformation = f"RSA/ECB/{'OAEPPadding' if is_oaep else 'PKCS1Padding'}"
        # Named, because another provider may come first and cannot use a Keystore key.
        using = cipher.getInstance(transformation, _CIPHERS)
        if is_oaep:
            parameters = _oaep(way)
            using.init(mode, private, parameters)
        else:
            using.init(mode, private)
        key = using.unwrap(wrapped, "AES", kind)
        return Secret(as_bytes(key.getEncoded()))

    return settled(call, "unwrapping with the Keystore", alias, unwrapped, is_unwrapping=True)


def contains(call: Call, alias: str) -> bool:
    """Whether the Keystore has a key by this name."""

    def look(way: Bridge) -> bool:
        store = _store(way)
        return bool(store.containsAlias(alias))

    return settled(call, "looking in the Keystore", None, look)


def delete(call: Call, alias: str) -> None:
    """Erases a key for good; nothing happens if there is none."""

    def erase(way: Bridge) -> None:
        store = _store(way)
        store.deleteEntry(alias)

    settled(call, "erasing a key", None, erase)


def security_level(call: Call, alias: str) -> SecurityLevel:
    """Where the key lives, as the Keystore says.

    Raises:
        SecretInvalidated: there is no such key.
    """

    def look(way: Bridge) -> SecurityLevel:
        key = way.cast("javax.crypto.SecretKey", _key(way, alias))
        factory = way.load("javax.crypto.SecretKeyFactory").getInstance("AES", _STORE)
        loader = way.load("java.lang.ClassLoader").getSystemClassLoader()
        kind = loader.loadClass(_KEY_INFO)
        found = factory.getKeySpec(key, kind)
        info = way.cast(_KEY_INFO, found)
        if sdk(way) < _API_31:
            is_secure = bool(info.isInsideSecureHardware())
            return SecurityLevel.UNKNOWN_SECURE if is_secure else SecurityLevel.SOFTWARE
        try:
            return SecurityLevel(int(info.getSecurityLevel()))
        except ValueError:
            return SecurityLevel.UNKNOWN

    return settled(call, "looking at a key in the Keystore", alias, look)


def sdk(way: Bridge) -> int:
    """The device's API level."""
    return int(way.load("android.os.Build$VERSION").SDK_INT)


def settled(
    call: Call,
    doing: str,
    alias: str | None,
    function: Callable[[Bridge], T],
    is_unwrapping: bool = False,
) -> T:
    """What the function returns, or the error that its last failure means.

    Tries again what may pass, within the call's deadline.

    Args:
        alias: the key it uses; None if none has to be there.
        is_unwrapping: a plain InvalidKeyException may mean the wrapped bytes.
    """
    pauses, was_doubted = Pauses(call, _FIRST_PAUSE, _LONGEST_PAUSE), False
    while True:
        thrown: Thrown | None = None
        try:
            return run(call, doing, function)
        except JavaThrown as exc:
            thrown = exc.thrown
        except _NoKey:
            pass
        meaning = _meaning(thrown, is_unwrapping)
        if meaning is Meaning.BUSY:
            if not pauses.wait():
                break
        elif meaning in (Meaning.UNDECIDED, Meaning.DOUBTED) and not was_doubted:
            was_doubted = True
            _sleep(call, _FIRST_PAUSE)
        else:
            break
    raise _error(call, doing, alias, thrown, meaning)


class _NoKey(Exception):
    """The Keystore has no key by that name; never leaves this module."""


def _store(way: Bridge) -> Any:
    store = way.load("java.security.KeyStore").getInstance(_STORE)
    store.load(None)
    return store


def _key(way: Bridge, alias: str) -> Any:
    store = _store(way)
    key = store.getKey(alias, None)
    if key is None:
        raise _NoKey
    return key


def _parameters(way: Bridge, alias: str, spec: KeySpec) -> Any:
    names = way.load("android.security.keystore.KeyProperties")
    purposes = names.PURPOSE_ENCRYPT | names.PURPOSE_DECRYPT
    mode, padding = names.BLOCK_MODE_GCM, names.ENCRYPTION_PADDING_NONE
    builder = way.load("android.security.keystore.KeyGenParameterSpec$Builder")(alias, purposes)
    builder.setBlockModes(mode)
    builder.setEncryptionPaddings(padding)
    builder.setKeySize(256)
    builder.setRandomizedEncryptionRequired(True)
    level = sdk(way)
    if spec.unlocked_device_required:
        _require(level, _API_28, "unlocked_device_required")
        builder.setUnlockedDeviceRequired(True)
    if spec.strongbox:
        _require(level, _API_28, "strongbox")
        builder.setIsStrongBoxBacked(True)
    seconds, authenticators = spec.authentication_seconds, spec.authenticators
    if seconds is not None:
        _require(level, _API_30, "user_authentication")
        builder.setUserAuthenticationRequired(True)
        builder.setUserAuthenticationParameters(seconds, authenticators)
        ends = spec.invalidated_by_enrolment
        if ends is not None:
            builder.setInvalidatedByBiometricEnrollment(ends)
    return builder.build()


def _require(level: int, least: int, option: str) -> None:
    if level < least:
        raise UnsupportedOption(
            f"{option} needs Android's API level {least}, this device has {level}",
            hint="leave the option out, or raise the application's minSdk",
        )


def _oaep(way: Bridge) -> Any:
    return way.load("javax.crypto.spec.OAEPParameterSpec")(
        "SHA-256",
        "MGF1",
        way.load("java.security.spec.MGF1ParameterSpec").SHA1,
        way.load("javax.crypto.spec.PSource$PSpecified").DEFAULT,
    )


def _meaning(thrown: Thrown | None, is_unwrapping: bool) -> Meaning:
    if thrown is None:
        return Meaning.DOUBTED
    plainly_invalid = thrown.classes[:1] == ("java.security.InvalidKeyException",)
    if is_unwrapping and plainly_invalid and thrown.meaning is Meaning.INVALIDATED:
        return Meaning.UNDECIDED
    return thrown.meaning


def _error(
    call: Call, doing: str, alias: str | None, thrown: Thrown | None, meaning: Meaning
) -> StoreError:
    if meaning is Meaning.UNDECIDED and alias is not None:
        if contains(call, alias):
            return SecretDamaged(f"{doing}: the key is there and does not fit ({thrown})")
        thrown = None
    if thrown is None:
        return SecretInvalidated(
            f"{doing}: the key is gone from this device",
            hint=_HINTS[Meaning.INVALIDATED],
        )
    error = NoStrongBox if meaning is Meaning.NO_STRONGBOX else meaning.error
    return error(f"{doing}: {thrown}", hint=_HINTS.get(meaning))


def _sleep(call: Call, seconds: float) -> None:
    left = call.remaining()
    call.clock.sleep(seconds if left is None else min(seconds, left))
