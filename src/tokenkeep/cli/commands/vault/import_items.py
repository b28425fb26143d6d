"""`vault import FILE`: the items of an export, all of them or none."""

from __future__ import annotations

import click

from tokenkeep.cli.commands.vault.opening import (
    EXPORT_PASSPHRASE,
    calls,
    chosen_vault,
    given_passphrase,
    with_export_passphrase,
)
from tokenkeep.cli.progress import progress
from tokenkeep.cli.terminal import ask_hidden, tell
from tokenkeep.cli.tree import FILE, consent, options, settings_of
from tokenkeep.vault.transfer import FAIL, REPLACE, SKIP, import_items


@click.command()
@click.argument("file", type=FILE)
@with_export_passphrase
@consent(
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
    passphrase = given_passphrase(
        settings,
        export_passphrase_file,
        "passphrase of the export: ",
        option=EXPORT_PASSPHRASE,
        ask=ask_hidden,
    )
    try:
        vault.opened(calls(settings)())  # a question that the bar must not draw over
        with progress("importing") as told:
            told(0, 0)
            report = import_items(
                vault, file, passphrase, calls(settings)(), existing=existing, create=False
            )
    finally:
        vault.close()
    tell(f"items imported: {len(report.items)}")
    if report.skipped:
        tell(f"items that were there already and stayed: {len(report.skipped)}")
    return 0
