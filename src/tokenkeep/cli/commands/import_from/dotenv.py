"""`import dotenv FILE`: the variables of a dotenv file."""

from __future__ import annotations

from typing import Any

import click

from tokenkeep.cli.commands.import_from.doing import import_options, perform
from tokenkeep.cli.tree import FILE
from tokenkeep.migrate.dotenv import DotenvSource


@click.command()
@click.argument("file", type=FILE)
@import_options
def command(ctx: click.Context, file: str, choices: dict[str, Any]) -> int:
    """Move variables out of a dotenv file."""
    return perform(ctx, DotenvSource(file), choices)
