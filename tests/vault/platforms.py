"""A platform's store that fails as it is told to, and a vault whose key is an item in it."""

from __future__ import annotations

from collections.abc import Callable

from support.tpm import call
from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.backends.store_item import SERVICE
from tokenkeep.errors import StoreError, StoreTimeout
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret


class Platform(MemoryStore):
    """A store that can be told to fail, and that lies when it is asked to."""

    def __init__(self) -> None:
        super().__init__(MemoryOptions())
        self.fails: StoreError | None = None
        self.log: list[str] = []
        self.forgets_writes = False
        self.spoils = self.is_late = False
        #: Which of its calls, counted from 1, does not end in time.
        self.ends_at = 0
        self.takes: Callable[[], object] = lambda: None

    def _step(self, verb: str) -> None:
        self.log.append(verb)
        if self.fails is not None:
            raise self.fails
        if len(self.log) == self.ends_at:
            raise StoreTimeout("the platform does not answer")
        self.takes()

    def read(self, name: ItemName, call: Call) -> Secret | None:
        self._step("read")
        return super().read(name, call)

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        self._step("write")
        if not self.forgets_writes:
            super().write(name, Secret("spoilt") if self.spoils else value, call)
        if self.is_late:
            raise StoreTimeout("the platform does not answer")

    def delete(self, name: ItemName, call: Call) -> bool:
        self._step("delete")
        return super().delete(name, call)


def items(platform: Platform) -> list[ItemName]:
    """What vaults keep in the store."""
    return platform.names(SERVICE, call())
