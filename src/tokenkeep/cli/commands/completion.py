"""`completion SHELL`: the script that lets a shell complete our verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tokenkeep.cli.terminal import write_lines
from tokenkeep.cli.tree import root


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Write the completion script for a shell.

    \b
    bash: tokenkeep completion bash > ~/.local/share/bash-completion/completions/tokenkeep
    zsh:  tokenkeep completion zsh > a file named _tokenkeep in a directory of $fpath
    fish: tokenkeep completion fish > ~/.config/fish/completions/tokenkeep.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    write_lines(kind(root, {}, "tokenkeep", "_TOKENKEEP_COMPLETE").source())
    return 0
