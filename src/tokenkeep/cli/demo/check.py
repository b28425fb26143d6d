"""A check: a claim, whether it holds, and the evidence somebody can judge it by. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One claim of the story; `evidence` says what was read, and where."""

    claim: str
    holds: bool
    evidence: str


def equal(claim: str, expected: object, found: object, where: str) -> Check:
    """The claim that something read at `where` is what it has to be."""
    holds = expected == found
    return Check(claim, holds, f"{where}: {found}" + ("" if holds else f", expected {expected}"))


def contains(claim: str, expected: str, text: str, where: str) -> Check:
    """The claim that a text says something; the text is quoted, so it must not be secret."""
    said = " / ".join(text.split("\n")).strip(" /")
    holds = expected in text
    return Check(claim, holds, f"{where}: {said!r}" + ("" if holds else f", expected {expected!r}"))


def exits(claim: str, expected: Mapping[str, int], found: Mapping[str, int]) -> Check:
    """The claim that commands ended with these exit codes."""
    told = ", ".join(f"{name} {found.get(name)}" for name in expected)
    wrong = [name for name, code in expected.items() if found.get(name) != code]
    tail = "".join(f", expected {name} {expected[name]}" for name in wrong)
    return Check(claim, not wrong, f"exit codes: {told}{tail}")
