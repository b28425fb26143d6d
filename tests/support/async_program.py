"""A program that keeps its secrets from an event loop, in a process of its own.

As a program: `python -m support.async_program STORE DIRECTORY WHAT` prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.stalls import ROUNDS, Round, one_round, rounds_of

if TYPE_CHECKING:
    from tokenkeep import AsyncSecureStorage

#: What an interpreter tells its audit hooks of a thread that reaches outside of it.
_REACHES = ("open", "socket.", "ctypes.", "sqlite3.", "subprocess.", "os.", "fcntl.", "mmap.")
#: How many items are many: of a keyring each is a question of its own.
_MANY_ITEMS = {"secret-service": 120, "vault": 1_000}
#: So many processes make their first calls.
_PROCESSES = 12


def first_rounds(store: str, directory: Path) -> list[list[Round]]:
    """What each of a storage's first calls does to the loop, over as many processes."""
    return _by_call([_answer(store, directory, "first")[0] for _ in range(_PROCESSES)])


def warm_rounds(store: str, directory: Path) -> list[list[Round]]:
    """What each call does to it, on storages made one after the other in one process."""
    return _by_call(_answer(store, directory, "warm"))


def listing_rounds(store: str, directory: Path) -> list[list[Round]]:
    """What it does to the loop to list many items, to read them and to check them."""
    return _by_call(_answer(store, directory, "listing"))


def first_events(store: str, directory: Path) -> list[str]:
    """What the first calls import, and what the loop's own thread does outside of the process."""
    events: list[str] = _answer(store, directory, "events")
    return events


def _answer(store: str, directory: Path, what: str) -> list[Any]:
    answer = subprocess.run(
        [sys.executable, "-m", "support.async_program", store, str(directory), what],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    found: list[Any] = json.loads(answer.stdout)
    return found


def _by_call(passes: list[list[Any]]) -> list[list[Round]]:
    return [[Round(*each) for each in rounds] for rounds in zip(*passes, strict=True)]


def _main(store: str, directory: str, what: str) -> None:
    # An application imports what it needs; then its loop runs, and makes the storage.
    from tokenkeep import AsyncSecureStorage, SecretServiceOptions, VaultOptions

    def storage() -> AsyncSecureStorage:
        options = VaultOptions(directory) if store == "vault" else SecretServiceOptions()
        return AsyncSecureStorage("org.example.notes", options)

    async def calls() -> None:
        made = storage()
        for call in _EVERY_DAY:
            await call(made)

    async def listing() -> list[tuple[Round, ...]]:
        async with storage() as made:
            for number in range(_MANY_ITEMS[store]):
                await made.write(f"item {number}", "s3cret")
            calls = made.names, made.read_all, made.check
            return list(zip(*[await rounds_of(call) for call in calls], strict=True))

    async def passes(count: int) -> list[list[Round]]:
        return [await _one_pass(storage) for _ in range(count)]

    async def warm() -> list[list[Round]]:
        await calls()
        return await passes(ROUNDS)

    async def events() -> list[str]:
        return await _events(calls)

    shapes: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "events": events,
        "first": lambda: passes(1),
        "warm": warm,
        "listing": listing,
    }
    print(json.dumps(asyncio.run(shapes[what]())))


async def _one_pass(make: Callable[[], AsyncSecureStorage]) -> list[Round]:
    """What making a storage does to the loop, and then each of its calls."""
    made: list[AsyncSecureStorage] = []

    async def making() -> None:
        made.append(make())

    rounds = [await one_round(making)]
    rounds += [await one_round(partial(call, made[0])) for call in _EVERY_DAY]
    return rounds


#: What an application asks of a storage, in this order.
_EVERY_DAY: tuple[Callable[[AsyncSecureStorage], Awaitable[object]], ...] = (
    lambda storage: storage.write("token", "x" * 2_000),
    lambda storage: storage.read("token"),
    lambda storage: storage.contains("token"),
    lambda storage: storage.names(),
    lambda storage: storage.read_all(),
    lambda storage: storage.check(),
    lambda storage: storage.wait_until_unlocked(1.0),
    lambda storage: storage.listen(lambda _change: None),
    lambda storage: storage.delete("token"),
    lambda storage: storage.close(),
)


async def _events(work: Callable[[], Awaitable[object]]) -> list[str]:
    found: list[str] = []
    loop_thread, is_over = threading.get_ident(), threading.Event()

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if is_over.is_set():
            return
        is_ours = threading.get_ident() == loop_thread and event.startswith(_REACHES)
        if event == "import" or is_ours:
            found.append(f"{event} {arguments[:1]}")

    sys.addaudithook(note)
    await work()
    is_over.set()
    return found


if __name__ == "__main__":
    _main(*sys.argv[1:])
