"""`clear`: erases everything of an application."""

from __future__ import annotations

import click

from tokenkeep.cli.terminal import require_yes, tell
from tokenkeep.cli.tree import consent, options, settings_of


@click.command()
@consent("--yes", is_flag=True, help="do it without asking")
@options()
@click.pass_context
def command(ctx: click.Context, yes: bool) -> int:
    """Erase every item and end every session of the application.

    Providers are not told: `logout` does that for one account.
    """
    settings = settings_of(ctx)
    with settings.storage() as storage:
        require_yes(yes, f"erase every item and session of {settings.app}?")
        erased = storage.delete_all()
    tell(f"items erased: {int(erased)}", f"sessions ended: {erased.sessions_ended}")
    if erased.pending:
        tell("old bytes remain for now; the next write that can do it erases them")
    return 0
