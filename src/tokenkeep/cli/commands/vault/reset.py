"""`vault reset`: the one explicit way out of a vault that nothing can open any more."""

from __future__ import annotations

import click

from tokenkeep.cli.commands.vault.opening import calls, chosen_vault
from tokenkeep.cli.terminal import require_yes, shown, tell, write_lines
from tokenkeep.cli.tree import consent, options, settings_of
from tokenkeep.errors import StoreUnavailable, UnsupportedOption
from tokenkeep.vault.reset import require_lost, set_aside


@click.command()
@consent("--yes", is_flag=True, help="do it without asking")
@options()
@click.pass_context
def command(ctx: click.Context, yes: bool) -> int:
    """Set a vault aside that none of its keys opens any more.

    Those are the keys that it was given and those that its own slots name. Nothing is deleted: the
    vault and the key files that name it are moved, so that they can be moved back when a lost key
    turns up. `vault create` then makes a new one.
    """
    settings = settings_of(ctx)
    vault = chosen_vault(settings, every_slot=True)
    lost = require_lost(vault, calls(settings)())
    if lost is None:
        if vault.header() is None:
            raise StoreUnavailable(
                f"there is no vault: {vault.path}", hint="tokenkeep vault create"
            )
        raise UnsupportedOption(
            "the vault opens, so there is nothing to reset",
            hint="tokenkeep --app SERVICE clear erases an application's items",
        )
    require_yes(yes, f"set the vault {shown(vault.path)} aside, with every application's items?")
    write_lines(set_aside(vault, lost, calls(settings)()))
    tell("hint: tokenkeep vault create")
    return 0
