"""`vault quarantine`: what did not open when it was replaced, to be restored or erased."""

from __future__ import annotations

import click

from tokenkeep.cli import exits
from tokenkeep.cli.commands.vault.opening import calls, chosen_vault
from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.terminal import require_yes, shown, tell, write_json, write_lines
from tokenkeep.cli.tree import consent, options, settings_of
from tokenkeep.item import ITEM
from tokenkeep.vault.quarantine import Entry, entries, erase, restore

#: As SQLite counts.
_NUMBER = click.IntRange(1, 2**63 - 1)


@click.command()
@consent("--restore", "back", type=_NUMBER, metavar="NUMBER", help="make an item of it again")
@consent("--replace", is_flag=True, help="with --restore: in the place of the item there")
@consent("--erase", "gone", type=_NUMBER, multiple=True, metavar="NUMBER", help="erase it")
@consent("--erase-all", is_flag=True, help="erase everything in quarantine")
@consent("--yes", is_flag=True, help="erase without asking")
@options(json=True)
@click.pass_context
def command(
    ctx: click.Context,
    back: int | None,
    replace: bool,
    gone: tuple[int, ...],
    erase_all: bool,
    yes: bool,
) -> int:
    """List what quarantine keeps: items that did not open when something replaced them.

    Restored, an item is one again, and out of quarantine.
    """
    if (back is not None) + bool(gone) + erase_all > 1 or (replace and back is None):
        raise UsageError(
            "restore one, erase some, or erase all", "tokenkeep vault quarantine --help"
        )
    settings = settings_of(ctx)
    vault = chosen_vault(settings)
    call = calls(settings)
    try:
        if back is not None:
            restore(vault, back, call(), replace=replace)
            return exits.OK
        if gone or erase_all:
            require_yes(yes, f"erase {len(gone) or 'all'} in quarantine of {vault.path}?")
            count, is_pending = erase(vault, None if erase_all else gone, call())
            tell(f"erased: {count}")
            if is_pending:
                tell("old bytes remain for now; the next write that can do it erases them")
            return exits.OK
        found = entries(vault, call())
    finally:
        vault.close()
    if settings.wants_json:
        write_json([_document(entry) for entry in found])
    else:
        write_lines(*(f"{entry.number}: {_spoken(entry)}" for entry in found))
    return exits.OK


def _spoken(entry: Entry) -> str:
    if entry.name is None:
        whose = "a name that does not open"
    elif entry.name.kind == ITEM:
        whose = shown(f"{entry.name.service} {entry.name.name}")
    else:
        whose = shown(f"{entry.name.service} session of {entry.name.name}")
    return f"{whose}: {'opens' if entry.problem is None else shown(str(entry.problem))}"


def _document(entry: Entry) -> dict[str, object]:
    return {
        "number": entry.number,
        "kind": None if entry.name is None else entry.name.kind,
        "service": None if entry.name is None else entry.name.service,
        "name": None if entry.name is None else entry.name.name,
        "code": None if entry.problem is None else entry.problem.code,
    }
