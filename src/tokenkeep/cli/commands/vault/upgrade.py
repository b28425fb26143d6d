"""`vault upgrade`: an older format becomes the current one; opening never does that."""

from __future__ import annotations

import click

from tokenkeep.cli.commands.vault.opening import calls
from tokenkeep.cli.terminal import tell
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.vault.upgrade import upgrade
from tokenkeep.vault.vault import Vault


@click.command()
@options()
@click.pass_context
def command(ctx: click.Context) -> int:
    """Move a vault of an older format to the current one; needs no key."""
    settings = settings_of(ctx)
    vault = Vault(settings.vault().path, (), False)
    before, after = upgrade(vault, calls(settings)())
    tell(f"format {before}, nothing to do" if before == after else f"format {before} to {after}")
    return 0
