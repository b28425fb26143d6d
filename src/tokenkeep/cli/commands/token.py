"""`token`: a fresh access token on stdout; many processes at once cause one redemption."""

from __future__ import annotations

import time

import click

from tokenkeep.cli import fast
from tokenkeep.cli.session_output import client_secret, warn_of_changes
from tokenkeep.cli.settings import Settings
from tokenkeep.cli.terminal import tell, write_json, write_value
from tokenkeep.cli.tree import FILE, consent, options, settings_of
from tokenkeep.session.session import FLIGHT_SECONDS, Session
from tokenkeep.session.state import AccessToken, State
from tokenkeep.session.stored import session_of
from tokenkeep.tokens.storage import TokenStorage

#: How long a token that is printed already keeps trying to save the session behind it.
SAVING_SECONDS = 5.0


@click.command()
@click.option(
    "--min-ttl",
    metavar="S",
    envvar="TOKENKEEP_MIN_TTL",
    help="seconds it must still be good for",
)
@consent("--retry-uncertain", is_flag=True, help="send an uncertain refresh token once more")
@click.option(
    "--client-secret-file",
    metavar="FILE",
    type=FILE,
    envvar="TOKENKEEP_CLIENT_SECRET_FILE",
    help="for a confidential client",
)
@options(json=True, account=True)
@click.pass_context
def command(
    ctx: click.Context,
    min_ttl: str | None,
    retry_uncertain: bool,
    client_secret_file: str | None,
) -> int:
    """Write a fresh access token to stdout, refreshed if need be.

    Any number of processes at once cause one refresh. After an interrupted refresh nobody knows
    whether the refresh token is spent: --retry-uncertain sends it once more, which some providers
    take for theft.
    """
    settings = settings_of(ctx)
    if min_ttl is not None:
        settings.flags["min_ttl"] = min_ttl
    if client_secret_file is not None:
        settings.flags["client_secret_file"] = client_secret_file
    if retry_uncertain or settings.wants_json:
        return redeem(
            settings,
            settings.tokens(),
            settings.seconds("min_ttl", 0.0),
            retry_uncertain=retry_uncertain,
        )
    return fast.token(settings)


def redeem(
    settings: Settings, tokens: TokenStorage, min_ttl: float, *, retry_uncertain: bool = False
) -> int:
    """Writes an access token by way of the whole session; the exit code.

    Raises:
        TokenkeepError: see `Session.access_token` and `session_of`.
    """
    secret = client_secret(settings, settings.option("client_secret_file"))
    # Not --timeout: a patience meant for the store must not cut a redemption short.
    with session_of(tokens, client_secret=secret, timeout=FLIGHT_SECONDS) as session:
        warn_of_changes(session)
        is_uncertain = session.restore() is State.UNCERTAIN
        if is_uncertain and retry_uncertain:
            token = session.redeem_uncertain()
        else:
            token = session.access_token(min_ttl)
        _write(settings, session, token)
        _wait_until_saved(session)
    return 0


def _write(settings: Settings, session: Session, token: AccessToken) -> None:
    if not settings.wants_json:
        write_value(token)
        return
    left = token.expires - session.tokens.storage.clock.monotonic()
    write_json(
        {
            "access_token": token.reveal(),
            "expires_in": None if left == float("inf") else round(left, 1),
            "scope": session.scope,
            "account": session.account,
        }
    )


def _wait_until_saved(session: Session) -> None:
    """Gives a session that could not be saved a little time before it ends with this process."""
    if _is_saved(session):
        return
    until = time.monotonic() + SAVING_SECONDS
    while time.monotonic() < until:
        time.sleep(0.1)
        if _is_saved(session):
            return
    tell(
        "warning: the session is not saved and ends with this command: the next one will find it"
        " uncertain",
        "hint: tokenkeep doctor",
    )


def _is_saved(session: Session) -> bool:
    return session.state is not State.MEMORY_ONLY
