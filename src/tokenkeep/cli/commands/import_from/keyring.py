"""`import keyring SERVICE`: what the keyring library keeps for a service."""

from __future__ import annotations

from typing import Any

import click

from tokenkeep.cli.commands.import_from.doing import calls, import_options, old_names, perform
from tokenkeep.cli.tree import settings_of
from tokenkeep.migrate.keyring import KeyringSource


@click.command()
@click.argument("service")
@import_options
def command(ctx: click.Context, service: str, choices: dict[str, Any]) -> int:
    """Move the passwords of a service out of what keyring uses, by user name.

    The users are found where keyring uses the Secret Service; elsewhere each needs a --name.
    """
    source = KeyringSource(service, old_names(choices), call=calls(settings_of(ctx)))
    return perform(ctx, source, choices)
