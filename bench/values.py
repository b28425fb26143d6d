"""The values that are written, so that every reader can tell whether it got the right one."""

from __future__ import annotations

#: A refresh token with its companions is about this long.
VALUE_BYTES = 300


def value_of(name: str, version: int) -> str:
    """The text that is written under a name for the `version`-th time."""
    return f"{name}:{version}:".ljust(VALUE_BYTES, "x")


def name_of(number: int) -> str:
    """The `number`-th item of a filled store."""
    return f"item-{number}"


def scattered(count: int, of: int) -> list[str]:
    """Names of a store with `of` items, spread over all of it, some twice in a small one."""
    return [name_of(number * 7919 % of) for number in range(count)]
