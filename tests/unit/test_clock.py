"""The system's clock, and the one that tests move."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tokenkeep.clock import SystemClock
from tokenkeep.testing.clock import FakeClock


def test_system_wall_is_the_systems() -> None:
    """Seconds since 1970."""
    before = time.time()
    now = SystemClock().wall()
    assert before <= now <= time.time()


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.12])
def test_system_monotonic_goes_on(seconds: float) -> None:
    """It moves with sleeping and never back; a sleep takes as long as it says by it."""
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(seconds)
    assert seconds - 0.001 <= clock.monotonic() - before < seconds + 5.0


def test_system_boot_id_is_the_kernels() -> None:
    """The same at every reading; empty where the system has none."""
    kernel = Path("/proc/sys/kernel/random/boot_id")
    expected = kernel.read_text().strip() if kernel.exists() else ""
    assert expected == SystemClock().boot_id() == SystemClock().boot_id()


def test_fake_clock_stands_still() -> None:
    """Until it is told."""
    clock = FakeClock()
    assert (clock.wall(), clock.monotonic()) == (clock.wall(), clock.monotonic())


def test_advance_and_sleep_move_both() -> None:
    """Time goes by for the wall and for the machine."""
    clock = FakeClock(wall=100.0, monotonic=10.0)
    clock.advance(5)
    clock.sleep(1)
    clock.sleep(-1)
    assert (106.0, 16.0) == (clock.wall(), clock.monotonic())
    with pytest.raises(ValueError, match="jump_wall"):
        clock.advance(-1)


def test_jump_moves_the_wall_alone() -> None:
    """Somebody set the clock back a day."""
    clock = FakeClock(wall=100_000.0, monotonic=10.0)
    clock.jump_wall(-86_400)
    assert (13_600.0, 10.0) == (clock.wall(), clock.monotonic())


def test_suspend_counts_where_the_system_counts_it() -> None:
    """And stands still where it does not."""
    clock = FakeClock(wall=100.0, monotonic=10.0)
    clock.suspend(50)
    clock.suspend(50, counted=False)
    assert (200.0, 60.0) == (clock.wall(), clock.monotonic())


def test_reboot_begins_anew_under_another_id() -> None:
    """Monotonic readings of two boots do not compare, and the boot id says so."""
    clock = FakeClock(wall=100.0, monotonic=1_000.0)
    before = clock.boot_id()
    clock.reboot(30)
    assert before != clock.boot_id()
    assert clock.monotonic() < 1_000.0
    assert 130.0 == clock.wall()
