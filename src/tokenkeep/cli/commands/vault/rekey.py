"""`vault rekey`: every item is encrypted anew, while the vault is in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tokenkeep.cli import exits
from tokenkeep.cli.commands.vault.opening import calls, chosen_vault
from tokenkeep.cli.progress import progress
from tokenkeep.cli.terminal import shown, tell
from tokenkeep.cli.tree import FILE, consent, options, settings_of
from tokenkeep.errors import StoreError
from tokenkeep.item import Call
from tokenkeep.unlocked_vault import lock
from tokenkeep.vault.rekey import RekeyReport, rekey
from tokenkeep.vault.vault import Vault

F = TypeVar("F", bound=Callable[..., Any])


def further_keys(function: F) -> F:
    """The options that name keys beside the one at hand."""
    function = click.option(
        "--with-passphrase-file",
        metavar="FILE",
        type=FILE,
        multiple=True,
        help="another key that remains",
    )(function)
    return click.option(
        "--with-key-file", metavar="FILE", type=FILE, multiple=True, help="another key that remains"
    )(function)


@click.command()
@consent("--root", is_flag=True, help="replace the root key too")
@further_keys
@options()
@click.pass_context
def command(
    ctx: click.Context,
    root: bool,
    with_key_file: tuple[str, ...],
    with_passphrase_file: tuple[str, ...],
) -> int:
    """Encrypt every item anew, while others read and write.

    Interrupted, it goes on when it is called again. --root also replaces the root key, which needs
    every key that shall go on opening the vault.
    """
    settings = settings_of(ctx)
    vault = chosen_vault(settings, with_key_file, with_passphrase_file, every_slot=True)
    try:
        with progress("rekeying") as told:
            report = rekey(vault, calls(settings), root=root, progress=told)
        if root:
            lock_again(vault, calls(settings)())
    finally:
        vault.close()
    return say_rekeyed(report)


def lock_again(vault: Vault, call: Call) -> None:
    """Takes back what `vault unlock` left: with the keys that it was given under, it has to go."""
    header = vault.header()
    try:
        if header is not None and lock(header.vault_id, call):
            tell("the vault was unlocked for a while and is locked now")
    except StoreError as exc:
        tell(f"the vault may still be unlocked for a while: {exc}", "hint: tokenkeep vault lock")


def say_rekeyed(report: RekeyReport) -> int:
    """Says what a rekey did; the exit code."""
    tell(f"items encrypted anew: {report.items}")
    if report.pending:
        tell("old bytes remain for now; the next write that can do it erases them")
    if report.damaged:
        tell(
            f"items that do not open and stayed as they are: {report.damaged}",
            "hint: tokenkeep vault check",
        )
        return exits.DAMAGED
    if report.problem is not None:
        tell(shown(str(report.problem)))
        return exits.exit_code(report.problem)
    return exits.OK
