"""An event loop goes on while a keyring is asked: no call keeps it for 5 ms.

How that is measured, and told from what a busy machine does: `support.stalls`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.async_program import first_events, first_rounds, listing_rounds, warm_rounds
from support.desktop import gnome_desktop
from support.gnome_keyring import GnomeKeyring
from support.stalls import LONGEST_STALL, Round, longest_stalls, rounds_of
from tokenkeep.aio.storage import AsyncSecureStorage
from tokenkeep.backends.secret_service import SecretServiceOptions
from tokenkeep.errors import StoreTimeout

pytestmark = pytest.mark.requires("gnome-keyring")


@pytest.fixture
def keyring() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as keyring:
        yield keyring


def test_the_first_calls_of_a_process_load_nothing(keyring: GnomeKeyring, tmp_path: Path) -> None:
    """All is imported before the loop runs, by `preload`; its thread opens and connects to nothing:
    making the storage does neither, and the calls are made on other threads.
    """
    assert [] == first_events("secret-service", tmp_path)


def test_the_first_calls_of_a_process_hold_no_loop_up(
    keyring: GnomeKeyring, tmp_path: Path
) -> None:
    """Making the storage, connecting, negotiating a session, and each call."""
    stalls = longest_stalls(lambda: first_rounds("secret-service", tmp_path))
    assert max(stalls) < LONGEST_STALL


def test_calls_hold_no_loop_up(keyring: GnomeKeyring, tmp_path: Path) -> None:
    """The same later on, with a connection and a session made anew each time."""
    stalls = longest_stalls(lambda: warm_rounds("secret-service", tmp_path))
    assert max(stalls) < LONGEST_STALL


def test_listing_many_items_holds_no_loop_up(keyring: GnomeKeyring, tmp_path: Path) -> None:
    """What is asked of each item is asked of a few at once, so that no thread computes for long."""
    stalls = longest_stalls(lambda: listing_rounds("secret-service", tmp_path))
    assert max(stalls) < LONGEST_STALL


def test_a_frozen_daemon_holds_no_loop_up(keyring: GnomeKeyring) -> None:
    """It costs the caller the deadline and the loop nothing."""

    async def main() -> list[Round]:
        options = SecretServiceOptions()
        async with AsyncSecureStorage("org.example.notes", options, timeout=0.1) as storage:

            async def call() -> None:
                with pytest.raises(StoreTimeout):
                    await storage.read("token")

            await storage.read("token")
            keyring.freeze()
            try:
                # More, and the bus would wait for more answers of the daemon than it may.
                return await rounds_of(call, 20)
            finally:
                keyring.thaw()

    assert max(longest_stalls(lambda: [asyncio.run(main())])) < LONGEST_STALL
