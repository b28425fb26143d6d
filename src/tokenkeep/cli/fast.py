"""The hot verbs, `get` and `token`, by the shortest way; click's commands end here too."""

from __future__ import annotations

from tokenkeep.cli.settings import Settings
from tokenkeep.cli.terminal import write_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenkeep.tokens.storage import TokenStorage


def serve(verb: str, flags: dict[str, str], names: Sequence[str]) -> int:
    """Runs a plain `get` or `token`; the exit code."""
    settings = Settings(flags)
    return get(settings, names[0]) if verb == "get" else token(settings)


def get(settings: Settings, name: str) -> int:
    """Writes an item to stdout.

    Raises:
        NotFound: there is none.
        TokenkeepError: we cannot know; see `SecureStorage.read`.
    """
    storage = settings.storage()
    value = storage.read(name)
    if value is None:
        from tokenkeep.cli.exits import NotFound

        # The name is not repeated: a secret typed in its place would end up in a log.
        raise NotFound("there is no item of this name", f"tokenkeep --app {settings.app} list")
    write_value(value)
    storage.close()
    return 0


def token(settings: Settings) -> int:
    """Writes an access token to stdout: the shared one while it is fresh, else a redeemed one.

    Raises:
        TokenkeepError: see `Session.access_token`.
    """
    from tokenkeep.session.shared import fresh_shared_token

    min_ttl = settings.seconds("min_ttl", 0.0)
    tokens: TokenStorage = settings.tokens()
    value = fresh_shared_token(tokens, min_ttl)
    if value is None:
        from tokenkeep.cli.commands.token import redeem

        return redeem(settings, tokens, min_ttl)
    write_value(value)
    tokens.storage.close()
    return 0
