"""How long the state machine of `tokenkeep.testing` plays with a store."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: What every store has behind it when something is released.
_IN_CI = 300


def at_length(examples: int = 40, *, as_profile_says: bool = False, shared_by: int = 1) -> settings:
    """25 calls an example; where it is not CI, so many examples as the store's speed allows.

    Args:
        as_profile_says: whether a profile for many hours (`scripts/test --fuzz`) is followed.
        shared_by: how many services the same store is tried with, which have them together.
    """
    count = _IN_CI // shared_by if os.environ.get("CI") == "true" else examples
    profile = settings().max_examples
    return settings(
        max_examples=max(count, profile) if as_profile_says and profile > 1000 else count,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
