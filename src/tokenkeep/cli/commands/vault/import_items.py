"""`vault import FILE`: the items of an export, all of them or none."""

from __future__ import annotations

import click

from tokenkeep.cli.commands.vault.opening import calls, chosen_vault
from tokenkeep.cli.progress import progress
from tokenkeep.cli.terminal import ask_hidden, tell
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.passphrase_file import read_passphrase
from tokenkeep.vault.slots import Passphrase
from tokenkeep.vault.transfer import FAIL, REPLACE, SKIP, import_items


@click.command()
@click.argument("file")
@click.option(
    "--export-passphrase-file",
    metavar="FILE",
    envvar="TOKENKEEP_EXPORT_PASSPHRASE_FILE",
    help="a file that holds the export's passphrase; asked for if not given",
)
@click.option(
    "--existing",
    type=click.Choice([FAIL, SKIP, REPLACE]),
    default=FAIL,
    help="what happens to items that are there already (default: fail)",
)
@options()
@click.pass_context
def command(
    ctx: click.Context, file: str, export_passphrase_file: str | None, existing: str
) -> int:
    """Read the items of an export into the vault: all of them or none."""
    settings = settings_of(ctx)
    vault = chosen_vault(settings)
    if export_passphrase_file is not None:
        passphrase = Passphrase(read_passphrase(export_passphrase_file, "--export-passphrase-file"))
    else:
        passphrase = Passphrase(ask_hidden("passphrase of the export: "))
    try:
        with progress("importing"):
            report = import_items(
                vault, file, passphrase, calls(settings)(), existing=existing, create=False
            )
    finally:
        vault.close()
    tell(f"items imported: {len(report.items)}")
    if report.skipped:
        tell(f"items that were there already and stayed: {len(report.skipped)}")
    return 0
