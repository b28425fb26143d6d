"""`import flutter-windows FILE`: what flutter_secure_storage kept on Windows."""

from __future__ import annotations

from typing import Any

import click

from tokenkeep.cli.commands.import_from.doing import import_options, perform
from tokenkeep.cli.tree import FILE
from tokenkeep.migrate.flutter_windows import flutter_windows
from tokenkeep.native.dpapi import protect, unprotect


@click.command()
@click.argument("file", type=FILE)
@import_options
def command(ctx: click.Context, file: str, choices: dict[str, Any]) -> int:
    """Move what flutter_secure_storage kept for an application, in its file of Windows.

    It opens for the same user on the same machine. The application must not run meanwhile.
    """
    return perform(ctx, flutter_windows(file, unprotect, protect), choices)
