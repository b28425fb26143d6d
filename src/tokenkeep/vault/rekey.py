"""Replacing a vault's keys while it is in use: online, in batches, resumable.

A new DEK needs no slot but the one at hand. A new root key, which is what takes the vault away from
somebody who had a key, needs every key that shall go on opening it. Readers and writers in other
processes follow through the header's generation; items that were not reached yet are found and
opened by the old keys, which the header keeps until nothing needs them.
"""

from __future__ import annotations

from tokenkeep.crypto import KEY_BYTES, random_bytes
from tokenkeep.errors import SecretDamaged, TokenkeepError, VaultKeyMissing, WriteConflict
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault import erasing, quarantine, slots
from tokenkeep.vault import keys as wrapping
from tokenkeep.vault.access import without_slot
from tokenkeep.vault.envelope import key_id_of, subject
from tokenkeep.vault.format import KEY_ID_BYTES, Header, Slot
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.leftovers import forget
from tokenkeep.vault.rows import following
from tokenkeep.vault.vault import Vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection
    from typing import Any

#: Items per transaction: some ten milliseconds, so that writers elsewhere get their turn.
BATCH = 200


class RekeyReport:
    """What a rekey did.

    Attributes:
        items: how many items are sealed with the new keys now.
        damaged: how many do not open; they lie as they were, and keep their old key in the header.
        pending: old bytes remain in the files for now; see `Erased.pending`.
        problem: why something that the removed slot's key keeps elsewhere, such as an item in the
            platform's store, is still there; it opens nothing any more.
    """

    __slots__ = ("damaged", "items", "pending", "problem")

    def __init__(self, items: int, damaged: int, pending: bool) -> None:
        self.items = items
        self.damaged = damaged
        self.pending = pending
        self.problem: TokenkeepError | None = None

    def __repr__(self) -> str:
        return f"RekeyReport(items={self.items}, damaged={self.damaged}, pending={self.pending})"


def rekey(
    vault: Vault,
    call: Callable[[], Call],
    *,
    root: bool = False,
    remove: bytes | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    step: Callable[[str], None] = lambda _name: None,
) -> RekeyReport:
    """Replaces the DEK, or the root key and the DEK; finishes an interrupted rekey first.

    Args:
        call: gives every batch its own deadline.
        root: replace the root key too: every remaining slot has to be opened by a key of `vault`.
        remove: the slot of a holder who shall be out; implies `root`.
        progress: told how many of how many items are done.
        step: told before each step; what it raises is a crash there.

    Raises:
        VaultKeyMissing: a slot that shall remain is opened by none of the keys.
        UnsupportedOption: `remove` names no slot, or the last one that is not damaged.
        WriteConflict: somebody else began to replace the root key meanwhile.
    """
    root = root or remove is not None
    _engine, keys = vault.newest(call())
    header = keys.header
    if header.is_rekeying:
        report = move_all(vault, call, progress, step)
        is_removed = remove is None or all(slot.id != remove for slot in header.slots)
        if is_removed and (header.previous_root or not root):
            return report
        keys = vault.newest(call())[1]
    if root:
        require_one_root(keys.header)
        keks = _keks(vault, keys.header, remove, call())

        def wrapped_again(header: Header, root: Secret) -> tuple[Slot, ...]:
            remaining = _remaining(header, remove)
            missing = [slot for slot in remaining if slot.id not in keks]
            if missing:  # added while we asked for the keys
                raise _key_missing(missing)
            return tuple(
                slots.rewrapped(slot, keks[slot.id], root, header.vault_id) for slot in remaining
            )

        vault.change_header(call(), lambda _connection, keys: new_root(keys, wrapped_again), step)
    else:
        vault.change_header(call(), _new_dek, step)
    report = move_all(vault, call, progress, step)
    for slot in keys.header.slots:
        if slot.id == remove:
            step("forget")
            try:
                forget(vault.keys, slot, keys.vault_id, call())
            except TokenkeepError as exc:
                report.problem = exc.with_traceback(None)  # everything else is done
    return report


def require_one_root(header: Header) -> None:
    """Ends an attempt to replace a root key while another one is still being replaced.

    Items lie at the places of two root keys at most: those of a third nobody would find.

    Raises:
        SecretDamaged: items that do not open need the one before.
        WriteConflict: somebody else is at it.
    """
    if header.previous_root and header.is_rekeying:
        raise WriteConflict("the root key is being replaced already", hint="tokenkeep vault rekey")
    if header.previous_root:
        raise SecretDamaged(
            "damaged items keep the vault from getting a new root key",
            hint="tokenkeep vault check, then delete or write them anew",
        )


def _new_dek(_connection: Connection, keys: Keys) -> tuple[Header, Secret]:
    key_id = random_bytes(KEY_ID_BYTES)
    wrapped = wrapping.wrap_key(keys.root, keys.vault_id, key_id, Secret(random_bytes(KEY_BYTES)))
    header = keys.header.following(
        current_key=key_id,
        wrapped_keys={**keys.header.wrapped_keys, key_id: wrapped},
        is_rekeying=True,
    )
    return header, keys.root


def new_root(
    keys: Keys, slots_of: Callable[[Header, Secret], tuple[Slot, ...]]
) -> tuple[Header, Secret]:
    """The header under a new root key, with a new DEK, and the key; `move_all` does the rest.

    Args:
        slots_of: the slots that open from now on, given the header as it was and the new root key.

    Raises:
        SecretDamaged, WriteConflict: as `require_one_root`.
    """
    require_one_root(keys.header)
    old, vault_id = keys.header, keys.vault_id
    root, key_id = Secret(random_bytes(KEY_BYTES)), random_bytes(KEY_ID_BYTES)
    wrapped = {
        each: wrapping.wrap_key(
            root, vault_id, each, wrapping.unwrap_key(keys.root, vault_id, each, blob)
        )
        for each, blob in old.wrapped_keys.items()
    }
    wrapped[key_id] = wrapping.wrap_key(root, vault_id, key_id, Secret(random_bytes(KEY_BYTES)))
    header = old.following(
        current_key=key_id,
        wrapped_keys=wrapped,
        is_rekeying=True,
        previous_root=wrapping.wrap_previous_root(root, vault_id, keys.root),
        slots=slots_of(old, root),
    )
    return header, root


def _remaining(header: Header, remove: bytes | None) -> tuple[Slot, ...]:
    return header.slots if remove is None else without_slot(header, remove)


def _keks(vault: Vault, header: Header, remove: bytes | None, call: Call) -> dict[bytes, Secret]:
    remaining = _remaining(header, remove)
    keks = slots.open_each(header, remaining, vault.keys, call)
    missing = [slot for slot in remaining if slot.id not in keks]
    if missing:
        raise _key_missing(missing)
    return keks


def _key_missing(missing: list[Slot]) -> VaultKeyMissing:
    which = ", ".join(f"{slot.id.hex()} ({slot.label or slot.kind})" for slot in missing)
    return VaultKeyMissing(
        f"a new root key needs every key that shall go on opening the vault; missing: {which}",
        hint="give all of them, or remove those keys first: tokenkeep vault remove-key",
    )


def move_all(
    vault: Vault,
    call: Callable[[], Call],
    progress: Callable[[int, int], None],
    step: Callable[[str], None],
) -> RekeyReport:
    """Seals every item with the current keys, retires the old ones, and erases the old bytes."""
    while True:
        moved = _walk(vault, call, progress, step)
        step("quarantine")
        moved.unplaced += vault.transaction(call(), _move_quarantine) or 0
        step("retire")

        def retire(
            connection: Connection, keys: Keys, moved: _Moved = moved
        ) -> tuple[Header, Secret] | None:
            # Of keys that somebody began to replace meanwhile this walk knows nothing.
            if keys.current_key != moved.to:
                return None
            return _retired(connection, keys, moved.unplaced)

        after = vault.change_header(call(), retire, step, moved.identity)
        if after.current_key == moved.to:
            break
    step("erase")
    return RekeyReport(moved.items, moved.damaged, erasing.shred(vault, call()))


class _Moved:
    """What a walk over the items did, or one batch of it.

    Attributes:
        identity: of the database that it walked through.
        to: the id of the DEK that it began to seal with.
        last: the place where it ended; None if there was nothing more.
        unplaced: how many of the damaged only the previous root key finds.
    """

    __slots__ = ("damaged", "identity", "items", "last", "to", "unplaced")

    def __init__(self, to: bytes) -> None:
        self.to = to
        self.identity: tuple[int, int] | None = None
        self.last: bytes | None = None
        self.items = 0
        self.damaged = 0
        self.unplaced = 0


def _walk(
    vault: Vault,
    call: Callable[[], Call],
    progress: Callable[[int, int], None],
    step: Callable[[str], None],
) -> _Moved:
    engine, keys = vault.newest(call())
    (total,) = engine.row(call(), "SELECT count(*) FROM item")
    moved, after = _Moved(keys.current_key), b""
    moved.identity = engine.identity
    placed: set[bytes] = set()  # a new root key moves items ahead of us, where we meet them again
    while True:
        step("batch")
        batch = vault.transaction(call(), _batch(after, placed), size=BATCH * 512)
        assert batch is not None
        if batch.last is None:
            return moved
        after = following(after, batch.last)
        moved.items += batch.items
        moved.damaged += batch.damaged
        moved.unplaced += batch.unplaced
        done = moved.items + moved.damaged
        progress(min(done, total), max(total, done))


def _batch(after: bytes, placed: set[bytes]) -> Callable[[Connection, Keys], _Moved]:
    def move(connection: Connection, keys: Keys) -> _Moved:
        result = _Moved(keys.current_key)
        for row in connection.execute(
            "SELECT place_a, place_b, name, envelope FROM item WHERE place_a > ?"
            " ORDER BY place_a LIMIT ?",
            (after, BATCH),
        ).fetchall():
            result.last = row[0]
            if row[0] in placed:
                continue
            try:
                if not _move(connection, keys, row, placed):
                    result.damaged += 1
                    continue
            except SecretDamaged:
                # Whose item it is, only its name could say: it stays where its name finds it.
                result.unplaced += 1
                result.damaged += 1
                continue
            result.items += 1
        return result

    return move


def _move(
    connection: Connection, keys: Keys, row: tuple[Any, Any, Any, Any], placed: set[bytes]
) -> bool:
    """Seals an item with the current keys and puts it where they find it; False if damaged.

    Raises:
        SecretDamaged: its name does not open.
    """
    place_a, place_b, sealed_name, sealed = row
    if not all(isinstance(each, bytes) for each in row):
        raise SecretDamaged("an item's entry is damaged")
    name = keys.open_name(place_a, sealed_name)
    what = subject(name)
    place = keys.finder.place(name.service, what)
    try:
        value = keys.open_value(what, sealed)
    except SecretDamaged:
        value = None  # keeps its envelope, and with it its old key
    if (
        place == (place_a, place_b)
        and key_id_of(sealed_name) == keys.current_key
        and (value is None or key_id_of(sealed) == keys.current_key)
    ):
        return value is not None
    if not any(finder.place(name.service, what) == (place_a, place_b) for finder in keys.finders()):
        raise SecretDamaged("an item's entry is damaged")
    connection.execute(
        "UPDATE item SET place_a = ?, place_b = ?, name = ?, envelope = ? WHERE place_a = ?",
        (
            *place,
            keys.seal_name(place[0], what),
            sealed if value is None else keys.seal_value(what, value),
            place_a,
        ),
    )
    placed.add(place[0])
    return value is not None


def _move_quarantine(connection: Connection, keys: Keys) -> int:
    """Seals what quarantine keeps with the current keys; how many entries stay as they are."""
    left = 0
    for number, place_a, sealed_name, sealed in connection.execute(
        "SELECT number, place_a, name, kept FROM quarantine"
    ).fetchall():
        try:
            if not (isinstance(place_a, bytes) and isinstance(sealed_name, bytes)):
                raise SecretDamaged("the entry is damaged")
            name = keys.open_name(place_a, sealed_name)
            what = subject(name)
            kept = quarantine.sealed_anew(keys, what, keys.open_quarantined(sealed))
        except SecretDamaged:
            left += 1
            continue
        place = keys.finder.place(name.service, what)[0]
        connection.execute(
            "UPDATE quarantine SET place_a = ?, service = ?, name = ?, kept = ? WHERE number = ?",
            (
                place,
                b"".join(keys.finder.tags(name.service)),
                keys.seal_name(place, what),
                keys.seal_quarantined(kept),
                number,
            ),
        )
    return left


def _retired(connection: Connection, keys: Keys, unplaced: int) -> tuple[Header, Secret]:
    """The header without the keys that nothing needs any more."""
    used = {keys.current_key}
    for (key_id,) in connection.execute(
        "SELECT substr(envelope, 2, 8) FROM item UNION SELECT substr(name, 2, 8) FROM item"
        " UNION SELECT substr(kept, 2, 8) FROM quarantine"
        " UNION SELECT substr(name, 2, 8) FROM quarantine"
    ):
        used.add(key_id)
    used |= quarantine.keys_within(connection, keys)
    old = keys.header
    kept = {key_id: blob for key_id, blob in old.wrapped_keys.items() if key_id in used}
    previous_root = old.previous_root if unplaced else b""
    header = old.following(wrapped_keys=kept, previous_root=previous_root, is_rekeying=False)
    return header, keys.root
