"""How much a run does: the whole, or `--quick`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Counts and limits; the names say of what."""

    process_rounds: int
    seconds_per_command: float
    sizes: tuple[int, ...]
    fill_seconds: float
    batches: int
    batch_calls: int
    batch_seconds: float
    writes_each: int
    writers_seconds: float
    kills: int
    own_kills: int
    kills_seconds: float
    herds: int
    rounds: int
    hot_calls: int


FULL = Effort(
    process_rounds=25,
    seconds_per_command=12.0,
    sizes=(10, 1_000, 10_000, 100_000),
    fill_seconds=150.0,
    batches=20,
    batch_calls=60,
    batch_seconds=0.5,
    writes_each=25,
    writers_seconds=10.0,
    kills=20,
    own_kills=60,
    kills_seconds=45.0,
    herds=3,
    rounds=20,
    hot_calls=20_000,
)
QUICK = Effort(
    process_rounds=5,
    seconds_per_command=1.5,
    sizes=(10, 1_000, 10_000),
    fill_seconds=6.0,
    batches=8,
    batch_calls=30,
    batch_seconds=0.2,
    writes_each=6,
    writers_seconds=2.0,
    kills=4,
    own_kills=6,
    kills_seconds=3.0,
    herds=1,
    rounds=4,
    hot_calls=5_000,
)
