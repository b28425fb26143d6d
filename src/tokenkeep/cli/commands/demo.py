"""`demo`: the whole story of a session on this machine, with real parts, checked at every step."""

from __future__ import annotations

import click

from tokenkeep.cli import exits
from tokenkeep.cli.demo.story import tell_story
from tokenkeep.cli.demo.telling import Telling, document, to_nobody, to_stdout
from tokenkeep.cli.terminal import tell, write_json
from tokenkeep.cli.tree import settings_of


@click.command()
@click.option("--keep", is_flag=True, help="leave the directory behind, to look at")
@click.option(
    "--json",
    "wants_json",
    is_flag=True,
    envvar="TOKENKEEP_JSON",
    help="the story as structure, at its end",
)
@click.pass_context
def command(ctx: click.Context, keep: bool, wants_json: bool) -> int:
    """Play a session's whole life here, with real parts, and check every step.

    A local authorization server, a vault in a temporary directory and separate processes of this
    very command: login, restart, twelve processes at one expired token, a kill at the worst moment,
    a vault that refuses writes, sign-outs. Nothing of yours is touched. Exit 1 if a check fails.
    """
    wants_json = wants_json or settings_of(ctx).wants_json
    telling = Telling(to_nobody() if wants_json else to_stdout())
    tell_story(telling, keeps=keep)
    if wants_json:
        write_json(document(telling))
    return ending(telling)


def ending(telling: Telling) -> int:
    """The exit code of a story that was told; what did not hold is named on stderr."""
    failed = [check.claim for check in telling.checks if not check.holds]
    tell(*(f"error: this did not hold: {claim}" for claim in failed))
    return exits.FAILED if failed or not telling.checks else exits.OK
