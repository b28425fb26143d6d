"""`import netrc [FILE]`: the passwords of a netrc file."""

from __future__ import annotations

from typing import Any

import click

from tokenkeep.cli.commands.import_from.doing import import_options, perform
from tokenkeep.cli.tree import FILE
from tokenkeep.migrate.netrc import NetrcSource


@click.command()
@click.argument("file", type=FILE, required=False)
@import_options
def command(ctx: click.Context, file: str | None, choices: dict[str, Any]) -> int:
    """Move passwords out of a netrc file (default: ~/.netrc), each as LOGIN@MACHINE."""
    return perform(ctx, NetrcSource(file), choices)
