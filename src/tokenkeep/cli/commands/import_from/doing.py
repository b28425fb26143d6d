"""What every `import SOURCE` has in common: its options, and how it goes on from there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tokenkeep.cli.exits import DAMAGED, FAILED, NOT_FOUND, OK, CommandError, NotFound, UsageError
from tokenkeep.cli.progress import progress
from tokenkeep.cli.settings import Settings
from tokenkeep.cli.terminal import shown, tell, write_json, write_lines
from tokenkeep.cli.tree import consent, options, settings_of
from tokenkeep.item import Call
from tokenkeep.migrate.journal import Phase
from tokenkeep.migrate.looking import FAIL, REPLACE, SKIP
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.report import MigratedItem, MigrationReport, Outcome
from tokenkeep.migrate.source import Source

F = TypeVar("F", bound=Callable[..., Any])

_ACTS = {
    "dry_run": "say what would be done, and change nothing",
    "remove": "copy, then take from the old place at once; there is no way back",
    "confirm": "take from the old place what an import copied; there is no way back",
    "undo": "restore this place as it was before the import",
}
#: What is said of so many items, in this order.
_SAID = {
    Outcome.COPY: "copied",
    Outcome.REPLACE: "replaced",
    Outcome.SAME: "here already",
    Outcome.DONE: "copied earlier",
    Outcome.KEEP: "left in both places, with different values",
    Outcome.REMOVE: "taken from the old place",
    Outcome.RESTORE: "restored",
    Outcome.UNRESTORED: "not restored, so that nothing is lost",
    Outcome.CHANGED: "left alone, as they changed since",
    Outcome.UNREADABLE: "left in the old place, where they do not open",
    Outcome.MISSING: "not found",
}
_NOTHING = {"confirm": "nothing was left to take", "undo": "nothing was left to restore"}
#: The items of these are named.
_NAMED = (Outcome.UNRESTORED, Outcome.CHANGED, Outcome.UNREADABLE, Outcome.MISSING)


def import_options(function: F) -> F:
    """The options of every source; they arrive as `choices`."""

    def command(ctx: click.Context, **words: Any) -> int:
        choices = {name: words.pop(name) for name in ("names", "existing", *_ACTS)}
        result: int = function(ctx, choices=choices, **words)
        return result

    command.__doc__ = function.__doc__
    wrapped: Any = click.pass_context(command)
    wrapped = options(json=True)(wrapped)
    for name, text in reversed(_ACTS.items()):
        make = click.option if name == "dry_run" else consent
        wrapped = make(_flag(name), name, is_flag=True, help=text)(wrapped)
    wrapped = consent(
        "--existing",
        type=click.Choice([FAIL, SKIP, REPLACE]),
        default=FAIL,
        help="what happens to items that are here with another value (default: fail)",
    )(wrapped)
    decorated: F = click.option(
        "--name",
        "names",
        metavar="OLD[=NEW]",
        multiple=True,
        help="an item to take, and what to call it here; more than once for more (default: all)",
    )(wrapped)
    return decorated


def old_names(choices: dict[str, Any]) -> dict[str, str] | None:
    """What `--name` said: new names by old ones; None if nothing was said.

    Raises:
        UsageError: a name was given twice.
    """
    names: dict[str, str] = {}
    for word in choices["names"]:
        old, equals, new = word.partition("=")
        if old in names:
            raise UsageError("an item was named twice", "--name OLD[=NEW], once for each item")
        names[old] = new if equals else old
    return names or None


def calls(settings: Settings) -> Callable[[], Call]:
    """A deadline for each call into the source, which may ask whoever sits here."""
    timeout = settings.timeout
    return lambda: settings.call(timeout)


def perform(ctx: click.Context, source: Source, choices: dict[str, Any]) -> int:
    """Does what was asked for with a source; the exit code.

    Raises:
        UsageError: more than one thing was asked for.
        NotFound: there is nothing to confirm or to undo.
        CommandError: not everything could be undone.
    """
    acts = [name for name in _ACTS if choices[name]]
    if len(acts) > 1:
        raise UsageError(
            f"{_flag(acts[0])} and {_flag(acts[1])} cannot be had at once",
            f"{ctx.command_path} --help",
        )
    act = acts[0] if acts else "copy"
    settings = settings_of(ctx)
    with settings.storage() as storage:
        migration = Migration(
            source, storage, names=old_names(choices), existing=choices["existing"]
        )
        was_open = migration.status() is not Phase.NONE
        with progress("importing") as told:
            if act == "dry_run":
                report = migration.plan(told)
            elif act == "confirm":
                report = migration.confirm()
            elif act == "undo":
                report = migration.undo()
            else:
                report = migration.run(told)
                if act == "remove":
                    report = _both(report, migration.confirm())
    if act in ("confirm", "undo") and not was_open:
        raise NotFound(
            f"this store has no import from there to {act}", f"{ctx.command_path} --help"
        )
    if act == "dry_run":
        _show_plan(report, settings)
        return OK if report.is_possible else FAILED
    if settings.wants_json:
        _write_json(report)
    _tell(report, act)
    if report.having(Outcome.UNRESTORED):
        raise CommandError(
            "the import is not undone: what these items replaced is still kept",
            "tokenkeep delete NAME, after tokenkeep get NAME if you need it, then --undo again",
        )
    if act == "copy" and report.having(Outcome.COPY, Outcome.REPLACE, Outcome.SAME, Outcome.DONE):
        tell("both places have them now: --confirm takes them from the old one, --undo back")
    return _code(report)


def _flag(act: str) -> str:
    return "--" + act.replace("_", "-")


def _both(first: MigrationReport, then: MigrationReport) -> MigrationReport:
    """What a run and its confirmation did: of each item the last word."""
    words = {(item.old, item.new): item for item in (*first.items, *then.items)}
    return MigrationReport(tuple(words.values()))


def _code(report: MigrationReport) -> int:
    if report.having(Outcome.UNREADABLE):
        return DAMAGED
    if report.having(Outcome.CHANGED):
        return FAILED
    return NOT_FOUND if report.having(Outcome.MISSING) else OK


def _tell(report: MigrationReport, act: str) -> None:
    counts = Counter(item.outcome for item in report.items)
    lines = [f"items {text}: {counts[each]}" for each, text in _SAID.items() if counts[each]]
    tell(*(lines or [_NOTHING.get(act, "there is nothing to import")]))
    for item in report.having(*_NAMED):
        tell(f"  {_line(item)}")


def _show_plan(report: MigrationReport, settings: Settings) -> None:
    if settings.wants_json:
        _write_json(report)
    else:
        write_lines(*(_line(item) for item in report.items))


def _line(item: MigratedItem) -> str:
    names = item.old if item.old == item.new else f"{item.old} -> {item.new}"
    return f"{item.outcome.value:10} {shown(names)}"


def _write_json(report: MigrationReport) -> None:
    write_json(
        [{"old": item.old, "new": item.new, "outcome": item.outcome.value} for item in report.items]
    )
