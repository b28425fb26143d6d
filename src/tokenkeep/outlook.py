"""What becomes of stored items when something happens to the device, told from a store's facts.

`doctor` prints it for the store in use; the table of stores in the documentation is made of it.
"""

from __future__ import annotations

from tokenkeep.store import Persistence, StoreFacts

__all__ = ["outlook"]


def outlook(facts: StoreFacts) -> dict[str, str]:
    """Each mishap with what it does to the items, and what to do then; most harmless first."""
    return {
        "locking": _locking(facts),
        "rebooting": _rebooting(facts),
        "reinstalling the application": _reinstalling(facts),
        "restoring a backup": _restoring(facts),
        "resetting the device": _resetting(facts),
    }


def _locking(facts: StoreFacts) -> str:
    if facts.readable_when_locked:
        return "nothing: items stay readable"
    may = "may be" if facts.readable_when_locked is None else "are"
    return f"items {may} refused with StoreLocked until the store is unlocked; nothing is lost"


def _rebooting(facts: StoreFacts) -> str:
    if facts.persistence is not Persistence.UNTIL_DELETED:
        return f"everything is lost: items live for the {facts.persistence.value}; sign in again"
    if facts.locked_after_boot is False:
        return "nothing"
    may = "may be refused" if facts.locked_after_boot is None else "refused"
    return f"items are there, and {may} with StoreLocked until the first unlocking"


def _reinstalling(facts: StoreFacts) -> str:
    if facts.persistence is not Persistence.UNTIL_DELETED:
        return f"nothing, within the {facts.persistence.value}"
    if facts.survives_uninstall is None:
        return "items may stay; sessions of the old installation are treated as the policy says"
    if facts.survives_uninstall:
        return "items stay; sessions of the old installation are treated as the policy says"
    return "everything is lost: the store goes with the application; sign in again"


def _restoring(facts: StoreFacts) -> str:
    if facts.in_backups is False:
        return "items are in no backup; where the application's data is, sign in again"
    if facts.persistence is not Persistence.UNTIL_DELETED:
        return (
            f"items open within the {facts.persistence.value} that the backup was made in, and"
            " nowhere else: there storage.reset(), then sign in again"
        )
    if facts.opens_elsewhere is False and facts.survives_uninstall is False:
        return (
            "items open in the installation that wrote them, and nowhere else: there"
            " storage.reset(), then sign in again"
        )
    items = "items" if facts.in_backups else "items that are in the backup"
    newer = "what is newer than the backup is lost; sessions may need a new login"
    if facts.opens_elsewhere:
        return f"{items} open again, on another machine too with what opens them; {newer}"
    cannot = "may not open" if facts.opens_elsewhere is None else "does not open"
    return (
        f"on the same machine {items} open again; {newer}; another machine {cannot} them: there"
        " storage.reset(), then sign in again"
    )


def _resetting(facts: StoreFacts) -> str:
    synced = "what was synced comes back with the account; " if facts.syncs else ""
    lasts = facts.persistence is Persistence.UNTIL_DELETED
    if lasts and facts.in_backups and facts.opens_elsewhere:
        return f"{synced}what is in no backup and no export is lost; sign in again"
    return f"{synced}everything is lost that was not exported; sign in again"
