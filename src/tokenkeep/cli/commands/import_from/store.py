"""`import store STORE`: the items of another store, or of another application."""

from __future__ import annotations

from typing import Any

import click

from tokenkeep.cli.commands.import_from.doing import import_options, perform
from tokenkeep.cli.settings import Settings
from tokenkeep.cli.tree import settings_of
from tokenkeep.config import default_vault_path
from tokenkeep.migrate.store import StoreSource


@click.command()
@click.argument("spelled", metavar="STORE")
@click.option("--from-app", metavar="SERVICE", help="the items of another application")
@click.option("--from-key-file", metavar="FILE", help="the key file of a vault to import from")
@click.option(
    "--from-passphrase-file", metavar="FILE", help="the passphrase file of a vault to import from"
)
@import_options
def command(
    ctx: click.Context,
    spelled: str,
    from_app: str | None,
    from_key_file: str | None,
    from_passphrase_file: str | None,
    choices: dict[str, Any],
) -> int:
    """Move items out of another store, named as for --store.

    Sessions stay where they are: sign in again.
    """
    settings = settings_of(ctx)
    told = {
        "app": from_app or settings.app,
        "store": spelled,
        "key_file": from_key_file,
        "passphrase_file": from_passphrase_file,
        "timeout": settings.option("timeout"),
    }
    old = Settings({name: value for name, value in told.items() if value is not None})
    place = ""
    if old.config.names_vault():
        place = old.config.store.partition(":")[2] or default_vault_path()
    with old.storage() as storage:
        return perform(ctx, StoreSource(storage, place), choices)
