"""`delete NAME`: erases one item."""

from __future__ import annotations

import click

from tokenkeep.cli.exits import NotFound
from tokenkeep.cli.tree import options, settings_of


@click.command()
@click.argument("name")
@options()
@click.pass_context
def command(ctx: click.Context, name: str) -> int:
    """Erase an item; exit 3 if there was none."""
    settings = settings_of(ctx)
    with settings.storage() as storage:
        if not storage.delete(name):
            raise NotFound("there is no item of this name", f"tokenkeep --app {settings.app} list")
    return 0
