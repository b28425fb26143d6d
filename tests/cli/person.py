"""A person at a terminal that the command runs on."""

from __future__ import annotations

from cli.shell import Shell
from support.terminal import AtTerminal


class Person(AtTerminal):
    """Starts a command on a terminal of its own; leaving the `with` block ends it.

    Args:
        program: another program than `tokenkeep`, such as the person's shell.
    """

    def __init__(
        self,
        shell: Shell,
        *words: str,
        program: str | None = None,
        stdout: int | None = None,
        **variables: str,
    ) -> None:
        command = shell.command(*words) if program is None else [program, *words]
        super().__init__(command, shell.home, {**shell.environment, **variables}, stdout)
