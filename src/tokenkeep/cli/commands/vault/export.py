"""`vault export FILE`: the items, encrypted under a passphrase of their own."""

from __future__ import annotations

import click

from tokenkeep.cli import exits
from tokenkeep.cli.commands.vault.opening import (
    EXPORT_PASSPHRASE,
    calls,
    chosen_vault,
    given_passphrase,
    with_export_passphrase,
)
from tokenkeep.cli.exits import NotFound
from tokenkeep.cli.progress import progress
from tokenkeep.cli.terminal import tell
from tokenkeep.cli.tree import FILE, options, settings_of
from tokenkeep.vault.transfer import export


@click.command()
@click.argument("file", type=FILE)
@with_export_passphrase
@click.option("--only", metavar="SERVICE", help="the items of one application")
@options()
@click.pass_context
def command(
    ctx: click.Context, file: str, export_passphrase_file: str | None, only: str | None
) -> int:
    """Write the items of every application to a new file, encrypted under a passphrase.

    Sessions are not exported: a refresh token that lives in two places ends both.
    """
    settings = settings_of(ctx)
    vault = chosen_vault(settings)
    passphrase = given_passphrase(
        settings, export_passphrase_file, "passphrase of the export: ", option=EXPORT_PASSPHRASE
    )
    try:
        with progress("exporting") as told:
            report = export(vault, file, passphrase, calls(settings), service=only, progress=told)
    finally:
        vault.close()
    damaged = len(report.skipped) + report.unnamed
    if only is not None and not report.items and not damaged:
        raise NotFound(
            f"there are no items of {only}: nothing was written", f"tokenkeep --app {only} list"
        )
    tell(f"items exported: {len(report.items)}")
    if damaged:
        tell(f"items that do not open and were left out: {damaged}", "hint: tokenkeep vault check")
        return exits.DAMAGED
    return exits.OK
