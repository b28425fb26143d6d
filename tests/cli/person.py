"""A person at a terminal that the command runs on."""

from __future__ import annotations

from cli.shell import Shell
from support.terminal import AtTerminal


class Person(AtTerminal):
    """Starts the command on a terminal of its own; leaving the `with` block ends it."""

    def __init__(
        self, shell: Shell, *words: str, stdout: int | None = None, **variables: str
    ) -> None:
        super().__init__(
            shell.command(*words), shell.home, {**shell.environment, **variables}, stdout
        )
