"""The contract between tokenkeep and every place that keeps secrets.

`Store` is four calls and a statement of facts. An ability beyond the four is a small Protocol of
its own. `tokenkeep.testing.StoreContract` is this page as tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Protocol, runtime_checkable

from tokenkeep.item import ITEM, KINDS, MIGRATION, SESSION, Call, Interaction, ItemName
from tokenkeep.secret import Secret

__all__ = [
    "ITEM",
    "KINDS",
    "MIGRATION",
    "SESSION",
    "Call",
    "Erasing",
    "Indexed",
    "Inspectable",
    "Interaction",
    "Isolation",
    "ItemName",
    "Persistence",
    "Protection",
    "Require",
    "Resettable",
    "Store",
    "StoreFacts",
    "Tracking",
    "Transactional",
    "UnlockSignals",
    "Unlockable",
    "Versioned",
]


class Protection(IntEnum):
    """What stands between the stored bytes and somebody who copies them; higher is stronger."""

    MEMORY = 0
    FILE_PERMISSIONS = 1
    PASSPHRASE = 2
    LOGIN = 3
    HARDWARE = 4


class Persistence(Enum):
    """How long an item stays when nobody deletes it."""

    PROCESS = "process"
    LOGIN = "login"
    BOOT = "boot"
    UNTIL_DELETED = "until deleted"


class Isolation(Enum):
    """Who else can read the items."""

    APPLICATION = "application"
    USER = "user"


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What is true of a store here and now; shown by `doctor`, demanded by `Require`.

    A fact that cannot be known is None and is treated as the weaker answer.

    Args:
        readable_when_locked: the items open while the device or the store is locked.
        locked_after_boot: after a reboot the items are refused until somebody has unlocked it once.
        opens_elsewhere: what a backup holds opens on another machine too, with what the person
            has: a password, a key file. False if what opens the items never leaves the machine.
    """

    backend: str
    protection: Protection
    persistence: Persistence
    isolation: Isolation
    may_prompt: bool
    survives_uninstall: bool | None
    in_backups: bool | None
    syncs: bool
    readable_when_locked: bool | None
    max_value_bytes: int | None
    locked_after_boot: bool | None = None
    opens_elsewhere: bool | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Require:
    """The least an application accepts of a store; `SecureStorage(require=...)` enforces it."""

    protection: Protection = Protection.MEMORY
    persistence: Persistence | None = None
    isolation: Isolation | None = None
    allow_prompts: bool = True
    allow_sync: bool = True
    allow_backups: bool = True

    def unmet(self, facts: StoreFacts) -> list[str]:
        """Why these facts do not satisfy the demand, one clause each; empty if they do."""
        reasons = []
        if facts.protection < self.protection:
            reasons.append(
                f"protection is {facts.protection.name}, {self.protection.name} is required"
            )
        if self.persistence is not None and facts.persistence is not self.persistence:
            reasons.append(
                f"persistence is {facts.persistence.value!r},"
                f" {self.persistence.value!r} is required"
            )
        if self.isolation is Isolation.APPLICATION and facts.isolation is not self.isolation:
            reasons.append("items are not isolated from other programs of the same user")
        if not self.allow_prompts and facts.may_prompt:
            reasons.append("it may show a prompt")
        if not self.allow_sync and facts.syncs:
            reasons.append("it syncs to other devices")
        if not self.allow_backups and facts.in_backups is not False:
            reasons.append("its contents may be in backups")
        return reasons


@runtime_checkable
class Store(Protocol):
    """Keeps items. Safe beside other threads, forks and processes.

    Every call raises, besides what it names: `StoreLocked`, `StoreUnavailable`, `StoreTimeout`
    (by the call's deadline), `InteractionDenied`, `AccessDenied`. A temporary failure never erases
    anything and no failure is turned into "absent".
    """

    @property
    def facts(self) -> StoreFacts:
        """What protects the items. Opens nothing, prompts never."""
        ...

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """The item's value; None if it is absent. Never moves, mends or creates anything.

        Raises:
            SecretInvalidated: the key behind it is gone for good.
            SecretDamaged: it is there and does not open.
            FormatUnsupported: a newer version wrote it.
        """
        ...

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """Keeps the value, durably and atomically: old or new, never neither.

        An empty value is a value. An item that does not open is kept in quarantine, in the same
        transaction.

        Raises:
            ValueTooLarge, StoreFull: nothing changed.
        """
        ...

    def delete(self, name: ItemName, call: Call) -> bool:
        """Erases the item and whatever quarantine holds under its name; True if it existed."""
        ...

    def names(self, service: str, call: Call) -> list[ItemName]:
        """Every item of the service, of every kind, sorted; never opens a value."""
        ...


@runtime_checkable
class Transactional(Protocol):
    """A store that can make a write depend on what it finds."""

    def replace(
        self, name: ItemName, expected: Secret | None, value: Secret | None, call: Call
    ) -> None:
        """Writes `value` (None: deletes) if the item is still `expected` (None: absent), at once.

        Raises:
            WriteConflict: it is something else now; nothing changed.
        """
        ...


@runtime_checkable
class Indexed(Protocol):
    """A store that finds one name without listing them all."""

    def contains(self, name: ItemName, call: Call) -> bool:
        """Whether the item exists, also if it would not open; never opens the value."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """A store in which the name of an item can be damaged, and the others still be listed."""

    def inspect(self, service: str, call: Call) -> tuple[list[ItemName], int]:
        """The items whose names open, of every kind, sorted, and how many more there are.

        Raises:
            As `Store.names`, but for the names that do not open.
        """
        ...


@runtime_checkable
class Versioned(Protocol):
    """A store that tells cheaply whether anything changed."""

    def version(self, call: Call) -> object:
        """A value that differs after every change made by anybody; opens no item."""
        ...


@runtime_checkable
class Tracking(Protocol):
    """A store that tells without opening anything which items were written."""

    def changes(self, service: str, since: object, call: Call) -> tuple[object, list[ItemName]]:
        """Which items of the service, of every kind, were written or removed; opens no value.

        Costs as little as the changes, and a look at every item's place at most.

        Args:
            since: what this method of this object gave first for this service; None for all items.

        Returns:
            What to give next time, and the names. That one is among them says only that it may have
            changed: it may have been written with the value that it had.
        """
        ...


class UnlockSignals(Protocol):
    """Listens for what may mean that a store was unlocked. Made by `Unlockable`."""

    def wait(self, seconds: float) -> bool:
        """Waits for a hint, so long at most; True if one came. A hint is a reason to look."""
        ...

    def close(self) -> None:
        """Stops listening."""
        ...


@runtime_checkable
class Unlockable(Protocol):
    """A store that hears of its unlocking, so that nobody has to ask again and again."""

    def unlock_signals(self, call: Call) -> UnlockSignals:
        """Begins to listen; opens no item and prompts never.

        Raises:
            StoreError: nothing can be heard now.
        """
        ...


@runtime_checkable
class Erasing(Protocol):
    """A store that must do more than deleting for the bytes to be gone."""

    def erase(self, service: str, call: Call) -> bool:
        """Erases every item of the service, every kind and quarantine, and the bytes behind them.

        Returns:
            True if the items are gone but old bytes remain for now ("pending"), because another
            process reads them, or for want of room or time; the next writer who can erases them.
        """
        ...

    def shred(self, call: Call) -> bool:
        """Makes the bytes of what `delete` and `write` removed be gone; returns as `erase`."""
        ...


@runtime_checkable
class Resettable(Protocol):
    """A store that can begin anew where erasing item by item is impossible without its key."""

    def reset(self, service: str, call: Call) -> str | None:
        """Erases the service's items, or sets aside what nothing can open any more.

        Returns:
            Where that lies now; None if the items were erased.

        Raises:
            StoreError: the store cannot tell, or may open again; nothing changed.
        """
        ...
