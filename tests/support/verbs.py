"""The command's tree of verbs, for tests that hold for every one of them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tokenkeep.cli.tree import root

GROUPS = ("import", "vault")


def verbs() -> Iterator[str]:
    """The paths of all commands that do something, such as "vault create"."""
    for name in root.list_commands(click.Context(root)):
        if name in GROUPS:
            group = command_of(name)
            assert isinstance(group, click.Group)
            yield from (f"{name} {each}" for each in group.list_commands(click.Context(group)))
        else:
            yield name


def command_of(path: str) -> click.Command:
    """The command of a verb."""
    command: click.Command | None = root
    for name in path.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    return command


def options_of(path: str) -> Iterator[click.Option]:
    """A verb's options, those that all verbs have included; of "" the ones before any verb."""
    for parameter in command_of(path).params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield parameter
