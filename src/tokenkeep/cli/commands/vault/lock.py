"""`vault lock`: takes back what `vault unlock` gave."""

from __future__ import annotations

import click

from tokenkeep.cli.commands.vault.opening import calls
from tokenkeep.cli.terminal import tell
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.errors import StoreUnavailable
from tokenkeep.unlocked_vault import lock
from tokenkeep.vault.vault import Vault


@click.command()
@options()
@click.pass_context
def command(ctx: click.Context) -> int:
    """Forget at once what opens the vault without a question.

    A process that has the vault open keeps it so until it ends.
    """
    settings = settings_of(ctx)
    path = settings.vault().path
    header = Vault(path, (), False).header()
    if header is None:
        raise StoreUnavailable(f"there is no vault: {path}", hint="tokenkeep vault create")
    was_unlocked = lock(header.vault_id, calls(settings)())
    tell("locked" if was_unlocked else "it was not unlocked")
    return 0
