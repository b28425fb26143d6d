"""`vault new-key`: a key file for a vault to come or for `add-key`, or a key on stdout."""

from __future__ import annotations

import os

import click

from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.terminal import write_data, write_lines
from tokenkeep.cli.tree import FILE, options
from tokenkeep.crypto import KEY_BYTES, random_bytes
from tokenkeep.vault.access import new_key


@click.command()
@click.argument("file", type=FILE, required=False)
@click.option("--stdout", is_flag=True, help="write a bare key to a pipe instead")
@options()
def command(file: str | None, stdout: bool) -> int:
    """Make a key file beforehand, for `create` or `add-key`.

    --stdout writes 32 random bytes for a program that keeps them, such as `systemd-creds encrypt`.
    """
    if (file is None) != stdout:
        raise UsageError("a file for the key, or --stdout", "tokenkeep vault new-key FILE")
    if file is None:
        if os.isatty(1):
            raise UsageError("a key is not shown on a terminal", "pipe it to what keeps it")
        write_data(random_bytes(KEY_BYTES))
        return 0
    write_lines(new_key(file).path)
    return 0
