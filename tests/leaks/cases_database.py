"""Keys of local databases on their failing paths; the current key and the next one are secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3

from leaks.cases import SECRET, Case
from leaks.cases_storage import FAULTS
from tokenkeep import database, fields
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.database import DatabaseKey
from tokenkeep.database_item import KEY_BYTES, SALT_BYTES
from tokenkeep.errors import StoreUnavailable
from tokenkeep.native import locked_memory
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, Fault, FaultyStore

KEY, NEXT = (SECRET.encode().ljust(KEY_BYTES, end) for end in (b"1", b"2"))
SALT = bytes(range(SALT_BYTES))
STEPS = ("store next", "re-encrypt", "settle", "store key", "erase next")


class Place:
    """A database whose key is the secret, as is whatever key it gets next."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        patch.setattr(database, "random_bytes", lambda size: NEXT[:size])
        impatient = partial(sqlcipher3.dbapi2.connect, timeout=0.01)
        patch.setattr(sqlcipher3.dbapi2, "connect", impatient)
        self.directory = directory
        self.path = directory / "notes.db"
        self.inner = MemoryStore()
        self.faults: dict[int | str, Fault] = {}
        self.crash_at = ""
        self.keep("database key", key=KEY, salt=SALT, path=os.fsencode(self.path))
        connection = self.key().connect()
        connection.execute("CREATE TABLE note (text)")
        connection.executemany("INSERT INTO note VALUES (?)", [("x" * 500,)] * 100)
        connection.commit()
        connection.close()

    def key(self) -> DatabaseKey:
        store = FaultyStore(self.inner, self.faults)
        return DatabaseKey(self.storage(store), self.path, step=self.step)

    def keep(self, name: str, **content: bytes) -> None:
        self.storage(self.inner).write(name, fields.pack(content))

    def storage(self, store: object) -> SecureStorage:
        return SecureStorage(
            "org.example.leaks", store, clock=FakeClock(), state_directory=str(self.directory)
        )

    def step(self, name: str) -> None:
        if name == self.crash_at:
            raise RuntimeError("a crash")


def after(
    prepare: Callable[[Place], object], method: Callable[[DatabaseKey], object]
) -> Callable[[Path], object]:
    """A call on a database to which something was done."""

    def run(directory: Path) -> object:
        with pytest.MonkeyPatch.context() as patch:
            place = Place(directory, patch)
            in_the_way = prepare(place)
            try:
                return method(place.key())
            finally:
                del in_the_way

    return run


def fault(step: int, what: Fault) -> Callable[[Place], None]:
    return lambda place: place.faults.update({step: what})


def crash(step: str) -> Callable[[Place], None]:
    return lambda place: setattr(place, "crash_at", step)


def cut_off(step: str, then: Callable[[Place], object]) -> Callable[[Place], object]:
    """A rekey ended here before, so that there are two keys."""

    def prepare(place: Place) -> object:
        place.crash_at = step
        try:
            place.key().rekey()
        except RuntimeError:
            place.crash_at = ""
            return then(place)
        raise AssertionError("it did not end there")

    return prepare


def lost(place: Place) -> None:
    place.storage(place.inner).delete("database key")


def no_key(place: Place) -> None:
    place.storage(place.inner).write("database key", SECRET)


def short_key(place: Place) -> None:
    place.keep("database key", key=SECRET.encode(), salt=SALT, path=b"")


def no_next_key(place: Place) -> None:
    place.keep("database key (next)", key=SECRET.encode(), path=b"", more=SECRET.encode())


def moved(place: Place) -> None:
    place.path = place.directory / "other.db"


def damaged(place: Place) -> None:
    content = place.path.read_bytes()
    place.path.write_bytes(content[:SALT_BYTES] + bytes(len(content) - SALT_BYTES))


def of_another(place: Place) -> None:
    place.path.write_bytes(bytes(place.path.stat().st_size))


def folder(place: Place) -> None:
    place.path.unlink()
    place.path.mkdir()


def no_folder(place: Place) -> None:
    lost(place)
    place.path = place.directory / "none" / "notes.db"


def busy(place: Place) -> object:
    other = sqlcipher3.connect(str(place.path), isolation_level=None)
    other.set_key(f"x'{(KEY + SALT).hex()}'".encode())
    other.execute("BEGIN EXCLUSIVE")
    return other


class Full(sqlcipher3.dbapi2.Connection):  # type: ignore[misc]
    """Finds no room."""

    def reset_key(self, key: object) -> None:
        raise sqlcipher3.OperationalError("database or disk is full")


class Deaf(sqlcipher3.dbapi2.Connection):  # type: ignore[misc]
    """Says yes and does nothing."""

    def reset_key(self, key: object) -> None:
        return None


def made_by(factory: type) -> Callable[[Place], None]:
    connect = partial(sqlcipher3.dbapi2.connect, timeout=0.01, factory=factory)
    return lambda place: place.patch.setattr(sqlcipher3.dbapi2, "connect", connect)


def no_locked_memory(place: Place) -> None:
    place.patch.setattr(locked_memory, "_lock", lambda _memory: False)


def no_renaming(place: Place) -> None:
    def rename(_source: Any, _target: Any) -> None:
        raise OSError(5, "Input/output error")

    place.patch.setattr(os, "rename", rename)


def connect(key: DatabaseKey) -> object:
    with key:
        return key.connect()


METHODS = {"connect": connect, "rekey": DatabaseKey.rekey, "reset": DatabaseKey.reset}
SPOILINGS: dict[str, Callable[[Place], object]] = {
    "key lost": lost,
    "no key": no_key,
    "a short key": short_key,
    "key of another database": moved,
    "database of another key": of_another,
    "database damaged": damaged,
    "database is a folder": folder,
    "database in no folder": no_folder,
    "database busy": busy,
    "no locked memory": no_locked_memory,
}

CASES = [
    *(
        Case(f"database key {method}: {what}", after(fault(1, FAULTS[what]), METHODS[method]))
        for method in METHODS
        for what in FAULTS
    ),
    *(
        Case(f"database key {method}: {why}", after(SPOILINGS[why], METHODS[method]))
        for method in ("connect", "rekey")
        for why in SPOILINGS
    ),
    *(
        Case(
            f"database key rekey: store call {number} fails, answer lost {is_lost}",
            after(fault(number, Fails(StoreUnavailable, after=is_lost)), DatabaseKey.rekey),
        )
        for number in range(1, 11)
        for is_lost in (False, True)
    ),
    *(
        Case(f"database key rekey: ended before {step!r}", after(crash(step), DatabaseKey.rekey))
        for step in STEPS
    ),
    *(
        Case(
            f"database key connect: ended before {step!r} once, store call {number} fails",
            after(cut_off(step, fault(number, Fails(StoreUnavailable))), connect),
        )
        for step in ("settle", "store key")
        for number in range(1, 10)
    ),
    *(
        Case(f"database key {method}: two keys, {why}", after(cut_off("settle", spoil), act))
        for method, act in (("connect", connect), ("rekey", DatabaseKey.rekey))
        for why, spoil in (
            ("neither opens it", damaged),
            ("another database", of_another),
            ("the next is none", no_next_key),
            ("no locked memory", no_locked_memory),
        )
    ),
    Case("database key rekey: no room", after(made_by(Full), DatabaseKey.rekey)),
    Case("database key rekey: it did nothing", after(made_by(Deaf), DatabaseKey.rekey)),
    Case("database key reset: no renaming", after(no_renaming, DatabaseKey.reset)),
    Case(
        "database key connect: an unknown argument",
        after(lambda _place: None, lambda key: key.connect(no_such_argument=1)),
    ),
]
