"""`status`: where a session stands; looking changes nothing and needs no network."""

from __future__ import annotations

import click

from tokenkeep.cli import exits
from tokenkeep.cli.terminal import shown, tell, write_json, write_lines
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.session.state import State
from tokenkeep.session.stored import StoredSession, look
from tokenkeep.tokens.storage import TokenStorage

EXITS = {
    State.ACTIVE: exits.OK,
    State.MEMORY_ONLY: exits.OK,
    State.SIGNED_OUT: exits.NOT_FOUND,
    State.LOCKED: exits.NOT_NOW,
    State.UNCERTAIN: exits.LOGIN,
    State.LOGIN_REQUIRED: exits.LOGIN,
}
_HINTS = {
    State.SIGNED_OUT: "tokenkeep login",
    State.LOCKED: "unlock the store, then retry",
    State.UNCERTAIN: "tokenkeep token --retry-uncertain, or tokenkeep login",
    State.LOGIN_REQUIRED: "tokenkeep login",
}


@click.command()
@options(json=True, account=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Say where the session stands.

    Exit 0 signed in, 3 signed out, 4 locked, 5 login required or uncertain.
    """
    settings = settings_of(ctx)
    tokens = settings.tokens()
    found = look(tokens)
    facts = describe(tokens, found)
    if settings.wants_json:
        write_json(facts)
    else:
        write_lines(*(f"{name.replace('_', ' ')}: {_text(value)}" for name, value in facts.items()))
    hint = _HINTS.get(found.state)
    if hint is not None:
        tell(f"hint: {hint}")
    tokens.storage.close()
    return EXITS[found.state]


def describe(tokens: TokenStorage, found: StoredSession) -> dict[str, object]:
    """A session's facts by name, no secret among them; what does not apply is left out."""
    facts: dict[str, object] = {
        "account": tokens.account,
        "state": found.state.value,
        "reason": found.reason,
    }
    record = found.record
    if record is None:
        return facts
    facts |= {
        "issuer": record.issuer,
        "client": record.client_id,
        "subject": record.subject,
        "scope": record.scope.split(),
        "generation": record.generation,
        "refreshes": record.refresh_token is not None,
    }
    if record.access_token is not None:
        left = record.remaining(tokens.kept.now())
        facts["access_token_seconds"] = None if left == float("inf") else round(max(0.0, left))
    return {name: value for name, value in facts.items() if value not in ("", [])}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return shown(" ".join(value))
    return "no end" if value is None else shown(str(value))
