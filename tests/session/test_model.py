"""The protocol's model keeps its promises everywhere, and notices every broken step."""

from __future__ import annotations

import itertools

import pytest

from session.model import Broken, Exploration, Local, World
from session.programs import Rules

STRICT = Rules()
OPERATIONS = ("login", "refresh", "logout", "confirm")


def explored(
    *todo: tuple[str, ...],
    rules: Rules = STRICT,
    crashes: int = 0,
    refusals: int = 0,
    losses: int = 0,
) -> Exploration:
    exploration = Exploration(rules)
    exploration.explore(
        World(tuple(map(Local, todo)), crashes=crashes, refusals=refusals, losses=losses)
    )
    return exploration


@pytest.mark.parametrize("first", OPERATIONS)
def test_two_processes_with_every_fault(first: str) -> None:
    """One operation against any two, with a crash, a refused write and a lost answer anywhere."""
    states = 0
    for second in itertools.product(OPERATIONS[:3], repeat=2):
        states += explored((first,), second, crashes=1, refusals=1, losses=1).states
    assert states > 10_000


def test_two_processes_and_a_provider_with_a_replay_window() -> None:
    for second in itertools.product(("refresh", "logout"), repeat=2):
        rules = Rules(replay_window=True)
        explored(("refresh",), second, rules=rules, crashes=1, refusals=1, losses=1)


def test_two_processes_with_two_crashes_and_two_refused_writes() -> None:
    for pair in itertools.combinations_with_replacement(OPERATIONS, 2):
        explored(*((each,) for each in pair), crashes=2, refusals=1, losses=1)


@pytest.mark.parametrize(
    "todo",
    list(itertools.combinations_with_replacement(("login", "refresh", "logout"), 3)),
    ids="-".join,
)
def test_three_processes(todo: tuple[str, ...]) -> None:
    """Three at once, and one refused write."""
    explored(*((each,) for each in todo), refusals=1)


def test_three_refreshing_processes_with_a_crash() -> None:
    explored(("refresh",), ("refresh",), ("refresh",), crashes=1)


def test_every_outcome_is_reached_and_every_program_ends() -> None:
    """An exploration that never gets anywhere would keep every promise."""
    outcomes: set[str] = set()
    longest: dict[str, int] = {}
    for pair in itertools.product(OPERATIONS, repeat=2):
        done = explored(*((each,) for each in pair), crashes=1, refusals=1, losses=1)
        outcomes |= done.outcomes
        for program, steps in done.longest.items():
            longest[program] = max(steps, longest.get(program, 0))
    assert outcomes >= {
        "confirm: login required",
        "confirm: refreshed",
        "login: memory only",
        "login: signed in",
        "login: signed out meanwhile",
        "login: unavailable",
        "logout: signed out",
        "refresh: ended",
        "refresh: memory only",
        "refresh: not saved, not sent",
        "refresh: refreshed",
        "refresh: signed out",
        "refresh: unavailable",
        "refresh: uncertain",
        "save: ended",
        "save: saved",
    }
    assert longest["logout"] <= 10
    assert longest["refresh"] <= 20


MUTATIONS = {
    "no look after the write": "the newest token of an ended session was not revoked",
    "intent after sending": "a refresh token was sent twice",
    "refresh without re-reading": "an older generation was written over a newer",
    "steal the fence": "two processes redeem at once",
    "go on without the fence": "two processes redeem at once",
    "let go unsaved": "the newest token of an ended session was not revoked",
    "save without looking": "the newest token of an ended session was not revoked",
    "erase without revoking": "the newest token of an ended session was not revoked",
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_protocol_with_one_step_broken_is_noticed(mutation: str) -> None:
    """The model can fail: without any one of these steps a promise is broken somewhere."""
    promises = set()
    for todo in itertools.combinations_with_replacement(("refresh", "logout"), 2):
        for faults in ({}, {"crashes": 1}, {"refusals": 1}, {"losses": 1}):
            try:
                explored(*((each,) for each in todo), rules=Rules(mutation=mutation), **faults)
            except Broken as broken:
                promises.add(broken.promise)
    assert MUTATIONS[mutation] in promises, promises
