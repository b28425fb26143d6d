"""`import SOURCE`: items from another store or an older format, one file for each source."""

from __future__ import annotations

import click

from tokenkeep.cli.tree import LazyGroup

VERBS = ("store", "keyring", "dotenv", "netrc", "flutter-linux", "flutter-windows")


@click.group(
    cls=LazyGroup, package="tokenkeep.cli.commands.import_from", verbs=VERBS, place=("import",)
)
def command() -> None:
    """Move items here from another store or an older format.

    Copies first; the same command with --confirm then takes from the old place what was copied, or
    with --undo restores the new one. Interrupted at any step, it goes on when called again.

    What an application kept on Android is moved inside that application, from Python: its key
    never leaves the device's Keystore.
    """
