"""What an item is called in the Secret Service: the attributes that it is found by, and its label.

An application's item has the attributes of python-keyring's; a session record has its own, so that
nobody takes it for a password. KeePassXC claims names such as Title, Path and UserName for itself.
"""

from __future__ import annotations

from tokenkeep.errors import InvalidName
from tokenkeep.item import ITEM, SESSION, ItemName

SERVICE, NAME = "service", "username"
RECORD_SERVICE, RECORD_NAME = "tokenkeep:service", "tokenkeep:account"
#: python-keyring's own. Daemons replace an item whose attributes include the new item's: with it,
#: python-keyring replaces our item where it would otherwise put a second one beside.
_APPLICATION = {"application": "Python keyring library"}
#: What the writers of such items add by themselves. An item with more is told apart by somebody.
KNOWN = frozenset(
    ("application", "xdg:schema", SERVICE, NAME, RECORD_SERVICE, RECORD_NAME),
)


def search_of(name: ItemName) -> dict[str, str]:
    """What an item of this name has, whoever wrote it."""
    if name.kind == SESSION:
        return {RECORD_SERVICE: name.service, RECORD_NAME: name.name}
    return {SERVICE: name.service, NAME: name.name}


def attributes_of(name: ItemName) -> dict[str, str]:
    """What a new item gets."""
    return search_of(name) if name.kind == SESSION else {**search_of(name), **_APPLICATION}


def label_of(name: ItemName) -> str:
    """What a person sees; KWallet refuses an empty one."""
    if name.kind == SESSION:
        return f"Session of '{name.name}' with '{name.service}'"
    return f"Password for '{name.name}' on '{name.service}'"


def name_of(attributes: dict[str, str], service: str) -> ItemName | None:
    """The name that the attributes stand for; None if it is not one of ours."""
    for kind, key, by in ((ITEM, NAME, SERVICE), (SESSION, RECORD_NAME, RECORD_SERVICE)):
        if key in attributes and attributes.get(by) == service:
            try:
                return ItemName(service, attributes[key], kind)
            except InvalidName:
                return None  # nobody can ask for it by this name here
    return None
