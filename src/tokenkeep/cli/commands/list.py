"""`list`: the names of an application's items."""

from __future__ import annotations

import os

import click

from tokenkeep.cli.terminal import shown, write_json, write_lines
from tokenkeep.cli.tree import options, settings_of


@click.command()
@options(json=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """List the names of the items, one a line."""
    settings = settings_of(ctx)
    with settings.storage() as storage:
        names = storage.names()
    if settings.wants_json:
        write_json(names)
    else:
        # A name may hold what would steer a terminal; a program gets it as it is.
        write_lines(*([shown(name) for name in names] if os.isatty(1) else names))
    return 0
