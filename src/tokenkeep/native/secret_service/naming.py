"""What an item is called in the Secret Service: the attributes that it is found by, and its label.

An application's item has the attributes of python-keyring's; our own records have others, so that
nobody takes them for passwords. KeePassXC claims names such as Title, Path and UserName for itself.
"""

from __future__ import annotations

from tokenkeep.errors import InvalidName
from tokenkeep.item import ITEM, MIGRATION, SESSION, ItemName

SERVICE, NAME = "service", "username"
RECORD_SERVICE = "tokenkeep:service"
#: The attribute that has a record's name, by its kind.
RECORD_NAMES = {SESSION: "tokenkeep:account", MIGRATION: "tokenkeep:migration"}
#: python-keyring's own. Daemons replace an item whose attributes include the new item's: with it,
#: python-keyring replaces our item where it would otherwise put a second one beside.
_APPLICATION = {"application": "Python keyring library"}
#: What the writers of such items add by themselves. An item with more is told apart by somebody.
KNOWN = frozenset(
    ("application", "xdg:schema", SERVICE, NAME, RECORD_SERVICE, *RECORD_NAMES.values()),
)


def search_of(name: ItemName) -> dict[str, str]:
    """What an item of this name has, whoever wrote it."""
    if name.kind != ITEM:
        return {RECORD_SERVICE: name.service, RECORD_NAMES[name.kind]: name.name}
    return {SERVICE: name.service, NAME: name.name}


def attributes_of(name: ItemName) -> dict[str, str]:
    """What a new item gets."""
    return {**search_of(name), **_APPLICATION} if name.kind == ITEM else search_of(name)


def label_of(name: ItemName) -> str:
    """What a person sees; KWallet refuses an empty one."""
    if name.kind == SESSION:
        return f"Session of '{name.name}' with '{name.service}'"
    if name.kind == MIGRATION:
        return f"Record '{name.name}' of an import into '{name.service}'"
    return f"Password for '{name.name}' on '{name.service}'"


def name_of(attributes: dict[str, str], service: str) -> ItemName | None:
    """The name that the attributes stand for; None if it is not one of ours."""
    records = ((kind, key, RECORD_SERVICE) for kind, key in RECORD_NAMES.items())
    for kind, key, by in ((ITEM, NAME, SERVICE), *records):
        if key in attributes and attributes.get(by) == service:
            try:
                return ItemName(service, attributes[key], kind)
            except InvalidName:
                return None  # nobody can ask for it by this name here
    return None
