"""`vault new-key FILE`: a key file for a vault to come, or for `add-key`."""

from __future__ import annotations

import click

from tokenkeep.cli.terminal import write_lines
from tokenkeep.cli.tree import options
from tokenkeep.vault.access import new_key


@click.command()
@click.argument("file")
@options()
def command(file: str) -> int:
    """Make a key file beforehand, for `create` or `add-key`."""
    write_lines(new_key(file).path)
    return 0
