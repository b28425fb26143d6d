"""`get NAME`: the exact bytes on stdout."""

from __future__ import annotations

import click

from tokenkeep.cli import fast
from tokenkeep.cli.tree import options, settings_of


@click.command()
@click.argument("name")
@options()
@click.pass_context
def command(ctx: click.Context, name: str) -> int:
    """Write the value of an item to stdout, with a newline only on a terminal."""
    return fast.get(settings_of(ctx), name)
