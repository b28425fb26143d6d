"""Which item a credential is, and under which targets an item may lie. No input or output.

A credential is found by its target, whose case Windows ignores, while item names differing only in
case are different items. So there are two kinds of target:

* python-keyring's: the service alone, or `name@service`, with the name as user name. What lies
  there is the item only if target and user name are exactly the item's, so that a credential of
  another case, or of another split at "@", is never taken for it. Only text lies there.
* our own: `tokenkeep:KIND:LENGTH:HASH`, the hash over kind, service and name. For our own records,
  for values that are no text, for names that Windows may not keep as they are, and for those whose
  place is taken.

Nobody but the hash decides about the second; its user name tells `names` the item's name.
"""

from __future__ import annotations

import hashlib

from tokenkeep import fields
from tokenkeep.backends.windows.text import TEXT
from tokenkeep.errors import InvalidName
from tokenkeep.item import ITEM, KINDS, ItemName
from tokenkeep.native.wincred import Credential

_OURS = "tokenkeep"
#: Wine names a registry key of at most 255 characters after it, nine of them its own. Windows
#: allows 32,767, and whatever keyring wrote at that length is found.
_LONGEST_PLAIN = 240
#: One less than CRED_MAX_USERNAME_LENGTH: whether the limit counts the final NUL is not said.
_LONGEST_USER = 512


def targets(name: ItemName) -> tuple[str, ...]:
    """Where the item may lie, in the order in which python-keyring looks, then our own place."""
    if name.kind != ITEM:
        return (own_target(name),)
    shared = (name.service, keyring_target(name))
    return (*(each for each in shared if _parts(each) is None), own_target(name))


def keyring_target(name: ItemName) -> str:
    """Where python-keyring looks if another of the service's names has the service's place."""
    return f"{name.name}@{name.service}"


def own_target(name: ItemName) -> str:
    """A target that only this item has, in any case."""
    return f"{_OURS}:{name.kind}:{len(name.name)}:{_digest(name)}"


def may_stay(name: ItemName, target: str) -> bool:
    """Whether text may be written where the item lies already, which is python-keyring's place.

    Not under the service alone if that reads as `name@another service` too: what we write there is
    always the other's.
    """
    return target == keyring_target(name) or (
        target == name.service and not target.startswith(f"{name.name}@")
    )


def may_share(name: ItemName) -> bool:
    """Whether a new item may lie where python-keyring finds it."""
    target = keyring_target(name)
    return (
        name.kind == ITEM
        and len(target) <= _LONGEST_PLAIN
        and _parts(target) is None
        # Blanks at the ends, control characters and wildcards: nobody says that Windows keeps them.
        and target.isprintable()
        and name.name == name.name.strip()
        and target == target.strip()
        and "*" not in target
    )


def user_of(name: ItemName, target: str) -> str:
    """The user name of the credential that keeps an item under a target."""
    if target != own_target(name):
        return name.name
    # Brackets keep blanks at the ends; what follows is for people only.
    return f"[{name.name}] {name.service}"[:_LONGEST_USER].rstrip()


def holds(credential: Credential, name: ItemName, target: str) -> bool:
    """Whether what lies under a target of the item is the item."""
    if target == own_target(name):
        return credential.target.lower() == target
    if credential.target != target or credential.user != name.name:
        return False
    return target == keyring_target(name) or not _is_of_another_service(credential)


def item_of(credential: Credential, service: str) -> ItemName | None:
    """The item of the service that a credential keeps; None if it keeps none."""
    parts = _parts(credential.target)
    if parts is None:
        is_split = credential.target == f"{credential.user}@{service}"
        if not is_split and (credential.target != service or _is_of_another_service(credential)):
            return None
        return _named(service, credential.user, ITEM)
    kind, length, digest = parts
    name = _named(service, credential.user[1 : 1 + length], kind)
    return name if name is not None and _digest(name) == digest else None


def _is_of_another_service(credential: Credential) -> bool:
    """Whether what lies under a service's own name is ours, as `name@another service`.

    What python-keyring wrote can be both at once: it finds it under either name, and so do we.
    """
    return credential.comment == TEXT and credential.target.startswith(f"{credential.user}@")


def _named(service: str, name: str, kind: str) -> ItemName | None:
    """The item's name; None for what no item can be called, such as an empty user name."""
    try:
        return ItemName(service, name, kind)
    except InvalidName:
        return None


def _parts(target: str) -> tuple[str, int, str] | None:
    """Kind, length and hash, if it is one of our own targets."""
    pieces = target.lower().split(":")
    if len(pieces) != 4 or pieces[0] != _OURS or pieces[1] not in KINDS:
        return None
    if not (pieces[2].isascii() and pieces[2].isdigit() and len(pieces[3]) == 64):
        return None
    return pieces[1], int(pieces[2]), pieces[3]


def _digest(name: ItemName) -> str:
    parts = (name.kind, name.service, name.name)
    joined = fields.join(*(part.encode("utf-8") for part in parts))
    return hashlib.sha256(joined).hexdigest()
