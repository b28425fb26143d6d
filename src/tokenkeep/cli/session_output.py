"""What the session verbs have in common: the client's secret, and what they say of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenkeep.cli.terminal import shown, tell
from tokenkeep.session.state import Change, State

if TYPE_CHECKING:
    from tokenkeep.cli.settings import Settings
    from tokenkeep.secret import Secret
    from tokenkeep.session.session import Session


def client_secret(settings: Settings, path: str | None) -> Secret | None:
    """What a confidential client's secret file holds, without one trailing newline.

    Raises:
        As `Settings.secret_in`.
    """
    return None if path is None else settings.secret_in(path, "--client-secret-file")


def warn_of_changes(session: Session) -> list[str]:
    """Says on stderr what a person should know of a session; the list grows with it."""
    said: list[str] = []

    def listener(change: Change) -> None:
        if change.state is State.MEMORY_ONLY or change.state is change.previous:
            said.append(change.reason)
            tell(f"warning: {shown(change.reason)}")

    session.on_change(listener)
    return said
