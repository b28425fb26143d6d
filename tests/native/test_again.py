"""A busy platform is asked again with growing pauses, and no longer than the call lasts."""

from __future__ import annotations

import pytest

from tokenkeep.item import Call
from tokenkeep.native.again import Pauses
from tokenkeep.testing import FakeClock


def waited(pauses: Pauses, clock: FakeClock) -> list[float]:
    """How long each pause was, until there is no time for another."""
    found = []
    while True:
        began = clock.monotonic()
        goes_on = pauses.wait()
        if not goes_on:
            assert began == clock.monotonic()
            return found
        found.append(round(clock.monotonic() - began, 6))


def test_pauses_grow_and_leave_time_for_the_error() -> None:
    """Each is twice the one before, up to the longest; the last ends before the deadline."""
    clock = FakeClock()
    pauses = Pauses(Call(2.0, clock=clock), first=0.1, longest=0.5)
    assert [0.1, 0.2, 0.4, 0.5, 0.5] == waited(pauses, clock)


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_no_time_no_pause(seconds: float) -> None:
    """A call that is over, or would be, does not wait."""
    clock = FakeClock()
    assert [] == waited(Pauses(Call(seconds, clock=clock)), clock)


def test_a_call_without_a_deadline_gives_up_too() -> None:
    """After a minute; nothing waits without end for a platform that stays busy."""
    clock = FakeClock()
    found = waited(Pauses(Call(None, clock=clock)), clock)
    assert 59.0 < sum(found) <= 60.0
