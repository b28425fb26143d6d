"""`vault add-key`: another way to open the vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tokenkeep.cli.commands.vault.key_options import platform_key, platform_keys
from tokenkeep.cli.commands.vault.opening import calls, chosen_vault, given_passphrase
from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.terminal import is_interactive, write_lines
from tokenkeep.cli.tree import FILE, options, settings_of
from tokenkeep.vault.access import add_key
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase

if TYPE_CHECKING:
    from tokenkeep.cli.settings import Settings


@click.command()
@click.option("--new-key-file", metavar="FILE", type=FILE, help="made if it is not there")
@click.option(
    "--new-passphrase-file", metavar="FILE", type=FILE, help="a file that holds a new passphrase"
)
@platform_keys
@click.option("--label", metavar="TEXT", default="", help="what `vault check` calls it")
@options()
@click.pass_context
def command(
    ctx: click.Context,
    /,
    new_key_file: str | None,
    new_passphrase_file: str | None,
    label: str,
    **platform: Any,
) -> int:
    """Let another key open the vault, and write the new slot's id.

    A key file, a passphrase, this machine's TPM, a credential that systemd gives, or an item in
    another store. If none is named, it asks for a passphrase.
    """
    settings = settings_of(ctx)
    key = platform_key(settings, platform)
    if key is None:
        key = _new_key(settings, new_key_file, new_passphrase_file)
    elif new_key_file is not None or new_passphrase_file is not None:
        raise UsageError("one key at a time", "tokenkeep vault add-key adds the next one")
    vault = chosen_vault(settings)
    try:
        slot = add_key(vault, key, calls(settings)(), label)
    finally:
        vault.close()
    write_lines(slot.id.hex())
    return 0


def _new_key(
    settings: Settings, key_file: str | None, passphrase_file: str | None
) -> KeyFile | Passphrase:
    if key_file is not None and passphrase_file is not None:
        raise UsageError(
            "one key at a time: a key file or a passphrase",
            "tokenkeep vault add-key adds the next one",
        )
    if key_file is not None:
        return KeyFile(key_file)
    if passphrase_file is None and not is_interactive():
        raise UsageError(
            "there is no terminal to ask for a passphrase on",
            "--new-key-file FILE",
            "--new-passphrase-file FILE",
        )
    return given_passphrase(
        settings, passphrase_file, "new passphrase: ", option="--new-passphrase-file"
    )
