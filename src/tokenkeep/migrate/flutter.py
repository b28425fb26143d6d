"""flutter_secure_storage's format on Linux and Windows: one JSON object of all keys and values."""

from __future__ import annotations

import json
from typing import Protocol

from tokenkeep.errors import SecretDamaged, UnsupportedOption
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret


class WholeValue(Protocol):
    """Where the object lies, as one value."""

    identity: str

    def load(self) -> Secret | None:
        """The object's text; None if there is none."""
        ...

    def save(self, seen: Secret, content: Secret | None) -> None:
        """Puts another object in the place of what was seen; None if nothing is left of it."""
        ...


class FlutterMap:
    """The keys of an application that was built with flutter_secure_storage."""

    def __init__(self, place: WholeValue) -> None:
        self._place = place

    @property
    def identity(self) -> str:
        """The place's."""
        return self._place.identity

    def names(self) -> list[str]:
        """The keys, sorted.

        Raises:
            SecretDamaged: what lies there is no object of texts.
        """
        return sorted(_values(self._place.load()))

    def read(self, name: str) -> Secret | None:
        """A key's value."""
        return _values(self._place.load()).get(name)

    def sees(self, _record: ItemName) -> bool:
        """No store keeps its items in such an object."""
        return False

    def remove(self, *names: str) -> None:
        """Takes keys out of the object, in one write."""
        seen = self._place.load()
        values = _values(seen)
        if seen is None or not values.keys() & set(names):
            return
        rest = {name: value for name, value in values.items() if name not in names}
        self._place.save(seen, _text(rest) if rest else None)


def _values(content: Secret | None) -> dict[str, Secret]:
    if content is None or content.size == 0:
        return {}
    found: object = None
    try:
        # Pairs: a dictionary would hide a key's first value behind its last.
        found = json.loads(content.reveal(), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        pass  # raised below: the error would hold the text
    if isinstance(found, tuple) and all(isinstance(value, str) for _name, value in found):
        values: dict[str, Secret] = {}
        try:
            values = {name: Secret(value) for name, value in found}
        except ValueError:
            values = {}
        if len(values) == len(found):
            return values
    del found
    raise SecretDamaged("what lies there is not what flutter_secure_storage writes")


def _text(values: dict[str, Secret]) -> Secret:
    # As the plugin writes it: without spaces, text as it is.
    plain = {name: value.reveal() for name, value in values.items()}
    return Secret(json.dumps(plain, ensure_ascii=False, separators=(",", ":")))


def refuse_changed() -> UnsupportedOption:
    """What to raise where the object is not what was seen any more."""
    return UnsupportedOption("the application wrote meanwhile", hint="end it, then try again")
