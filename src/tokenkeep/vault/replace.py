"""Replacing everything about a vault's keys at once, after somebody may have had one of them.

One header takes the place of the other: from then on the new keys open the vault, no old one does,
and every item is moved under a new root key and a new DEK. Killed before, nothing has changed;
killed after, the same call with the same new keys goes on, for which the new slots are marked.
"""

from __future__ import annotations

from tokenkeep.errors import (
    SecretDamaged,
    StoreUnavailable,
    TokenkeepError,
    UnsupportedOption,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.vault import slots
from tokenkeep.vault.creation import name_vault
from tokenkeep.vault.format import Slot
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.leftovers import forget, forget_unpublished
from tokenkeep.vault.rekey import RekeyReport, move_all, new_root, require_one_root
from tokenkeep.vault.vault import Vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from tokenkeep.secret import Secret
    from tokenkeep.vault.engine import Engine
    from tokenkeep.vault.format import Header
    from tokenkeep.vault.keys import Keys
    from tokenkeep.vault.slots import Key

#: On the slots of a replacement that is not through.
_MARK = "replacing"
#: Kinds of key whose secret may be an old slot's; all others make one for each slot.
_REUSABLE = ("key-file", "passphrase", "systemd-credential")


class ReplaceReport:
    """What a replacement did.

    Attributes:
        rekeyed: what became of the items.
        dropped: the slots that opened the vault before; none where this went on with one that was
            interrupted.
        problems: why something that an old key kept elsewhere, such as an item in the platform's
            store, may still be there; it opens nothing.
    """

    __slots__ = ("dropped", "problems", "rekeyed")

    def __init__(
        self,
        rekeyed: RekeyReport,
        dropped: tuple[Slot, ...] = (),
        problems: tuple[TokenkeepError, ...] = (),
    ) -> None:
        self.rekeyed = rekeyed
        self.dropped = dropped
        self.problems = problems

    def __repr__(self) -> str:
        return f"ReplaceReport({self.rekeyed!r}, dropped={len(self.dropped)})"


def every_name(vault: Vault, call: Callable[[], Call]) -> tuple[list[ItemName], int]:
    """Every item of every application, sorted, and how many have a name that does not open.

    Raises:
        StoreError: the vault does not open.
    """

    def found(engine: Engine, keys: Keys) -> tuple[list[ItemName], int]:
        names, unnamed = set(), 0
        for place_a, sealed in engine.rows(call(), "SELECT place_a, name FROM item"):
            try:
                names.add(keys.open_name(place_a, sealed))
            except (SecretDamaged, TypeError):
                unnamed += 1
        return sorted(names), unnamed

    return vault.look(call(), found)


def was_begun(header: Header, new_keys: tuple[Key, ...], call: Call) -> bool:
    """Whether `replace_all` with these keys was interrupted after the new ones opened the vault.

    Raises:
        UnsupportedOption: it was not, and one of them opens the vault: it is no new key.
        StoreUnavailable: a key file belongs to another vault.
    """
    is_open = any(_MARK in slot.extra for slot in header.slots)
    for key in new_keys:
        if isinstance(key, KeyFile) and not _is_there(key, header.vault_id):
            continue
        if (is_open or key.kind in _REUSABLE) and slots.open_each(
            header, header.slots, (key,), call
        ):
            if is_open:
                return True
            raise UnsupportedOption(
                "this key opens the vault already: after a compromise it takes a new one",
                hint="give another key file or passphrase",
            )
    return False


def replace_all(
    vault: Vault,
    new_keys: tuple[Key, ...],
    call: Callable[[], Call],
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    step: Callable[[str], None] = lambda _name: None,
) -> ReplaceReport:
    """Replaces root key, DEKs and all key slots: afterwards `new_keys` open the vault, no others.

    Args:
        vault: opened by an old key, or by a new one where this was interrupted; its keys include
            the new ones.
        call: gives every batch its own deadline.
        progress: told how many of how many items are done.
        step: told before each step; what it raises is a crash there.

    Raises:
        UnsupportedOption: a new key opens the vault already, or none is given.
        SecretDamaged: items that do not open keep the vault from getting a new root key.
        WriteConflict: somebody else began to replace the root key meanwhile.
        StoreError: a new key cannot be made; nothing has changed.
    """
    if not new_keys:
        raise UnsupportedOption("a vault needs at least one new key")
    keys = vault.newest(call())[1]
    if was_begun(keys.header, new_keys, call()):
        return ReplaceReport(_finish(vault, new_keys, call, progress, step))
    if keys.header.is_rekeying:
        move_all(vault, call, progress, step)
        keys = vault.newest(call())[1]
    require_one_root(keys.header)
    made: list[tuple[Slot, Secret]] = []
    dropped: list[Slot] = []

    def change(_connection: Connection, keys: Keys) -> tuple[Header, Secret]:
        dropped[:] = keys.header.slots
        return new_root(keys, lambda header, root: _around(made, root, header.vault_id))

    try:
        _make_slots(made, new_keys, keys, call, step)
        vault.change_header(call(), change, step)
    except TokenkeepError:
        forget_unpublished(vault, new_keys, [slot for slot, _kek in made], call())
        raise
    report = _finish(vault, new_keys, call, progress, step)
    step("forget")
    problems: list[TokenkeepError] = []
    for slot in dropped:
        try:
            forget(vault.keys, slot, keys.vault_id, call())
        except TokenkeepError as exc:
            problems.append(exc.with_traceback(None))
    return ReplaceReport(report, tuple(dropped), tuple(problems))


def _finish(
    vault: Vault,
    new_keys: tuple[Key, ...],
    call: Callable[[], Call],
    progress: Callable[[int, int], None],
    step: Callable[[str], None],
) -> RekeyReport:
    step("name")
    name_vault(new_keys, vault.opened(call())[1].vault_id)
    report = move_all(vault, call, progress, step)

    def through(_connection: Connection, keys: Keys) -> tuple[Header, Secret]:
        unmarked = tuple(_with_mark(slot, is_set=False) for slot in keys.header.slots)
        return keys.header.following(slots=unmarked), keys.root

    step("unmark")
    vault.change_header(call(), through, step)
    return report


def _make_slots(
    made: list[tuple[Slot, Secret]],
    new_keys: tuple[Key, ...],
    keys: Keys,
    call: Callable[[], Call],
    step: Callable[[str], None],
) -> None:
    """Makes a slot for each key; `made` takes each as soon as there is one."""
    for key in new_keys:
        step("key")
        if isinstance(key, KeyFile):
            key.make()
            key.require_nameable()
        made.append(slots.new_slot(key, "", keys.root, keys.vault_id, call()))


def _around(made: list[tuple[Slot, Secret]], root: Secret, vault_id: bytes) -> tuple[Slot, ...]:
    return tuple(
        _with_mark(slots.rewrapped(slot, kek, root, vault_id), is_set=True) for slot, kek in made
    )


def _with_mark(slot: Slot, *, is_set: bool) -> Slot:
    if slot.is_damaged:
        return slot
    extra = {name: value for name, value in slot.extra.items() if name != _MARK}
    return Slot(
        slot_id=slot.id,
        kind=slot.kind,
        label=slot.label,
        salt=slot.salt,
        wrapped=slot.wrapped,
        profile=slot.profile,
        extra={**extra, _MARK: b"1"} if is_set else extra,
    )


def _is_there(key: KeyFile, vault_id: bytes) -> bool:
    from tokenkeep.vault import files

    if not files.exists(key.path):
        return False
    _key, named, _extra = key.read()
    if named and named != vault_id:
        raise StoreUnavailable(
            f"the key file belongs to another vault: {key.path}", hint="make a new key file"
        )
    return True
