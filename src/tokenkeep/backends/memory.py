"""MemoryStore: items in this process's memory, gone with it.

For tests, and for applications that choose to keep nothing. It is also the reference that the
state machine of `tokenkeep.testing` compares every other store with.
"""

from __future__ import annotations

import os
import threading

from tokenkeep.errors import ValueTooLarge, WriteConflict
from tokenkeep.item import Call, ItemName, checked_name
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.clock import Clock
    from tokenkeep.store import StoreFacts


class MemoryOptions:
    """Asks for a `MemoryStore`: nothing outlives the process.

    Args:
        max_value_bytes: the largest value the store takes; None for no limit.
    """

    __slots__ = ("max_value_bytes",)

    max_value_bytes: int | None

    def __init__(self, *, max_value_bytes: int | None = None) -> None:
        object.__setattr__(self, "max_value_bytes", max_value_bytes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("options cannot be changed")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryOptions):
            return NotImplemented
        return self.max_value_bytes == other.max_value_bytes

    def __hash__(self) -> int:
        return hash(self.max_value_bytes)

    def __repr__(self) -> str:
        limit = self.max_value_bytes
        return f"MemoryOptions({'' if limit is None else f'max_value_bytes={limit}'})"


class MemoryStore:
    """A `Store`, also `Transactional`, `Indexed`, `Versioned` and `Erasing`.

    A forked child starts with a copy of its own.
    """

    def __init__(self, options: MemoryOptions | None = None, clock: Clock | None = None) -> None:
        self._options = options if options is not None else MemoryOptions()
        self._items: dict[ItemName, Secret] = {}
        self._version = 0
        self._lock = threading.Lock()
        self._pid = os.getpid()

    @property
    def facts(self) -> StoreFacts:
        """What protects the items: the process's own address space."""
        from tokenkeep.store import Isolation, Persistence, Protection, StoreFacts

        return StoreFacts(
            backend="memory",
            protection=Protection.MEMORY,
            persistence=Persistence.PROCESS,
            isolation=Isolation.APPLICATION,
            may_prompt=False,
            survives_uninstall=False,
            in_backups=False,
            syncs=False,
            readable_when_locked=True,
            max_value_bytes=self._options.max_value_bytes,
            locked_after_boot=False,
            opens_elsewhere=False,
            notes=("gone when the process ends", "the system may swap or dump the process"),
        )

    def read(self, name: ItemName, call: Call) -> Secret | None:
        """A copy of the value; None if absent."""
        call.check("reading")
        with self._guard():
            kept = self._items.get(name)
            return None if kept is None else _copy(kept)

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        """Keeps a copy of the value.

        Raises:
            ValueTooLarge: it exceeds the options' `max_value_bytes`.
        """
        call.check("writing")
        kept = self._copied(value)
        with self._guard():
            self._put(name, kept)

    def delete(self, name: ItemName, call: Call) -> bool:
        """Wipes and forgets the item; True if it existed."""
        call.check("deleting")
        with self._guard():
            return self._drop(name)

    def names(self, service: str, call: Call) -> list[ItemName]:
        """Every item of the service, of every kind, sorted."""
        checked_name(service, "service")
        call.check("listing")
        with self._guard():
            return sorted(name for name in self._items if name.service == service)

    def replace(
        self, name: ItemName, expected: Secret | None, value: Secret | None, call: Call
    ) -> None:
        """Writes or deletes if the item is still `expected`.

        Raises:
            WriteConflict: it is something else now; nothing changed.
            ValueTooLarge: as in `write`.
        """
        call.check("replacing")
        kept = None if value is None else self._copied(value)
        with self._guard():
            if self._items.get(name) != expected:
                raise WriteConflict("the item was changed meanwhile")
            if kept is None:
                self._drop(name)
            else:
                self._put(name, kept)

    def contains(self, name: ItemName, call: Call) -> bool:
        """Whether the item exists."""
        call.check("looking")
        return name in self._items

    def version(self, call: Call) -> object:
        """The number of changes so far."""
        call.check("looking")
        return self._version

    def erase(self, service: str, call: Call) -> bool:
        """Wipes and forgets every item of the service; nothing is ever pending."""
        checked_name(service, "service")
        call.check("erasing")
        with self._guard():
            for name in [name for name in self._items if name.service == service]:
                self._drop(name)
        return False

    def shred(self, call: Call) -> bool:
        """Nothing to do: what is deleted is wiped at once."""
        call.check("erasing")
        return False

    def _guard(self) -> threading.Lock:
        if self._pid != os.getpid():  # forked: a thread that is not here may hold the lock
            self._lock, self._pid = threading.Lock(), os.getpid()
        return self._lock

    def _copied(self, value: Secret) -> Secret:
        limit = self._options.max_value_bytes
        if limit is not None and value.size > limit:
            raise ValueTooLarge(f"the value has {value.size} bytes, this store takes {limit}")
        return _copy(value)

    def _put(self, name: ItemName, kept: Secret) -> None:
        old = self._items.get(name)
        self._items[name] = kept
        self._version += 1
        if old is not None:
            old.wipe()

    def _drop(self, name: ItemName) -> bool:
        old = self._items.pop(name, None)
        if old is None:
            return False
        self._version += 1
        old.wipe()
        return True


def _copy(secret: Secret) -> Secret:
    return Secret(secret.reveal_bytes())
