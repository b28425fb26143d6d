"""Searches of collections, one by one: for a service whose own search shows a prompt.

KeePassXC's search of the service asks a person to unlock every database that is locked, unless its
settings say else, and does not answer before. Its search of a collection never does: a locked one
has no items.
"""

from __future__ import annotations

from tokenkeep.native.dbus.errors import ErrorReply, Verdict, verdict
from tokenkeep.native.dbus.wire import Property, Request
from tokenkeep.native.secret_service.channel import COLLECTION, ITEM, NAME, Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenkeep.item import Call


def of_collections(
    channel: Channel, collections: Sequence[str], searches: Sequence[dict[str, str]], call: Call
) -> list[tuple[list[str], list[str]]]:
    """What each search finds in all of the collections: unlocked items, locked items.

    Raises:
        ErrorReply, StoreTimeout, StoreUnavailable, AccessDenied: as `Channel.ask`.
    """
    return [_searched(channel, collections, attributes, call) for attributes in searches]


def _searched(
    channel: Channel, collections: Sequence[str], attributes: dict[str, str], call: Call
) -> tuple[list[str], list[str]]:
    asked = [
        Request(NAME, path, COLLECTION, "SearchItems", "a{ss}", (attributes,), answer="ao")
        for path in collections
    ]
    paths = [path for body in channel.ask_all(asked, call) for path in body[0]]
    locks = [Property(NAME, path, ITEM, "Locked", "b") for path in paths]
    found: tuple[list[str], list[str]] = [], []
    for path, answer in zip(paths, channel.ask_each(locks, call), strict=True):
        if not isinstance(answer, ErrorReply):
            found[answer[0]].append(path)
        elif verdict(answer.name) is not Verdict.SEARCH:  # deleted meanwhile
            raise answer
    return found
