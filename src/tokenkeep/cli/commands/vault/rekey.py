"""`vault rekey`: every item is encrypted anew, while the vault is in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tokenkeep.cli import exits
from tokenkeep.cli.commands.vault.opening import calls, chosen_vault
from tokenkeep.cli.progress import progress
from tokenkeep.cli.terminal import tell
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.vault.rekey import RekeyReport, rekey

F = TypeVar("F", bound=Callable[..., Any])


def further_keys(function: F) -> F:
    """The options that name keys beside the one at hand."""
    function = click.option(
        "--with-passphrase-file", metavar="FILE", multiple=True, help="another key that remains"
    )(function)
    return click.option(
        "--with-key-file", metavar="FILE", multiple=True, help="another key that remains"
    )(function)


@click.command()
@click.option("--root", is_flag=True, help="replace the root key too")
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
    finally:
        vault.close()
    return say_rekeyed(report)


def say_rekeyed(report: RekeyReport) -> int:
    """Says what a rekey did; the exit code."""
    tell(f"items encrypted anew: {report.items}")
    if report.pending:
        tell("old bytes remain until another process lets go of the vault; the next one finishes")
    if report.damaged:
        tell(
            f"items that do not open and stayed as they are: {report.damaged}",
            "hint: tokenkeep vault check",
        )
        return exits.DAMAGED
    return exits.OK
