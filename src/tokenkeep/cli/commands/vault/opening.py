"""What the vault verbs have in common: the vault itself, its keys, and its deadlines."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from tokenkeep.cli.settings import Settings, SlotKeys
from tokenkeep.cli.terminal import ask_hidden_twice, shown, tell
from tokenkeep.cli.tree import FILE
from tokenkeep.errors import InteractionDenied
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.vault import Vault

if TYPE_CHECKING:
    from tokenkeep.vault.slots import Key

#: Between two people's writes a batch waits; a command that was started to work may wait longer.
PATIENCE_SECONDS = 30.0
#: Names the file with the passphrase of an export.
EXPORT_PASSPHRASE = "--export-passphrase-file"
with_export_passphrase = click.option(
    EXPORT_PASSPHRASE,
    metavar="FILE",
    type=FILE,
    envvar="TOKENKEEP_EXPORT_PASSPHRASE_FILE",
    help="a file that holds the export's passphrase; asked for if not given",
)


def chosen_vault(
    settings: Settings,
    key_files: Sequence[str] = (),
    passphrase_files: Sequence[str] = (),
    every_slot: bool = False,
) -> Vault:
    """The chosen vault, with its own keys and the further ones that the command line names.

    Args:
        every_slot: the keys that the slots themselves name are at hand too, after all others.

    Raises:
        StoreUnavailable: no store is chosen.
        StoreError: what lies there cannot be read.
    """
    options = settings.vault()
    header = Vault(options.path, (), False).header()
    kinds = set() if header is None else {slot.kind for slot in header.slots}
    further: list[Key] = [KeyFile(path) for path in key_files]
    further += [
        Passphrase(settings.secret_in(path, "--with-passphrase-file")) for path in passphrase_files
    ]
    # A question that no slot can be opened with is not asked.
    own = [key for key in options.keys if key.kind in kinds or key is not settings.question]
    if every_slot and not any(isinstance(key, SlotKeys) for key in own):
        further.append(SlotKeys(settings))
    return Vault(options.path, (*own, *further), False)


def calls(settings: Settings) -> Callable[[], Call]:
    """Deadlines for one batch after the other."""
    seconds = settings.seconds("timeout", PATIENCE_SECONDS)
    return lambda: settings.call(seconds)


def given_passphrase(
    settings: Settings,
    path: str | None,
    question: str,
    *,
    option: str,
    ask: Callable[[str], Secret] = ask_hidden_twice,
) -> Passphrase:
    """A passphrase from a file, else from a person who types it twice.

    Args:
        option: which option names the file; for the messages.

    Raises:
        InteractionDenied: there is no terminal to ask on, or the two entries differ.
    """
    if path is not None:
        return Passphrase(settings.secret_in(path, option))
    if not os.isatty(0):
        raise InteractionDenied("there is no terminal to ask on", hint=f"{option} FILE")
    return Passphrase(ask(question))


def lasting_file(path: str | None) -> str | None:
    """Where a passphrase's file lies for later commands too; a pipe is there for this one only.

    None for what brings the passphrase once, which is said on stderr.
    """
    if path is None:
        return None
    where = os.path.abspath(path)
    # Also a file that stands for one that only this process has open.
    is_of_process = where == "/dev/stdin" or where.startswith(("/dev/fd/", "/proc/"))
    if os.path.isfile(where) and not is_of_process:
        return where
    tell(
        f"{shown(path)} brought the passphrase to this command only, so that none is recorded",
        "hint: tokenkeep --passphrase-file FILE VERB",
    )
    return None


def given_pin(settings: Settings, path: str | None) -> Secret:
    """A PIN from a file, else from a person who types it twice; raises as `given_passphrase`."""
    if path is not None:
        return settings.secret_in(path, "--tpm-pin-file")
    return ask_hidden_twice("new PIN of the TPM key: ")
