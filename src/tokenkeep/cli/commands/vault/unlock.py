"""`vault unlock`: no question for a while, in any process of this user."""

from __future__ import annotations

import time

import click

from tokenkeep.cli.commands.vault.opening import calls, chosen_vault
from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.settings import WhileUnlocked
from tokenkeep.cli.terminal import tell
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.unlocked_vault import Unlocked, unlock_for
from tokenkeep.vault.vault import Vault

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_SECONDS = 365 * 86_400
#: Python makes no number of thousands of digits.
_MOST_DIGITS = 20


@click.command()
@click.option("--for", "duration", metavar="TIME", default="8h", help="30m, 8h, 7d (default: 8h)")
@options()
@click.pass_context
def command(ctx: click.Context, duration: str) -> int:
    """Ask for the passphrase once, and open the vault without a question for a while.

    What opens it, which is not the passphrase, is kept in the kernel's keyring of this user, or in
    the platform's store where there is none; a reboot and `vault lock` end it before its time.
    """
    settings, seconds = settings_of(ctx), seconds_of(duration)
    chosen = chosen_vault(settings, every_slot=True)
    # What was unlocked before is no proof that the person may unlock it now.
    keys = tuple(key for key in chosen.keys if not isinstance(key, WhileUnlocked))
    vault = Vault(chosen.path, keys, False)
    done = unlock_for(vault, seconds, calls(settings)())
    tell(f"unlocked {spoken(done)}", "hint: tokenkeep vault lock")
    return 0


def spoken(unlocked: Unlocked) -> str:
    """Until when, in the machine's own time, and by what."""
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unlocked.until))
    return f"until {until}, by the {unlocked.store}"


def seconds_of(text: str) -> int:
    """A duration such as 30m, 8h or 7d.

    Raises:
        UsageError: it is none, or longer than a year.
    """
    number, unit = text[:-1], _UNITS.get(text[-1:], 0)
    is_number = number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS
    seconds = int(number) * unit if is_number else 0
    if 0 < seconds <= _LONGEST_SECONDS:
        return seconds
    raise UsageError(
        "--for takes a number and a unit, at most a year", "tokenkeep vault unlock --for 8h"
    )
