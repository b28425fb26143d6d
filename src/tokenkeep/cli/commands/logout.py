"""`logout`: the session ends here whatever the network does, and the report says what remains."""

from __future__ import annotations

import click

from tokenkeep.cli import exits
from tokenkeep.cli.session_output import client_secret
from tokenkeep.cli.terminal import shown, tell, write_json, write_lines
from tokenkeep.cli.tree import FILE, options, settings_of
from tokenkeep.session.stored import sign_out_stored


@click.command()
@click.option(
    "--client-secret-file",
    metavar="FILE",
    type=FILE,
    envvar="TOKENKEEP_CLIENT_SECRET_FILE",
    help="for a confidential client",
)
@options(json=True, account=True)
@click.pass_context
def command(ctx: click.Context, client_secret_file: str | None) -> int:
    """End the session here, then tell the provider; say what was done, step by step.

    Exit 0 if the session is over, though the provider could not be told.
    """
    settings = settings_of(ctx)
    tokens = settings.tokens()
    report = sign_out_stored(tokens, lambda: client_secret(settings, client_secret_file))
    if settings.wants_json:
        write_json(
            {
                "account": tokens.account,
                "complete": report.is_complete,
                "steps": [
                    {"name": step.name, "outcome": step.outcome, "detail": step.detail}
                    for step in report.steps
                ],
            }
        )
    else:
        write_lines(*(shown(line) for line in str(report).split("\n")))
    if report.step("end").outcome != "done":
        tell("error: the session could not be ended", "hint: tokenkeep doctor")
        return exits.FAILED
    return exits.OK
