"""The Android Keystore as a vault's key: it seals each slot's wrapping key and never leaves.

Opening never makes a key: one that is missing beside a vault that needs it is gone for good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tokenkeep import fields
from tokenkeep.backends.android.options import AndroidOptions, Authenticator, StrongBox
from tokenkeep.crypto import KEY_BYTES, random_bytes
from tokenkeep.errors import (
    SecretDamaged,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    VaultDamaged,
)
from tokenkeep.item import Call, Interaction
from tokenkeep.native.android import application, biometric, keystore
from tokenkeep.native.android.keystore import Confirm, KeySpec, NoStrongBox, SecurityLevel
from tokenkeep.secret import Secret
from tokenkeep.vault.format import RESTORE_HINT, Slot
from tokenkeep.vault.leftovers import moment

T = TypeVar("T")

_LABEL = b"tokenkeep android"
_SEALED, _LEVEL = "sealed", "level"
#: `KeyProperties.AUTH_DEVICE_CREDENTIAL` and `AUTH_BIOMETRIC_STRONG`; then what the prompt calls
#: the same.
_KEY_AUTHENTICATORS = {
    Authenticator.DEVICE_CREDENTIAL: 1,
    Authenticator.BIOMETRIC: 2,
    Authenticator.EITHER: 1 | 2,
}
_PROMPT_AUTHENTICATORS = {
    Authenticator.DEVICE_CREDENTIAL: biometric.DEVICE_CREDENTIAL,
    Authenticator.BIOMETRIC: biometric.BIOMETRIC_STRONG,
    Authenticator.EITHER: biometric.BIOMETRIC_STRONG | biometric.DEVICE_CREDENTIAL,
}


class AndroidKeystoreKey:
    """A key slot's AES-256-GCM key in AndroidKeyStore, one for each slot of each vault.

    Args:
        options: what new keys demand, and how a person is asked; existing keys keep their own
            demands.
    """

    __slots__ = ("_level", "options")

    kind = "android-keystore"
    opens_elsewhere = False

    def __init__(self, options: AndroidOptions | None = None) -> None:
        self.options = AndroidOptions() if options is None else options
        self._level: SecurityLevel | None = None

    @property
    def protection(self) -> str:
        """HARDWARE if the last key that was made says so of itself; else LOGIN."""
        is_hardware = self._level is not None and self._level.is_hardware
        return "HARDWARE" if is_hardware else "LOGIN"

    @property
    def may_prompt(self) -> bool:
        """Whether a person has to authenticate."""
        return self.options.user_authentication is not None

    @property
    def readable_when_locked(self) -> bool:
        """Whether a new key asks neither for an unlocked device nor for a person."""
        return not (self.may_prompt or self.options.unlocked_device_required)

    @property
    def locked_after_boot(self) -> bool:
        """Whether a new key waits for somebody after a reboot."""
        return not self.readable_when_locked

    def __repr__(self) -> str:
        return f"AndroidKeystoreKey({self.options!r})"

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Makes the slot's key and seals a new wrapping key with it; raises as `opener`.

        Raises:
            UnsupportedOption: this Android is too old for an option.
            StoreTimeout: StrongBox may need many seconds to make a key.
        """
        alias = alias_of(vault_id, slot_id)
        problem: StoreError | None = None
        try:
            self._make(alias, call)
            level = keystore.security_level(call, alias)
            self._require_promised(level, call)
            sealed = self._authenticated(
                call,
                lambda within, confirm: keystore.seal(
                    within,
                    alias,
                    Secret(random_bytes(KEY_BYTES)),
                    _associated(vault_id, slot_id),
                    confirm,
                ),
            )
        except StoreError as exc:
            problem = exc.with_traceback(None)
        if problem is not None:
            _discard(alias, call)  # if it was made, then just now, and nothing was sealed with it
            raise problem
        self._level = level
        return {_SEALED: sealed, _LEVEL: level.name.lower().encode("ascii")}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What gives a slot's wrapping key.

        Raises (both here and in what is returned):
            SecretInvalidated: the key is gone: removed, ended by a new enrolment, or the vault came
                from another device.
            VaultDamaged: the key is there, and the slot does not open with it.
            StoreLocked: the device is locked, or a person has to authenticate.
            InteractionDenied: the person said no.
            StoreTimeout, StoreUnavailable, AccessDenied, MissingExtra: it cannot be used now.
        """

        def kek(slot: Slot) -> Secret:
            sealed = slot.extra.get(_SEALED)
            if not sealed:
                raise VaultDamaged("a key slot is incomplete", hint=RESTORE_HINT)
            found: Secret | None = None
            damage: str | None = None
            try:
                found = self._authenticated(
                    call,
                    lambda within, confirm: keystore.open_sealed(
                        within,
                        alias_of(vault_id, slot.id),
                        sealed,
                        _associated(vault_id, slot.id),
                        confirm,
                    ),
                )
            except SecretDamaged as exc:
                damage = str(exc)
            if found is None or found.size != KEY_BYTES:
                raise VaultDamaged(damage or "a key slot does not open", hint=RESTORE_HINT)
            return found

        return kek

    def forget(self, slot: Slot, vault_id: bytes, call: Call) -> None:
        """Erases the key of a slot that is gone.

        Raises:
            StoreError: the Keystore did not.
        """
        keystore.delete(call, alias_of(vault_id, slot.id))

    def _make(self, alias: str, call: Call) -> None:
        wants = self.options.strongbox
        has_one = wants is not StrongBox.NEVER and application.has_feature(
            call, application.FEATURE_STRONGBOX
        )
        if wants is StrongBox.REQUIRED and not has_one:
            raise StoreUnavailable(
                "this device has no StrongBox",
                hint="AndroidOptions(strongbox=StrongBox.PREFERRED) takes what the device has",
            )
        is_made, slow = False, False
        if has_one:
            try:
                keystore.generate(call, alias, self._spec(strongbox=True))
                is_made = True
            except NoStrongBox:
                if wants is StrongBox.REQUIRED:
                    raise
            except StoreTimeout:
                slow = True
        if slow:
            raise StoreTimeout(
                "StrongBox has not made a key in time",
                hint="give the first write half a minute, or AndroidOptions(strongbox="
                "StrongBox.NEVER)",
            )
        if not is_made:
            keystore.generate(call, alias, self._spec(strongbox=False))

    def _spec(self, strongbox: bool) -> KeySpec:
        person = self.options.user_authentication
        return KeySpec(
            strongbox=strongbox,
            unlocked_device_required=self.options.unlocked_device_required,
            authentication_seconds=None if person is None else person.seconds or 0,
            authenticators=0 if person is None else _KEY_AUTHENTICATORS[person.by],
            invalidated_by_enrolment=None if person is None else person.invalidated_by_enrolment,
        )

    def _require_promised(self, level: SecurityLevel, call: Call) -> None:
        """Ends the making of a key that is weaker than what the device said of itself."""
        if self.options.strongbox is StrongBox.REQUIRED and level not in (
            SecurityLevel.STRONGBOX,
            SecurityLevel.UNKNOWN_SECURE,  # before API level 31 nobody can tell them apart
        ):
            raise StoreUnavailable(f"the key was made in {level.name}, not in StrongBox")
        if not level.is_hardware and promises_hardware(call):
            raise StoreUnavailable(
                "the device says that it keeps keys in hardware, and made this one in software",
                hint="restart the device, then retry",
            )

    def _authenticated(self, call: Call, use: Callable[[Call, Confirm | None], T]) -> T:
        """Uses the key; asks the person where that is needed, allowed and has not been done.

        Args:
            use: takes the call that it has to end within.
        """
        person = self.options.user_authentication
        locked: StoreLocked | None = None
        try:
            return use(call, None)
        except StoreLocked as exc:
            locked = exc.with_traceback(None)
        if person is None or call.interaction == Interaction.NEVER:
            raise locked
        authenticators = _PROMPT_AUTHENTICATORS[person.by]
        if person.seconds is None:
            # The prompt comes in the middle of the use, all of which is then the person's time.
            return call.while_asking(
                lambda asked: use(
                    asked, biometric.confirmation(asked, person.title, authenticators)
                )
            )
        call.while_asking(lambda asked: biometric.confirm(asked, person.title, authenticators))
        return use(call, None)


def promises_hardware(call: Call) -> bool:
    """Whether the device says that its Keystore keeps keys in secure hardware (API level 31)."""
    return application.has_feature(
        call, application.FEATURE_HARDWARE_KEYSTORE
    ) or application.has_feature(call, application.FEATURE_STRONGBOX)


def alias_of(vault_id: bytes, slot_id: bytes) -> str:
    """The name of a slot's key in the Keystore, which each application has for itself."""
    return f"tokenkeep.{vault_id.hex()}.{slot_id.hex()}"


def _associated(vault_id: bytes, slot_id: bytes) -> bytes:
    return fields.join(_LABEL, vault_id, slot_id)


def _discard(alias: str, call: Call) -> None:
    try:
        keystore.delete(moment(call), alias)
    except StoreError:
        return  # left over: it opens nothing
