"""`accounts`: whose sessions an application has here."""

from __future__ import annotations

import click

from tokenkeep.cli.commands.status import describe
from tokenkeep.cli.terminal import shown, write_json, write_lines
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.session.state import State
from tokenkeep.session.stored import look
from tokenkeep.tokens.accounts import stored_accounts


@click.command()
@options(json=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """List the accounts that have a session, one a line."""
    settings = settings_of(ctx)
    with settings.storage() as storage:
        found = [(tokens, look(tokens)) for tokens in stored_accounts(storage)]
        live = [each for each in found if each[1].state is not State.SIGNED_OUT]
        if settings.wants_json:
            write_json([describe(tokens, each) for tokens, each in live])
        else:
            write_lines(*(shown(tokens.account) for tokens, _each in live))
    return 0
