"""Processes that are really killed between a vault and another place; the next one takes over."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate import mover
from migrate.mover import storage_of
from migrate.places import items_of, kept_in, own_items
from support.desktop import gnome_desktop
from tokenkeep.migrate.journal import Phase
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.store import StoreSource

ITEMS = {f"name {number}": f"value {number}" for number in range(3)}
BEFORE = {"name 1": "before"}

pytestmark = pytest.mark.requires("fork")


@pytest.fixture(
    params=[
        "vault",
        pytest.param("kernel-keyring", marks=pytest.mark.requires("kernel keyring")),
        pytest.param("secret-service", marks=pytest.mark.requires("gnome-keyring")),
    ]
)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where to: this process's own keyring, and whatever it starts finds it."""
    if request.param == "secret-service":
        with gnome_desktop():
            yield request.param
        return
    if request.param == "kernel-keyring":
        from support.keyrings import join_new_session

        join_new_session()
    yield request.param


def fill(place: Path, target: str) -> None:
    place.mkdir()
    for name, items in (("old", ITEMS), (target, BEFORE)):
        with storage_of(place, name) as storage:
            for item, value in items.items():
                storage.write(item, value)


@pytest.mark.parametrize(
    ("action", "left", "moved"),
    [("run", ITEMS, ITEMS), ("confirm", {}, ITEMS), ("undo", ITEMS, BEFORE)],
)
def test_a_process_killed_before_each_step_is_followed_by_one_that_finishes(
    tmp_path: Path, target: str, action: str, left: dict[str, str], moved: dict[str, str]
) -> None:
    """No value is in neither place at any time, and the application sees its own items alone."""
    for step in range(1, 60):
        place = tmp_path / f"{action}-{step}"
        fill(place, target)
        if action != "run":
            mover.main(place, target, "run", 0)
        command = [sys.executable, mover.__file__, str(place), target, action, str(step)]
        done = subprocess.run(command, capture_output=True, timeout=60)
        if done.returncode != 0:
            assert -signal.SIGKILL == done.returncode, done.stderr
            with storage_of(place, "old") as old, storage_of(place, target) as new:
                assert ITEMS.items() <= {**items_of(new), **items_of(old)}.items()
                assert ITEMS.keys() >= set(new.names())
                assert action == "confirm" or "before" in kept_in(new)
            mover.main(place, target, action, 0)
        with storage_of(place, "old") as old, storage_of(place, target) as new:
            assert (left, moved) == (items_of(old), items_of(new)), step
            phase = Migration(StoreSource(old, "old"), new).status()
            assert (Phase.COPIED if action == "run" else Phase.NONE) is phase
            assert action == "run" or [] == own_items(new)
        if done.returncode == 0:
            break
    assert step > 5
