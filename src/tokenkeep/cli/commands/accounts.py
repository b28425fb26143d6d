"""`accounts`: whose sessions an application has here."""

from __future__ import annotations

import os

import click

from tokenkeep.cli import exits
from tokenkeep.cli.commands.status import describe
from tokenkeep.cli.terminal import explain, shown, write_json, write_lines
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.errors import TokenkeepError
from tokenkeep.health import is_the_stores
from tokenkeep.session.state import State
from tokenkeep.session.stored import look
from tokenkeep.tokens.accounts import stored_accounts


@click.command()
@options(json=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """List the accounts that have a session, one a line."""
    settings = settings_of(ctx)
    code, live = exits.OK, []
    with settings.storage() as storage:
        for tokens in stored_accounts(storage):
            try:
                found = look(tokens)
            except TokenkeepError as exc:  # one account's trouble must not hide the others
                code = code or exits.exit_code(exc)
                explain(f"account {tokens.account}: {exc}", *exits.hints(exc))
                if is_the_stores(exc, storage.store, storage.service, storage.call()):
                    break  # nor will the others be had
                continue
            if found.state is not State.SIGNED_OUT:
                live.append((tokens, found))
        if settings.wants_json:
            write_json([describe(tokens, each) for tokens, each in live])
        else:
            # As `list` does it: a program gets a name as it is.
            names = [tokens.account for tokens, _each in live]
            write_lines(*([shown(name) for name in names] if os.isatty(1) else names))
    return code
