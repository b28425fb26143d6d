"""SecureStorage on every failing path, over a store that fails, stalls and refuses."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaks.cases import SECRET, Case
from tokenkeep import errors
from tokenkeep.aio.storage import AsyncSecureStorage
from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.errors import StoreError
from tokenkeep.item import Call, ItemName
from tokenkeep.oauth.provider import Provider
from tokenkeep.secret import Secret, as_secret
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Protection, Require
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, Fault, FaultyStore, Stalls
from tokenkeep.tokens.storage import TokenStorage

SERVICE = "org.example.leaks"
ONE = ItemName(SERVICE, "one")
VERBS = ("read", "write", "delete", "names", "contains", "version", "erase")
FAULTS: dict[str, Fault] = {
    kind.__name__: Fails(kind)
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, StoreError)
}
FAULTS |= {
    "lost answer": Fails(errors.StoreUnavailable, after=True),
    "stall": Stalls(60.0),
    "stall after": Stalls(60.0, after=True),
    "bug in a store": Fails(RuntimeError("a bug")),
}

METHODS: dict[str, Callable[[SecureStorage], object]] = {
    "read": lambda storage: storage.read("one"),
    "write text": lambda storage: storage.write("one", SECRET),
    "write bytes": lambda storage: storage.write("one", SECRET.encode()),
    "write bytearray": lambda storage: storage.write("two", bytearray(SECRET.encode())),
    "write secret": lambda storage: storage.write("two", Secret(SECRET)),
    "delete": lambda storage: storage.delete("one"),
    "names": lambda storage: storage.names(),
    "contains": lambda storage: storage.contains("one"),
    "read_all": lambda storage: storage.read_all(),
    "delete_all": lambda storage: storage.delete_all(),
    "listen": lambda storage: storage.listen(print),
}


def faulty(method: Callable[[SecureStorage], object], fault: Fault) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        store = FaultyStore(MemoryStore())
        storage = SecureStorage(
            SERVICE, store, clock=FakeClock(), state_directory=str(directory / "state")
        )
        storage.write("one", SECRET)
        store.faults = dict.fromkeys(VERBS, fault)
        return method(storage)

    return run


def plain(method: Callable[[SecureStorage], object], **settings: Any) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        storage = SecureStorage(
            SERVICE,
            MemoryOptions(max_value_bytes=1_000),
            state_directory=str(directory / "state"),
            **settings,
        )
        return method(storage)

    return run


def in_loop(method: Callable[[AsyncSecureStorage], Any]) -> Callable[[Path], object]:
    def run(directory: Path) -> object:
        async def main() -> object:
            storage = AsyncSecureStorage(
                SERVICE,
                MemoryOptions(max_value_bytes=1_000),
                state_directory=str(directory / "state"),
            )
            return await method(storage)

        return asyncio.run(main())

    return run


def replaced(expected: str | None) -> Callable[[Path], object]:
    def run(_directory: Path) -> object:
        store = MemoryStore()
        store.write(ONE, Secret(SECRET), Call())
        wanted = None if expected is None else Secret(expected)
        return store.replace(ONE, wanted, Secret(SECRET + "2"), Call())

    return run


def secret(act: Callable[[Secret], object]) -> Callable[[Path], object]:
    return lambda _directory: act(Secret(SECRET))


def binary(act: Callable[[Secret], object]) -> Callable[[Path], object]:
    return lambda _directory: act(Secret(SECRET.encode() + b"\xff"))


def wiped(act: Callable[[Secret], object]) -> Callable[[Path], object]:
    def run(_directory: Path) -> object:
        value = Secret(SECRET)
        value.wipe()
        return act(value)

    return run


def save(storage: SecureStorage, value: Any = SECRET) -> None:
    TokenStorage(storage, account="alice").save_refresh_token(value)


def saved(value: Any) -> Callable[[Path], object]:
    return plain(lambda storage: save(storage, value))


def provided(value: Any, issuer: str = "https://issuer.example") -> Callable[[Path], object]:
    return lambda _directory: Provider(issuer, client_id="app", client_secret=value)


BAD_VALUES: dict[str, Any] = {
    "a dict": {"refresh_token": SECRET},
    "a list": [SECRET],
    "a surrogate": SECRET + "\ud800",
    "too large": SECRET * 10_000,
    "too large for the store": SECRET * 100,
    "too large as bytes": SECRET.encode() * 10_000,
}

CASES = [
    *(
        Case(f"{method}: {fault}", faulty(METHODS[method], FAULTS[fault]))
        for method in METHODS
        for fault in FAULTS
    ),
    *(
        Case(f"write {why}", plain(lambda storage, value=value: storage.write("one", value)))
        for why, value in BAD_VALUES.items()
    ),
    *(
        Case(f"async write {why}", in_loop(lambda storage, value=value: storage.write("a", value)))
        for why, value in BAD_VALUES.items()
    ),
    Case("write under a bad name", plain(lambda storage: storage.write("a\0b", SECRET))),
    Case("async write under a bad name", in_loop(lambda storage: storage.write("", SECRET))),
    Case(
        "write without a deadline left",
        plain(lambda storage: storage.write("a", SECRET), timeout=0),
    ),
    Case(
        "write to a store that does not qualify",
        plain(
            lambda storage: storage.write("a", SECRET), require=Require(protection=Protection.LOGIN)
        ),
    ),
    Case("replace what is absent", replaced(None)),
    Case("replace something else", replaced("other")),
    Case("reveal binary as text", binary(lambda value: value.reveal())),
    Case("pickle a secret", secret(pickle.dumps)),
    Case("pickle around a secret", secret(lambda value: pickle.dumps({"k": [value]}))),
    Case("json of a secret", secret(lambda value: json.dumps({"k": value}))),
    Case("hash of a secret", secret(hash)),
    Case("bytes of a secret", secret(bytes)),  # type: ignore[arg-type]
    Case("compare with a wiped secret", wiped(lambda value: value == Secret(SECRET))),
    Case("reveal a wiped secret", wiped(lambda value: value.reveal())),
    Case("copy and reveal a wiped secret", wiped(lambda value: copy.deepcopy(value).reveal())),
    *(
        Case(f"save_refresh_token of {why}", saved(value))
        for why, value in BAD_VALUES.items()
        if not why.startswith("too large for")
    ),
    *(Case(f"save_refresh_token: {fault}", faulty(save, FAULTS[fault])) for fault in FAULTS),
    *(
        Case(f"provider with {why} for a secret", provided(value))
        for why, value in BAD_VALUES.items()
        if not why.startswith("too large")
    ),
    Case("provider with a bad issuer", provided(SECRET, issuer="ftp://x")),
    Case("as_secret of a dict", lambda _directory: as_secret({"k": SECRET})),  # type: ignore[arg-type]
    Case("as_secret of a surrogate", lambda _directory: as_secret(SECRET + "\udfff")),
]
