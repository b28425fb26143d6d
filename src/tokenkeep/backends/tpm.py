"""A vault key slot sealed in a TPM 2.0: only this machine opens it, and only in its measured state.

The slot holds a random key that the TPM sealed under its storage key and a policy: the values that
some PCRs had then, and a PIN if one was given. Nothing is kept in the TPM itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from tokenkeep.crypto import KEY_BYTES, derive, random_bytes
from tokenkeep.errors import AccessDenied, InteractionDenied, UnsupportedOption, VaultDamaged
from tokenkeep.item import Call, Interaction
from tokenkeep.native.tpm.device import DEFAULT_DEVICE, is_socket
from tokenkeep.native.tpm.session import auth_value
from tokenkeep.native.tpm.tpm import SEALED, SHA256, SHA384, Tpm
from tokenkeep.secret import Secret, as_secret
from tokenkeep.vault.format import Slot

#: The kind of such a slot.
TPM_SLOT = "tpm2"
#: Secure Boot's state and who may sign what starts: stable over kernel updates, unlike 4 or 9.
DEFAULT_PCRS = (7,)
#: TCG PC Client: a bank has so many.
PCR_COUNT = 24

_PARENT, _PUBLIC, _PRIVATE = "tpm-parent", "tpm-public", "tpm-private"
_BANK, _PCRS, _PIN = "tpm-bank", "tpm-pcrs", "tpm-pin"
_NAME_BYTES = 34
#: What a sealed key of 32 bytes takes, several times over; a bound on what a header makes us send.
_MAX_PART_BYTES = 1024
_NO_PIN = Secret(b"")


class PcrBank(Enum):
    """The hash of the PCRs that a key is sealed to; SHA-1's are not offered."""

    SHA256 = SHA256
    SHA384 = SHA384


class TpmKey:
    """A key in a TPM 2.0.

    `pcrs`, `bank` and whether there is a PIN are for a new slot; an existing slot knows its own.

    Args:
        pcrs: the PCRs (0 to 23) whose values of now the new slot is sealed to; none if empty, and
            then whoever starts any system on this machine with these files opens the vault.
        bank: which of their values.
        auth: a PIN, or what to call for it: the TPM limits how often it can be guessed.
        device: the TPM's device, or `unix:PATH` for a socket; the kernel's resource manager if
            None.
        prompts: `auth` asks a person, which a call that allows no prompt must not do.

    Raises:
        UnsupportedOption: no such PCR, or no bank.
    """

    __slots__ = ("_auth", "_refused", "bank", "device", "may_prompt", "pcrs")

    kind = TPM_SLOT
    readable_when_locked = True
    locked_after_boot = False
    opens_elsewhere = False
    pcrs: tuple[int, ...]
    bank: PcrBank
    device: str
    may_prompt: bool
    _auth: Secret | Callable[[], Secret | str] | None
    #: PINs that the TPM refused, by slot: asking again would bring its lockout nearer.
    _refused: dict[bytes, Secret]

    def __init__(
        self,
        pcrs: Iterable[int] = DEFAULT_PCRS,
        bank: PcrBank = PcrBank.SHA256,
        auth: Secret | str | Callable[[], Secret | str] | None = None,
        device: str | None = None,
        prompts: bool = False,
    ) -> None:
        put = object.__setattr__
        put(self, "pcrs", tuple(sorted(set(pcrs))))  # first: a traceback with locals calls repr
        put(self, "bank", bank)
        put(self, "device", DEFAULT_DEVICE if device is None else device)
        put(self, "may_prompt", prompts)
        put(self, "_refused", {})
        if auth is not None and not callable(auth):
            try:
                auth = as_secret(auth)
            except (TypeError, ValueError):
                del auth  # this frame is in the traceback
                raise
        put(self, "_auth", auth)
        if not all(0 <= pcr < PCR_COUNT for pcr in self.pcrs):
            raise UnsupportedOption("a TPM has the PCRs 0 to 23", hint="TpmKey(pcrs=(7,))")
        if getattr(bank, "name", None) not in PcrBank.__members__:
            raise UnsupportedOption("no such bank of PCRs", hint="bank=PcrBank.SHA256")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a TpmKey cannot be changed")

    @property
    def protection(self) -> str:
        """What answers at a socket is a program, whose keys lie in files; a device is a device."""
        return "FILE_PERMISSIONS" if is_socket(self.device) else "HARDWARE"

    def __repr__(self) -> str:
        return f"TpmKey(pcrs={self.pcrs}, bank={self.bank}, device={self.device!r})"

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Seals a new key: see `Key.remember`.

        Raises:
            UnsupportedOption: the TPM keeps no such PCR.
            StoreUnavailable, AccessDenied, StoreTimeout: there is no TPM for us, or not now.
        """
        auth = _NO_PIN if self._auth is None else auth_value(self._pin(call))
        pcrs = _bitmap(self.pcrs)
        with Tpm(self.device, call) as tpm:
            parent = tpm.storage_key()
            policy = tpm.policy(self.bank.value, pcrs)
            public, private = tpm.seal(parent, Secret(random_bytes(KEY_BYTES)), auth, policy)
        kept = {
            _PARENT: parent.name,
            _PUBLIC: public,
            _PRIVATE: private,
            _BANK: self.bank.value.to_bytes(2, "big"),
            _PCRS: pcrs,
        }
        return kept if self._auth is None else {**kept, _PIN: b""}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What unseals a slot's key: see `Key.opener`.

        Raises (what is returned):
            SecretInvalidated: a PCR has another value; or another TPM sealed it, or it was cleared.
            AccessDenied: the PIN is wrong or missing, or this user may not use the TPM.
            InteractionDenied: the PIN would have to be asked for.
            StoreLocked: too many wrong PINs; nothing is tried until the TPM lets go.
            StoreUnavailable, StoreTimeout: there is no TPM, or it does not answer.
            VaultDamaged: the slot is no sealed key.
        """
        pins: list[Secret] = []

        def kek(slot: Slot) -> Secret | None:
            if slot.kind != TPM_SLOT:
                return None
            _require_well(slot)
            pin = None
            if _PIN in slot.extra:
                if not pins:
                    pins.append(self._pin(call))
                pin = pins[0]
            return derive(self._unsealed(slot, pin, call), b"tk tpm2", slot.salt)

        return kek

    def _unsealed(self, slot: Slot, pin: Secret | None, call: Call) -> Secret:
        if pin is not None and self._refused.get(slot.id) == pin:
            raise AccessDenied(
                "the TPM refused this PIN before, and is not asked again",
                hint="give the PIN of the vault's TPM key",
            )
        kept = slot.extra
        with Tpm(self.device, call) as tpm:
            try:
                return tpm.unseal(
                    tpm.storage_key(kept[_PARENT]),
                    kept[_PUBLIC],
                    kept[_PRIVATE],
                    _NO_PIN if pin is None else auth_value(pin),
                    int.from_bytes(kept[_BANK], "big"),
                    kept[_PCRS],
                )
            finally:
                if pin is not None and tpm.refused_authorization:
                    self._refused[slot.id] = pin

    def _pin(self, call: Call) -> Secret:
        source = self._auth
        if source is None:
            raise AccessDenied("the vault's TPM key needs its PIN", hint="TpmKey(auth=...)")
        if not isinstance(source, Secret):
            if self.may_prompt and call.interaction == Interaction.NEVER:
                raise InteractionDenied(
                    "the vault's TPM key needs its PIN, and prompting is not allowed",
                    hint="allow interaction, or give the PIN in a file",
                )
            source = as_secret(source())
        if not source.size:
            raise UnsupportedOption("the PIN is empty", hint="give a PIN, or none at all")
        return source


def needs_pin(slot: Slot) -> bool:
    """Whether a slot opens with a PIN alone."""
    return _PIN in slot.extra


def describe(slot: Slot) -> str:
    """What a slot is sealed to, for a person."""
    bitmap = slot.extra.get(_PCRS, b"")
    pcrs = [str(pcr) for pcr in range(8 * len(bitmap)) if bitmap[pcr // 8] >> pcr % 8 & 1]
    to = f"PCR {', '.join(pcrs)}" if pcrs else "no PCR"
    return f"{to}, PIN" if needs_pin(slot) else to


def _bitmap(pcrs: Iterable[int]) -> bytes:
    bits = sum(1 << pcr for pcr in pcrs)
    return bits.to_bytes(PCR_COUNT // 8, "little")


def _require_well(slot: Slot) -> None:
    """Ends an attempt to give a TPM what no writer of ours left.

    Raises:
        VaultDamaged: a field is missing or too long.
    """
    kept = slot.extra
    parts = [len(kept.get(part, b"")) for part in (_PUBLIC, _PRIVATE)]
    exact = ((_PARENT, _NAME_BYTES), (_BANK, 2), (_PCRS, PCR_COUNT // 8))
    is_well = all(0 < size <= _MAX_PART_BYTES for size in parts)
    is_well = is_well and kept[_PUBLIC].startswith(SEALED)
    if not is_well or any(len(kept.get(name, b"")) != size for name, size in exact):
        raise VaultDamaged("a TPM slot of the vault is damaged")
