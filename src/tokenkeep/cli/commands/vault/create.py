"""`vault create`: makes a vault and records the choice in `config.toml`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from tokenkeep import config, config_edit
from tokenkeep.backends.vault import platform_key as platform_s_own
from tokenkeep.cli.commands.vault.key_options import platform_key, platform_keys
from tokenkeep.cli.commands.vault.opening import calls, given_passphrase, lasting_file
from tokenkeep.cli.terminal import shown, tell, write_lines
from tokenkeep.cli.tree import DIRECTORY, consent, options, settings_of
from tokenkeep.errors import UnsupportedOption
from tokenkeep.vault.creation import create
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.vault import Vault

if TYPE_CHECKING:
    from tokenkeep.cli.settings import Settings
    from tokenkeep.vault.slots import Key


@click.command()
@click.option(
    "--path", metavar="DIRECTORY", type=DIRECTORY, help="where (default: the user's data directory)"
)
@consent("--passphrase", is_flag=True, help="ask for a passphrase instead of a key file")
@platform_keys
@options()
@click.pass_context
def command(ctx: click.Context, /, path: str | None, passphrase: bool, **platform: Any) -> int:
    """Make a vault and choose it.

    What opens it is a new key file in the configuration directory, the one that --key-file names,
    a passphrase (--passphrase, or --passphrase-file), this machine's TPM (--tpm), a credential that
    systemd gives (--systemd-credential), or an item in another store (--store-item). On Windows it
    is this user of this machine (--dpapi), unless something else is named.
    """
    settings = settings_of(ctx)
    if path == "":  # as an unset variable makes it: another place than was meant
        raise UnsupportedOption("--path names no directory", hint="--path DIRECTORY")
    chosen = settings.config
    named = chosen.store.removeprefix("vault:") if chosen.store.startswith("vault:") else None
    where = os.path.abspath(path or named or config.default_vault_path())
    key = platform_key(settings, platform)
    if key is None:
        key = _key(settings, chosen, passphrase=passphrase)
    elif passphrase or settings.option("key_file") or settings.option("passphrase_file"):
        raise UnsupportedOption(
            "two keys for a new vault", hint="tokenkeep vault add-key adds a second one"
        )
    else:
        chosen.key_file = chosen.passphrase_file = None  # what else the configuration names
    # What is there and no vault raises; nothing there is None.
    if Vault(where, (), False).header() is not None or not create(where, (key,), calls(settings)()):
        # The key file belongs to that vault: another one takes another.
        another = "--path and --key-file make" if isinstance(key, KeyFile) else "--path makes"
        raise UnsupportedOption(
            f"there is a vault already: {where}",
            hint=f"--store {shown(_store(where))} uses it, {another} another",
        )
    write_lines(where)
    if isinstance(key, KeyFile):
        tell(f"its key: {shown(key.path)}", "whoever can read both can read every item")
    elif not isinstance(key, Passphrase):
        tell(
            "nothing but this machine opens it, and a reset takes the key: add a second one",
            "hint: tokenkeep vault add-key",
        )
    _record(chosen, where, key)
    return 0


def _key(settings: Settings, chosen: config.Config, *, passphrase: bool) -> Key:
    if passphrase and settings.option("key_file") is not None:
        raise UnsupportedOption(
            "both a key file and a passphrase", hint="tokenkeep vault add-key adds a second one"
        )
    if passphrase:
        chosen.key_file = None  # what the configuration names is a lesser choice
        if settings.option("passphrase_file") is None:
            chosen.passphrase_file = None
    if passphrase or chosen.passphrase_file is not None:
        return given_passphrase(
            settings, chosen.passphrase_file, "passphrase: ", option="--passphrase-file"
        )
    if chosen.key_file is not None:
        return KeyFile(chosen.key_file)
    return platform_s_own() or KeyFile(config.default_key_path())


def _store(where: str) -> str:
    """What chooses the vault at this place."""
    return "vault" if where == os.path.abspath(config.default_vault_path()) else f"vault:{where}"


def _record(chosen: config.Config, where: str, key: Key) -> None:
    """Chooses the new vault, unless the configuration chooses another one: that stays."""
    store = _store(where)
    before = config.read_file(chosen.path).get("store")
    if before not in (None, "", "auto", store):
        tell(
            f"{shown(chosen.path)} still chooses {shown(str(before))}",
            f"hint: tokenkeep --store {shown(store)} uses the new one",
        )
        return
    key_file = key.path if isinstance(key, KeyFile) else None
    if key_file == os.path.abspath(config.default_key_path()) and platform_s_own() is None:
        key_file = None
    config_edit.save(
        chosen.path,
        store=store,
        key_file=key_file,
        passphrase_file=lasting_file(chosen.passphrase_file),
    )
