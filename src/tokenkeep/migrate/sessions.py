"""Moving sessions from one store to another: one copy at any time that counts, and no way back.

A refresh token in two places is taken for a stolen one. So a session moves in one go, under its
account's fence, and only if its log says that it lives: written, read back, erased in the old
place. Killed between, the next call goes on with the newer of the two. Programs that use the old
store should have ended: one that could not save its session would put it back there.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenkeep.errors import SecretDamaged, SecretInvalidated, UnsupportedOption, WriteConflict
from tokenkeep.item import MIGRATION, SESSION, ItemName
from tokenkeep.migrate.fingerprint import new_id
from tokenkeep.migrate.report import MigratedItem, MigrationReport, Outcome
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.tokens.kept import KeptRecord, Left, shred
from tokenkeep.tokens.record import Record, decode


def move_sessions(
    old: SecureStorage, new: SecureStorage, step: Callable[[str], object] = lambda _name: None
) -> MigrationReport:
    """Moves every session that lives; the others stay, and the next restore there erases them.

    Args:
        step: told before each step; what it raises is a crash there.

    Returns:
        By account: REMOVE for a session that is in the new place now and gone from the old one,
        EMPTIED where the old one deletes only what a person agrees to (its history may keep the
        token), CHANGED for one that has ended, UNREADABLE for a record that does not open. The
        report says whether old bytes are pending.

    Raises:
        UnsupportedOption: the two are the same place, or have different logs: another service or
            state directory.
        RefreshUnavailable: somebody is busy with a session; the ones before have moved.
        WriteConflict: a record did not read back; the session is in the old place.
        StoreError: one of the places cannot be used now; call again.
    """
    if (old.service, old.state_directory) != (new.service, new.state_directory):
        raise UnsupportedOption("a session stays with its application and its log")
    names = _session_names(old)
    if names:
        _require_two_places(old, new)
    moved, is_shredded, pending = [], False, False
    for name in names:
        account, outcome = name.name, Outcome.UNREADABLE
        try:
            value = old.store.read(name, old.call())
            if value is None or not value.size:
                continue  # deleted meanwhile, or erased as far as the store allows
            account = decode(value).account or account
            here, there = (
                KeptRecord(each, account, name.name, None, "keep") for each in (old, new)
            )
            outcome = _move(here, there, step)
            if outcome in (Outcome.REMOVE, Outcome.EMPTIED):
                # That it is done holds for those before, too.
                is_shredded, pending = True, not here.shred()
        except (SecretDamaged, SecretInvalidated):
            pass  # it stays where it is
        moved.append(MigratedItem(account, account, outcome))
    if not is_shredded and _session_names(new):
        # A call that was killed may have erased one of these here, and no more.
        pending = not shred(old)
    return MigrationReport(tuple(moved), pending)


def _session_names(storage: SecureStorage) -> list[ItemName]:
    found = storage.store.names(storage.service, storage.call())
    return [name for name in found if name.kind == SESSION]


def _require_two_places(old: SecureStorage, new: SecureStorage) -> None:
    """Ends what would write a session over itself and then erase it."""
    name = ItemName(new.service, new_id(), MIGRATION)
    new.store.write(name, Secret(b""), new.call())
    try:
        is_one = old.store.read(name, old.call()) is not None
    finally:
        new.store.delete(name, new.call())
    if is_one:
        raise UnsupportedOption("the old place and the new one are the same place")


def _move(old: KeptRecord, new: KeptRecord, step: Callable[[str], object]) -> Outcome:
    with old.hold("import"):
        record = old.load()
        if record is None:
            return Outcome.CHANGED
        found = _stored(new)
        if found is None or found.session_id != record.session_id:
            step("write session")
            new.write(record)
        elif found.generation < record.generation:
            step("write session")
            new.replace(found, record)
        kept = new.stored()
        if kept is None or kept.session_id != record.session_id:
            raise WriteConflict("a session's record did not read back", hint="try again")
        if old.has_ended(record.session_id):  # a logout needs no fence to say so
            new.erase_dead()
            return Outcome.CHANGED
        step("erase session")
        left = old.erase()
        step("erased session")
    return Outcome.EMPTIED if left == Left.EMPTY else Outcome.REMOVE


def _stored(kept: KeptRecord) -> Record | None:
    """What lies in the new place; None also for what does not open, which a write sets aside."""
    try:
        return kept.stored()
    except SecretDamaged:
        return None
