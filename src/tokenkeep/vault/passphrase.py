"""The passphrase: what somebody knows, made costly to guess, and asked for when a vault opens."""

from __future__ import annotations

from tokenkeep.crypto import (
    RFC_9106_LOW_MEMORY,
    Argon2Profile,
    argon2id,
)
from tokenkeep.errors import (
    InteractionDenied,
    UnsupportedOption,
    VaultDamaged,
)
from tokenkeep.item import Call, Interaction
from tokenkeep.secret import Secret, as_secret
from tokenkeep.vault.format import (
    PASSPHRASE_SLOT,
    RESTORE_HINT,
    Slot,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Passphrase:
    """A passphrase, or a callable that gives it when a vault is opened.

    Args:
        source: the passphrase, or what to call for it: once per unlock.
        profile: what a new slot costs; existing slots keep theirs.
        prompts: the callable asks a person, which a call that allows no prompt must not do.

    Raises:
        TypeError, ValueError: the passphrase is no text, or none that is valid Unicode.
        UnsupportedOption: the profile costs more than any reader will pay, or has no meaning.
    """

    __slots__ = ("_source", "may_prompt", "profile")

    kind = PASSPHRASE_SLOT
    protection = "PASSPHRASE"
    readable_when_locked = True
    locked_after_boot = False
    opens_elsewhere = True
    _source: Secret | Callable[[], Secret | str]
    profile: Argon2Profile
    may_prompt: bool

    def __init__(
        self,
        source: Secret | str | Callable[[], Secret | str],
        profile: Argon2Profile = RFC_9106_LOW_MEMORY,
        prompts: bool = False,
    ) -> None:
        put = object.__setattr__
        put(self, "profile", profile)  # first: a traceback with locals calls repr on what there is
        put(self, "may_prompt", prompts)
        if not callable(source):
            try:
                source = as_secret(source)
            except (TypeError, ValueError):
                del source  # this frame is in the traceback
                raise
        put(self, "_source", source)
        if not profile.is_acceptable():
            raise UnsupportedOption(
                f"nobody would open a slot of this cost: {profile}",
                hint="choose RFC_9106_LOW_MEMORY, or at most 1 GiB and 64 passes",
            )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Passphrase cannot be changed")

    def __repr__(self) -> str:
        return f"Passphrase(profile={self.profile})"

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        """Nothing: see `Key.remember`."""
        return {}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        """What gives a slot's wrapping key; raises as `reveal`, and VaultDamaged."""
        passphrase = self.reveal(call)

        def kek(slot: Slot) -> Secret:
            if slot.profile is None or not slot.profile.is_acceptable():
                raise VaultDamaged("a passphrase slot asks for impossible costs", hint=RESTORE_HINT)
            return argon2id(passphrase, slot.salt, slot.profile)

        return kek

    def reveal(self, call: Call) -> Secret:
        """The passphrase, asked for now if it has to be asked for.

        Raises:
            InteractionDenied: the call allows no prompt.
            UnsupportedOption: it is empty.
        """
        source = self._source
        if isinstance(source, Secret):
            return _not_empty(source)
        if self.may_prompt and call.interaction == Interaction.NEVER:
            raise InteractionDenied(
                "the vault needs its passphrase, and prompting is not allowed",
                hint="allow interaction, or give the passphrase in a file",
            )
        return _not_empty(as_secret(source()))


def _not_empty(passphrase: Secret) -> Secret:
    """A passphrase that protects.

    Raises:
        UnsupportedOption: it is empty, as an unset variable would be.
    """
    if not passphrase.size:
        raise UnsupportedOption("the passphrase is empty", hint="give a passphrase")
    return passphrase
