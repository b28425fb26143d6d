"""`import store STORE`: the items of another store, or of another application."""

from __future__ import annotations

import os
from typing import Any

import click

from tokenkeep.cli.commands.import_from.doing import import_options, perform
from tokenkeep.cli.exits import DAMAGED, OK, NotFound, UsageError
from tokenkeep.cli.settings import Settings
from tokenkeep.cli.terminal import shown, tell, write_json
from tokenkeep.cli.tree import FILE, STORE, consent, settings_of
from tokenkeep.config import default_vault_path
from tokenkeep.migrate.report import Outcome
from tokenkeep.migrate.sessions import move_sessions
from tokenkeep.migrate.store import StoreSource

#: What opens the vault that the command works on.
_KEYS = ("TOKENKEEP_KEY_FILE", "TOKENKEEP_PASSPHRASE_FILE")
_STAYED = (Outcome.CHANGED, Outcome.UNREADABLE)


@click.command()
@click.argument("spelled", metavar="STORE", type=STORE)
@click.option("--from-app", metavar="SERVICE", help="the items of another application")
@click.option(
    "--from-key-file", metavar="FILE", type=FILE, help="the key file of a vault to import from"
)
@click.option(
    "--from-passphrase-file",
    metavar="FILE",
    type=FILE,
    help="the passphrase file of a vault to import from",
)
@consent(
    "--sessions", is_flag=True, help="with --remove or --confirm: also move the sessions that live"
)
@import_options
def command(
    ctx: click.Context,
    spelled: str,
    from_app: str | None,
    from_key_file: str | None,
    from_passphrase_file: str | None,
    sessions: bool,
    choices: dict[str, Any],
) -> int:
    """Move items out of another store, named as for --store.

    Sessions stay where they are unless --sessions moves them: there is no way back for those.
    """
    if sessions and not (choices["remove"] or choices["confirm"]):
        raise UsageError("a session cannot be in two places", "--sessions goes with --remove")
    settings = settings_of(ctx)
    if sessions and from_app not in (None, settings.app):
        raise UsageError("a session stays with its application", "--sessions without --from-app")
    told = {
        "app": settings.app if from_app is None else from_app,
        "store": spelled,
        "key_file": from_key_file,
        "passphrase_file": from_passphrase_file,
        "timeout": settings.option("timeout"),
    }
    old = Settings({name: value for name, value in told.items() if value is not None})
    place, new_place = _vault_path(old), _vault_path(settings)
    if "" not in (place, new_place) and place != new_place:
        # The variables' key is the new vault's, as its flags are.
        own = {name: text for name, text in os.environ.items() if name not in _KEYS}
        old = Settings(old.flags, own)
    with old.storage() as storage:
        nothing: NotFound | None = None
        try:
            code = perform(ctx, StoreSource(storage, place), choices)
        except NotFound as exc:
            if not sessions:
                raise
            code, nothing = OK, exc  # of items; a session is no part of an import
        if sessions:
            with settings.storage() as target:
                report = move_sessions(storage, target)
            if report.pending:
                tell("old bytes remain for now; the next write there that can do it erases them")
            if nothing is not None:
                if not report.items:
                    raise nothing
                if settings.wants_json:
                    write_json([])
            code = code or (DAMAGED if report.having(Outcome.UNREADABLE) else OK)
            emptied = report.having(Outcome.EMPTIED)
            tell(f"sessions moved: {len(report.having(Outcome.REMOVE)) + len(emptied)}")
            tell(*(f"  {shown(item.old)} left an empty item behind: delete it" for item in emptied))
            tell(*(f"  {shown(item.old)} stayed" for item in report.having(*_STAYED)))
        return code


def _vault_path(settings: Settings) -> str:
    """Where the vault lies; empty if another store is chosen."""
    if not settings.config.names_vault():
        return ""
    return os.path.abspath(settings.config.store.partition(":")[2] or default_vault_path())
