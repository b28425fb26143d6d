"""`vault remove-key SLOT`: one way less to open the vault."""

from __future__ import annotations

import click

from tokenkeep.cli.commands.vault.opening import calls, chosen_vault
from tokenkeep.cli.commands.vault.rekey import further_keys, lock_again, say_rekeyed
from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.progress import progress
from tokenkeep.cli.terminal import require_yes, tell
from tokenkeep.cli.tree import consent, options, settings_of
from tokenkeep.vault.access import remove_key
from tokenkeep.vault.rekey import rekey


@click.command()
@click.argument("slot")
@consent("--rekey", "and_rekey", is_flag=True, help="replace the root key too")
@consent("--yes", is_flag=True, help="do it without asking")
@further_keys
@options()
@click.pass_context
def command(
    ctx: click.Context,
    slot: str,
    and_rekey: bool,
    yes: bool,
    with_key_file: tuple[str, ...],
    with_passphrase_file: tuple[str, ...],
) -> int:
    """Remove a key slot by its id; `vault check` lists them.

    Its holder may know the root key: --rekey replaces that too and encrypts every item anew, which
    needs every key that shall go on opening the vault.
    """
    settings = settings_of(ctx)
    slot_id = _slot_id(slot)
    vault = chosen_vault(settings, with_key_file, with_passphrase_file, every_slot=True)
    require_yes(yes, f"remove key {slot_id.hex()} from {vault.path}?")
    call = calls(settings)
    try:
        if not and_rekey:
            try:
                remove_key(vault, slot_id, call())
            finally:
                # Also where the slot is gone and what its key keeps elsewhere is not.
                lock_again(vault, call())
            tell("its holder may know the root key: `remove-key --rekey` would have replaced it")
            return 0
        with progress("rekeying") as told:
            report = rekey(vault, call, remove=slot_id, progress=told)
        lock_again(vault, call())
    finally:
        vault.close()
    return say_rekeyed(report)


def _slot_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass  # said below
    raise UsageError("a key's id has hexadecimal digits", "tokenkeep vault check")
