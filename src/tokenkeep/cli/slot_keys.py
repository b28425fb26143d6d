"""What opens a key slot of a platform, by the slot's kind: the one place that knows.

An existing vault says in its header what may open it, so that no option has to: each slot keeps
what is needed to make its key again. A platform's kind of slot is one more line in `_MAKERS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tokenkeep.cli.settings import Settings
from tokenkeep.errors import InteractionDenied, TokenkeepError, UnsupportedOption, WrongKey
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault.format import Header, Slot
from tokenkeep.vault.slots import opens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.vault.slots import Key

Opener = Callable[[Slot], Secret | None]


def opener(settings: Settings, vault_id: bytes, call: Call) -> Opener:
    """What gives the wrapping key of any platform's slot; raises as the slot's own key does."""
    made: dict[tuple[str, str], Opener] = {}

    def kek(slot: Slot) -> Secret | None:
        key = key_of(slot, settings)
        if key is None:
            return None
        which = slot.kind, repr(key)  # one question to a person, however many slots it answers
        if which not in made:
            made[which] = key.opener(vault_id, call)
        return made[which](slot)

    return kek


def key_of(slot: Slot, settings: Settings) -> Key | None:
    """The key that opens a platform's slot; None for a slot of another kind, or a damaged one."""
    make = _MAKERS.get(slot.kind)
    return None if make is None else make(slot, settings)


def about(slot: Slot) -> str:
    """What a platform's slot hangs on, for a person; empty for other slots."""
    if slot.kind == "tpm2":
        from tokenkeep.backends.tpm import describe

        return describe(slot)
    if slot.kind == "systemd-credential":
        from tokenkeep.backends.systemd_credential import credential_of

        return credential_of(slot)
    if slot.kind == "store-item":
        from tokenkeep.backends.store_item import store_of

        return store_of(slot)
    return ""


def closed(slot: Slot, header: Header, settings: Settings, call: Call) -> TokenkeepError | None:
    """Why a platform's slot does not open here and now; None if it does, or is another kind's.

    Args:
        call: allows no prompt; a slot that needs one, or a PIN, which could be a wrong one too
            many, is not tried: None.
    """
    try:
        key = None if _needs_pin(slot) else key_of(slot, settings)
        if key is None or opens(header.following(slots=(slot,)), key, call):
            return None
    except InteractionDenied:
        return None
    except TokenkeepError as exc:
        return exc.with_traceback(None)
    return WrongKey("the key does not open the slot")


def item_key(name: str) -> Key:
    """A key that is an item in the store of this name.

    Raises:
        UnsupportedOption: no store has the name, or it cannot hold a vault's key.
        StoreUnavailable: it is another platform's.
    """
    from tokenkeep.backends.store_item import StoreItemKey
    from tokenkeep.select import open_store, options_for

    if name.partition(":")[0] in ("auto", "vault"):
        raise UnsupportedOption(
            "a vault's key cannot lie in a vault", hint="name the platform's own store"
        )
    return StoreItemKey(open_store([options_for(name)]), name)


def _needs_pin(slot: Slot) -> bool:
    if slot.kind != "tpm2":
        return False
    from tokenkeep.backends.tpm import needs_pin

    return needs_pin(slot)


def _tpm(_slot: Slot, settings: Settings) -> Key:
    from tokenkeep.backends.tpm import TpmKey

    def ask() -> Secret:
        path = settings.option("tpm_pin_file")
        if path is not None:
            return settings.secret_in(path, "--tpm-pin-file")
        return _asked("PIN of the vault's TPM key: ")

    # Not as one that prompts: a PIN may come from a file, and where it is asked for says `_asked`.
    return TpmKey(auth=ask, device=settings.option("tpm_device"))


def _credential(slot: Slot, _settings: Settings) -> Key:
    from tokenkeep.backends.systemd_credential import SystemdCredential, credential_of

    return SystemdCredential(credential_of(slot))


def _dpapi(_slot: Slot, _settings: Settings) -> Key:
    from tokenkeep.backends.dpapi import DpapiKey

    return DpapiKey()


def _item(slot: Slot, _settings: Settings) -> Key:
    from tokenkeep.backends.store_item import store_of

    return item_key(store_of(slot))


def _asked(question: str) -> Secret:
    from tokenkeep.cli.terminal import ask_hidden

    if not os.isatty(0):
        raise InteractionDenied(
            "the vault's TPM key needs its PIN, and there is no terminal to ask on",
            hint="export TOKENKEEP_TPM_PIN_FILE=FILE",
        )
    return ask_hidden(question)


_MAKERS: dict[str, Callable[[Slot, Settings], Key]] = {
    "tpm2": _tpm,
    "systemd-credential": _credential,
    "store-item": _item,
    "dpapi": _dpapi,
}
