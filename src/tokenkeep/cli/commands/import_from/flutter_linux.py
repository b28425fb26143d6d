"""`import flutter-linux ID`: what flutter_secure_storage kept on Linux."""

from __future__ import annotations

from typing import Any

import click

from tokenkeep.cli.commands.import_from.doing import calls, import_options, perform
from tokenkeep.cli.tree import settings_of
from tokenkeep.migrate.flutter_linux import flutter_linux


@click.command()
@click.argument("application_id", metavar="ID")
@import_options
def command(ctx: click.Context, application_id: str, choices: dict[str, Any]) -> int:
    """Move what flutter_secure_storage kept for an application, by its GTK application id."""
    return perform(ctx, flutter_linux(application_id, calls(settings_of(ctx))), choices)
