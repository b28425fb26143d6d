"""`login`: a session begins, by browser or by device code."""

from __future__ import annotations

import click

from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.session_output import client_secret, warn_of_changes
from tokenkeep.cli.settings import seconds_in
from tokenkeep.cli.terminal import shown, tell, write_json
from tokenkeep.cli.tree import FILE, options, settings_of
from tokenkeep.errors import LoginFailed
from tokenkeep.oauth.messages import DeviceCode
from tokenkeep.oauth.provider import Provider
from tokenkeep.session.session import Session
from tokenkeep.session.state import State

#: What a session needs of most providers, if nobody says otherwise.
DEFAULT_SCOPE = ("openid", "offline_access")


@click.command()
@click.option(
    "--issuer", metavar="URL", envvar="TOKENKEEP_ISSUER", help="as the provider spells it"
)
@click.option("--client-id", metavar="ID", envvar="TOKENKEEP_CLIENT_ID", help="this application's")
@click.option(
    "--client-secret-file",
    metavar="FILE",
    type=FILE,
    envvar="TOKENKEEP_CLIENT_SECRET_FILE",
    help="for a confidential client",
)
@click.option(
    "--scope",
    metavar="S",
    multiple=True,
    envvar="TOKENKEEP_SCOPE",
    help="more than once for more (default: openid offline_access)",
)
@click.option("--device", is_flag=True, help="by a code, on another device")
@click.option("--no-browser", is_flag=True, help="show the address, open nothing")
@click.option(
    "--replay-window",
    metavar="S",
    default="0",
    envvar="TOKENKEEP_REPLAY_WINDOW",
    help="seconds during which the provider takes a refresh token twice",
)
@click.option(
    "--timeout",
    metavar="S",
    default="300",
    envvar="TOKENKEEP_LOGIN_TIMEOUT",
    help="seconds for the person (default: 300)",
)
@options(json=True, account=True, timeout=False)
@click.pass_context
def command(
    ctx: click.Context,
    issuer: str | None,
    client_id: str | None,
    client_secret_file: str | None,
    scope: tuple[str, ...],
    device: bool,
    no_browser: bool,
    replay_window: str,
    timeout: str,
) -> int:
    """Sign in through the browser, or with --device by a code that is shown here."""
    settings, patience = settings_of(ctx), seconds_in(timeout, "--timeout")
    if not patience:
        raise UsageError("--timeout leaves nobody time to sign in", "--timeout SECONDS")
    if not issuer:
        raise UsageError("login needs the provider", "--issuer URL", "export TOKENKEEP_ISSUER=URL")
    if not client_id:
        raise UsageError(
            "login needs the client's id", "--client-id ID", "export TOKENKEEP_CLIENT_ID=ID"
        )
    provider = Provider(
        issuer,
        client_id=client_id,
        client_secret=client_secret(settings, client_secret_file),
        replay_window=seconds_in(replay_window, "--replay-window"),
    )
    tokens = settings.tokens()
    # Opens the store before a person is bothered.
    tokens.storage.contains("opens?")
    wanted = " ".join(scope).split() or DEFAULT_SCOPE
    with Session(provider, tokens, share_access_tokens=True) as session:
        problems = warn_of_changes(session)
        if device:
            session.login(wanted, device=True, on_code=_show_code, timeout=patience)
        else:
            session.login(
                wanted,
                open_browser=_open_nothing if no_browser else None,
                on_url=_show_address,
                timeout=patience,
            )
        _require_saved(session, problems)
        if settings.wants_json:
            write_json(
                {
                    "account": session.account,
                    "state": session.state.value,
                    "issuer": provider.issuer,
                    "subject": session.subject,
                    "scope": session.scope,
                    "can_refresh": session.can_refresh,
                }
            )
        who = shown(session.subject) or "somebody the provider did not name"
        tell(f"signed in as {who}, account {shown(session.account)}")
        if not session.can_refresh:
            tell("the provider gave no refresh token: the session ends with its access token")
    return 0


def _require_saved(session: Session, problems: list[str]) -> None:
    """A session that could not be saved would end with this command: it is ended properly.

    Raises:
        LoginFailed: it could not be saved, and was signed out.
    """
    if session.state is not State.MEMORY_ONLY:
        return
    session.logout()
    raise LoginFailed(
        f"the session could not be saved and was ended again: {problems[-1] if problems else ''}",
        hint="tokenkeep doctor",
    )


def _show_code(code: DeviceCode) -> None:
    tell(
        f"open   {shown(code.verification_uri)}",
        f"enter  {shown(code.user_code)}",
        f"within {code.expires_in:.0f} s",
    )


def _show_address(address: str) -> None:
    tell("waiting for the browser; if none opens, open", shown(address))


def _open_nothing(_address: str) -> None:
    return
