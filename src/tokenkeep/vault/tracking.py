"""Which items of a vault were written, told by the beginnings of their envelopes."""

from __future__ import annotations

from tokenkeep.turns import in_turns
from tokenkeep.vault.rows import listed, range_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.item import Call, ItemName
    from tokenkeep.vault.engine import Engine
    from tokenkeep.vault.keys import Keys
    from tokenkeep.vault.vault import Vault

#: Version, id of the key, nonce: no two sealings have the same.
_MARK_BYTES = 1 + 8 + 12

#: place_a -> the beginning of the envelope there, and whose it is.
Seen = dict[bytes, tuple[bytes, "ItemName"]]


def changes(
    vault: Vault, service: str, since: Seen | None, call: Call
) -> tuple[Seen, list[ItemName]]:
    """As `Tracking.changes`, for a vault that is there. Opens the names of what changed alone."""
    known = {} if since is None else since

    def found(engine: Engine, keys: Keys) -> tuple[Seen, set[ItemName]]:
        seen: Seen = {}
        names: set[ItemName] = set()
        # An item that is being moved to a new root key is met before, behind, or twice.
        for finder in keys.finders():
            tag_a, behind_a, _tag_b, _behind_b = range_of(finder, service)
            answer = engine.rows(
                call,
                "SELECT place_a, place_b, name, substr(envelope, 1, ?) FROM item"
                " WHERE place_a BETWEEN ? AND ?",
                (_MARK_BYTES, tag_a, behind_a),
            )
            for place_a, place_b, sealed, mark in in_turns(answer):
                entry = known.get(place_a)
                if entry is None or entry[0] != mark:
                    name = listed(keys, finder, service, place_a, place_b, sealed)
                    entry = mark, name
                    names.add(name)
                seen[place_a] = entry
        return seen, names

    seen, names = vault.look(call, found)
    names.update(name for place_a, (_mark, name) in known.items() if place_a not in seen)
    return seen, sorted(names)
