"""What becomes of stored items when something happens to the device, told from a store's facts.

`doctor` prints it for the store in use; the table of stores in the documentation is made of it.
"""

from __future__ import annotations

from tokenkeep.store import Persistence, Protection, StoreFacts

__all__ = ["outlook"]


def outlook(facts: StoreFacts) -> dict[str, str]:
    """Each mishap with what it does to the items, and what to do then; most harmless first."""
    return {
        "locking": _locking(facts),
        "rebooting": _rebooting(facts),
        "reinstalling the application": _reinstalling(facts),
        "restoring a backup": _restoring(facts),
        "resetting the device": "everything is lost that was not exported; sign in again",
    }


def _locking(facts: StoreFacts) -> str:
    if facts.readable_when_locked:
        return "nothing: items stay readable"
    if facts.readable_when_locked is None:
        return "items may be refused with StoreLocked until the store is unlocked; nothing is lost"
    return "items are refused with StoreLocked until the store is unlocked; nothing is lost"


def _rebooting(facts: StoreFacts) -> str:
    if facts.persistence is not Persistence.UNTIL_DELETED:
        return f"everything is lost: items live for the {facts.persistence.value}; sign in again"
    if facts.readable_when_locked:
        return "nothing"
    return "items are there, and refused with StoreLocked until the first unlocking"


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
    if facts.protection is Protection.HARDWARE:
        return (
            "the key stays with the old hardware: SecretInvalidated until storage.reset();"
            " then sign in again"
        )
    newer = "whatever is newer than the backup is lost; sessions may need a new login"
    return newer if facts.in_backups else f"if items are in the backup, {newer}"
