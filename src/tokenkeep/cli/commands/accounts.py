"""`accounts`: whose sessions an application has here."""

from __future__ import annotations

import click

from tokenkeep.cli.commands.status import describe
from tokenkeep.cli.terminal import shown, write_json, write_lines
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.item import SESSION
from tokenkeep.session.state import State
from tokenkeep.session.stored import look
from tokenkeep.storage import SecureStorage
from tokenkeep.tokens.storage import TokenStorage


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


def stored_accounts(storage: SecureStorage) -> list[TokenStorage]:
    """Every account that has a record, dead or alive."""
    names = storage.store.names(storage.service, storage.call())
    return [
        TokenStorage(storage, account=name.name) for name in sorted(names) if name.kind == SESSION
    ]
