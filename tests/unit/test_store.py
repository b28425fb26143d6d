"""Facts and demands."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.store import (
    Erasing,
    Indexed,
    Isolation,
    Persistence,
    Protection,
    Require,
    Store,
    StoreFacts,
    Transactional,
    Versioned,
)

STRONG = StoreFacts(
    backend="test",
    protection=Protection.HARDWARE,
    persistence=Persistence.UNTIL_DELETED,
    isolation=Isolation.APPLICATION,
    may_prompt=False,
    survives_uninstall=False,
    in_backups=False,
    syncs=False,
    readable_when_locked=False,
    max_value_bytes=None,
)
STRICT = Require(
    protection=Protection.HARDWARE,
    persistence=Persistence.UNTIL_DELETED,
    isolation=Isolation.APPLICATION,
    allow_prompts=False,
    allow_sync=False,
    allow_backups=False,
)


def test_protection_is_ordered() -> None:
    """HARDWARE > LOGIN > PASSPHRASE > FILE_PERMISSIONS > MEMORY."""
    assert ["MEMORY", "FILE_PERMISSIONS", "PASSPHRASE", "LOGIN", "HARDWARE"] == [
        protection.name for protection in sorted(Protection)
    ]


def test_a_demand_for_nothing_is_met_by_anything() -> None:
    """The default demands nothing."""
    assert [] == Require().unmet(MemoryStore().facts)


def test_a_strong_store_meets_the_strictest_demand() -> None:
    """Nothing is demanded that cannot be had."""
    assert [] == STRICT.unmet(STRONG)


@pytest.mark.parametrize(
    ("weakness", "why"),
    [
        ({"protection": Protection.LOGIN}, "LOGIN, HARDWARE is required"),
        ({"persistence": Persistence.PROCESS}, "'process', 'until deleted' is required"),
        ({"isolation": Isolation.USER}, "not isolated"),
        ({"may_prompt": True}, "prompt"),
        ({"syncs": True}, "syncs"),
        ({"in_backups": True}, "backups"),
        ({"in_backups": None}, "backups"),
    ],
)
def test_each_weakness_is_one_reason(weakness: dict[str, object], why: str) -> None:
    """A fact that is not known counts as the weaker answer."""
    reasons = STRICT.unmet(replace(STRONG, **weakness))  # type: ignore[arg-type]
    assert 1 == len(reasons)
    assert why in reasons[0]


def test_all_reasons_are_told_at_once() -> None:
    """Somebody who mends one should know the next."""
    assert 2 == len(STRICT.unmet(MemoryStore().facts))


def test_more_protection_than_demanded_is_fine() -> None:
    """The demand is a minimum."""
    assert [] == Require(protection=Protection.PASSPHRASE).unmet(STRONG)


def test_facts_and_demands_are_values() -> None:
    """They compare, and cannot be changed."""
    assert replace(STRONG) == STRONG
    with pytest.raises(FrozenInstanceError):
        STRONG.syncs = True  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        STRICT.allow_sync = True  # type: ignore[misc]


@pytest.mark.parametrize("protocol", [Store, Transactional, Indexed, Versioned, Erasing])
def test_abilities_are_seen_at_run_time(protocol: type) -> None:
    """What has the methods has the ability; what has not, has not."""
    assert isinstance(MemoryStore(), protocol)
    assert not isinstance(object(), protocol)


def test_memory_options_are_a_value() -> None:
    """They compare, print and cannot be changed."""
    assert MemoryOptions() == MemoryOptions()
    assert MemoryOptions() != MemoryOptions(max_value_bytes=5)
    assert 1 == len({MemoryOptions(), MemoryOptions()})
    assert "MemoryOptions(max_value_bytes=5)" == repr(MemoryOptions(max_value_bytes=5))
    assert "MemoryOptions()" == repr(MemoryOptions())
    with pytest.raises(AttributeError):
        MemoryOptions().max_value_bytes = 5
