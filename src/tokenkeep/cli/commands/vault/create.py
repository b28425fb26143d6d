"""`vault create`: makes a vault and records the choice in `config.toml`."""

from __future__ import annotations

import os

import click

from tokenkeep import config
from tokenkeep.cli.terminal import ask_hidden_twice, shown, tell, write_lines
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.errors import StoreUnavailable, UnsupportedOption
from tokenkeep.item import Call
from tokenkeep.vault import files
from tokenkeep.vault.creation import create
from tokenkeep.vault.slots import KeyFile, Passphrase


@click.command()
@click.option("--path", metavar="DIRECTORY", help="where (default: the user's data directory)")
@click.option("--passphrase", is_flag=True, help="ask for a passphrase instead of a key file")
@options()
@click.pass_context
def command(ctx: click.Context, path: str | None, passphrase: bool) -> int:
    """Make a vault and choose it.

    What opens it is a new key file in the configuration directory, the one that --key-file names,
    or a passphrase (--passphrase, or --passphrase-file).
    """
    settings = settings_of(ctx)
    chosen = settings.config
    if path is None and chosen.store.startswith("vault:"):
        path = chosen.store.removeprefix("vault:")
    where = os.path.abspath(path or config.default_vault_path())
    key = _key(chosen, passphrase=passphrase)
    if files.require_vault_directory(where):
        raise StoreUnavailable(
            f"there is something already: {where}",
            hint=f"tokenkeep --store vault:{where} doctor, or give another --path",
        )
    if not create(where, (key,), Call(max(settings.timeout, 30.0))):
        raise StoreUnavailable(f"another process was quicker: {where}")
    is_default = where == config.default_vault_path()
    config.save(
        chosen.path,
        store="vault" if is_default else f"vault:{where}",
        key_file=key.path if isinstance(key, KeyFile) and not _is_default(key) else None,
        passphrase_file=None if chosen.passphrase_file is None else _absolute(chosen),
    )
    write_lines(where)
    if isinstance(key, KeyFile):
        tell(f"its key is in {shown(key.path)}: whoever can read both can read every item")
    return 0


def _key(chosen: config.Config, *, passphrase: bool) -> KeyFile | Passphrase:
    if passphrase and chosen.key_file is not None:
        raise UnsupportedOption(
            "both a key file and a passphrase", hint="tokenkeep vault add-key adds a second one"
        )
    passphrase_file = chosen.passphrase_file
    if passphrase_file is not None:
        return Passphrase(config.read_passphrase(passphrase_file))
    if passphrase:
        return Passphrase(ask_hidden_twice("passphrase: "))
    return KeyFile(chosen.key_file or config.default_key_path())


def _is_default(key: KeyFile) -> bool:
    return key.path == os.path.abspath(config.default_key_path())


def _absolute(chosen: config.Config) -> str:
    assert chosen.passphrase_file is not None
    return os.path.abspath(chosen.passphrase_file)
