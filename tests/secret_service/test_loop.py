"""An event loop goes on while a keyring is asked: calls run on worker threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from support.desktop import gnome_desktop
from support.gnome_keyring import GnomeKeyring
from tokenkeep.aio.storage import AsyncSecureStorage
from tokenkeep.backends.secret_service import SecretServiceOptions
from tokenkeep.errors import StoreTimeout

pytestmark = pytest.mark.requires("gnome-keyring")

#: Seconds that a call may keep the loop from its other work, beyond what the machine does anyway.
LONGEST_STALL = 0.005


@pytest.fixture
def keyring() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as keyring:
        yield keyring


class Ticks:
    """A task that wants to run every millisecond, and how late it was."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Ticks:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            self.late.append(time.perf_counter() - due)


async def stall(work: object) -> float:
    """The longest a loop waited while it ran."""
    async with Ticks() as ticks:
        await work()  # type: ignore[operator]
    return max(ticks.late, default=0.0)


def typical(stalls: list[float]) -> float:
    """The best round: what a call does to a loop, it does in each; the machine's load does not."""
    return min(stalls)


def test_loop_goes_on_during_calls(keyring: GnomeKeyring) -> None:
    """Write, read, list and delete, the first ones with their connection and session included."""

    async def main() -> tuple[float, float]:
        async def idle() -> None:
            await asyncio.sleep(0.03)

        async def calls() -> None:
            # A storage of its own for each round: connecting and negotiating are part of it.
            async with AsyncSecureStorage("org.example.notes", SecretServiceOptions()) as storage:
                await storage.write("token", "x" * 2_000)
                await storage.read("token")
                await storage.names()
                await storage.delete("token")

        await calls()  # what is imported once for the process
        rounds = [(await stall(idle), await stall(calls)) for _ in range(9)]
        return typical([one for one, _ in rounds]), typical([other for _, other in rounds])

    without, during = asyncio.run(main())
    assert during - without < LONGEST_STALL


def test_loop_goes_on_while_the_daemon_does_not(keyring: GnomeKeyring) -> None:
    """A frozen daemon costs the caller its deadline and the loop nothing."""

    async def main() -> tuple[float, float]:
        options = SecretServiceOptions()
        async with AsyncSecureStorage("org.example.notes", options, timeout=0.2) as storage:

            async def call() -> None:
                with pytest.raises(StoreTimeout):
                    await storage.read("token")

            async def idle() -> None:
                await asyncio.sleep(0.2)

            await storage.read("token")
            keyring.freeze()
            try:
                rounds = [(await stall(idle), await stall(call)) for _ in range(9)]
            finally:
                keyring.thaw()
            return typical([one for one, _ in rounds]), typical([other for _, other in rounds])

    without, during = asyncio.run(main())
    assert during - without < LONGEST_STALL
