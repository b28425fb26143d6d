"""A program that keeps its secrets from an event loop, in a process of its own.

As a program: `python -m support.async_program STORE DIRECTORY WHAT` prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.stalls import Round, are_enough, one_round, rounds_of

if TYPE_CHECKING:
    from tokenkeep import AsyncSecureStorage

#: What an interpreter tells its audit hooks of a thread that reaches outside of it.
_REACHES = ("open", "socket.", "ctypes.", "sqlite3.", "subprocess.", "os.", "fcntl.", "mmap.")
_MANY_ITEMS = 120


def first_rounds(store: str, directory: Path) -> list[Round]:
    """What a storage's first calls do to the loop, each round in a process of its own."""
    rounds: list[Round] = []
    while not are_enough(rounds):
        rounds.append(Round(*_answer(store, directory, "first")[0]))
    return rounds


def warm_rounds(store: str, directory: Path) -> list[Round]:
    """What a storage does to the loop, made anew for each round of one process."""
    return [Round(*each) for each in _answer(store, directory, "warm")]


def listing_rounds(store: str, directory: Path) -> list[Round]:
    """What it does to the loop to list many items."""
    return [Round(*each) for each in _answer(store, directory, "listing")]


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


def _main(store: str, directory: str, what: str) -> None:
    # An application imports what it needs; then its loop runs, and makes the storage.
    from tokenkeep import AsyncSecureStorage, SecretServiceOptions, VaultOptions

    def storage() -> AsyncSecureStorage:
        options = VaultOptions(directory) if store == "vault" else SecretServiceOptions()
        return AsyncSecureStorage("org.example.notes", options)

    async def calls() -> None:
        async with storage() as made:
            await _every_day(made)

    async def listing() -> list[Round]:
        async with storage() as made:
            for number in range(_MANY_ITEMS):
                await made.write(f"item {number}", "s3cret")
            return await rounds_of(made.names)

    async def warm() -> list[Round]:
        await calls()
        return await rounds_of(calls)

    async def first() -> list[Round]:
        return [await one_round(calls)]

    async def events() -> list[str]:
        return await _events(calls)

    shapes = {"events": events, "first": first, "warm": warm, "listing": listing}
    print(json.dumps(asyncio.run(shapes[what]())))


async def _every_day(storage: AsyncSecureStorage) -> None:
    await storage.write("token", "x" * 2_000)
    await storage.read("token")
    await storage.contains("token")
    await storage.names()
    await storage.read_all()
    await storage.check()
    await storage.wait_until_unlocked(1.0)
    await storage.listen(lambda _change: None)
    await storage.delete("token")


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
