"""Two places for the tests of migrations, and a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenkeep.backends.memory import MemoryStore
from tokenkeep.item import MIGRATION, Call
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage

SERVICE = "org.example.notes"


class Crash(BaseException):
    """The process is killed here."""


class Before:
    """Crashes before the n-th step, counted from 1; otherwise only counts."""

    def __init__(self, number: int = 0) -> None:
        self._number = number
        self.count = 0
        self.names: list[str] = []

    def __call__(self, name: str) -> None:
        self.count += 1
        self.names.append(name)
        if self.count == self._number:
            raise Crash


class PlainStore:
    """A store with the four calls alone, as the Secret Service is: nothing is read and written at
    once.
    """

    def __init__(self) -> None:
        inner = MemoryStore()
        self.facts = inner.facts
        self.read, self.write = inner.read, inner.write
        self.delete, self.names = inner.delete, inner.names


class Drawer:
    """A source in memory."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.broken: dict[str, Exception] = {}
        self.removals: list[tuple[str, ...]] = []

    @property
    def identity(self) -> str:
        return "drawer"

    def names(self) -> list[str]:
        return sorted({*self.values, *self.broken})

    def read(self, name: str) -> Secret | None:
        if name in self.broken:
            raise self.broken[name]
        value = self.values.get(name)
        return None if value is None else Secret(value)

    def remove(self, *names: str) -> None:
        self.removals.append(names)
        for name in names:
            self.values.pop(name, None)


def storage_in(
    directory: Path, store: object | None = None, service: str = SERVICE, **values: str
) -> SecureStorage:
    """A storage with these items, and its state in the directory."""
    storage = SecureStorage(
        service, MemoryStore() if store is None else store, state_directory=str(directory)
    )
    for name, value in values.items():
        storage.write(name, value)
    return storage


def items_of(storage: SecureStorage) -> dict[str, str]:
    """The application's items."""
    return {name: value.reveal() for name, value in storage.read_all().items()}


def kept_in(storage: SecureStorage) -> set[str]:
    """Every value that lies in the storage, also those that the application does not see."""
    store, found = storage.store, storage.store.names(storage.service, Call())
    values = [store.read(item, Call()) for item in found]
    return {value.reveal() for value in values if value is not None}


def own_items(storage: SecureStorage) -> list[str]:
    """What a migration keeps for itself in the new place."""
    found = storage.store.names(storage.service, Call())
    return [item.name for item in found if item.kind == MIGRATION]


def until_it_ends(attempt: Callable[[Before], object]) -> int:
    """Crashes before each step in turn until an attempt comes through; how many crashed."""
    crashes = 0
    while True:
        try:
            attempt(Before(crashes + 1))
        except Crash:
            crashes += 1
        else:
            return crashes
