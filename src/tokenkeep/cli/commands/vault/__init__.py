"""`vault VERB`: the encrypted vault's own verbs, one file each."""

from __future__ import annotations

import click

from tokenkeep.cli.tree import LazyGroup

VERBS = (
    *("create", "unlock", "lock"),
    *("new-key", "add-key", "remove-key", "rekey", "replace-all"),
    *("check", "quarantine", "upgrade", "export", "import", "reset"),
)


@click.group(
    cls=LazyGroup,
    package="tokenkeep.cli.commands.vault",
    verbs=VERBS,
    place=("vault",),
    files={"import": "import_items"},  # no module can have a keyword's name
)
def command() -> None:
    """Make and look after the encrypted vault."""
