"""The protocol's model keeps its promises everywhere."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from session.model import Exploration, Local, World
from session.programs import MISSING, Rules

STRICT = Rules()
OPERATIONS = ("login", "refresh", "logout", "confirm", "restore")


def explored(*todo: tuple[str, ...], rules: Rules = STRICT, **world: Any) -> Exploration:
    exploration = Exploration(rules)
    exploration.explore(World(tuple(map(Local, todo)), **world))
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
@pytest.mark.parametrize("fault", ["crashes", "refusals"])
def test_three_processes(todo: tuple[str, ...], fault: str) -> None:
    """Three at once, with a crash before any step, or a write that is refused."""
    explored(*((each,) for each in todo), **{fault: 1})


@pytest.mark.parametrize("todo", list(itertools.combinations_with_replacement(OPERATIONS, 2)))
def test_a_log_that_has_no_room_for_a_line(todo: tuple[str, str]) -> None:
    """A login does not begin; a sign-out erases and revokes what the log goes on calling alive."""
    explored(*((each,) for each in todo), fulls=1)
    explored(*((each,) for each in todo), fulls=2, losses=1)


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("todo", list(itertools.combinations_with_replacement(OPERATIONS, 2)))
def test_a_record_whose_log_is_missing(todo: tuple[str, str], keeps: bool) -> None:
    """A fresh install goes on with it or erases it; a sign-out meanwhile is final."""
    explored(
        ("restore",),
        *((each,) for each in todo),
        rules=Rules(keeps=keeps),
        log=MISSING,
        complete=frozenset(),
    )
    explored(
        ("restore", todo[0]),
        (todo[1], "restore"),
        rules=Rules(keeps=keeps),
        log=MISSING,
        complete=frozenset(),
        crashes=1,
        fulls=1,
    )


@pytest.mark.parametrize("detects_reuse", [True, False])
@pytest.mark.parametrize("todo", list(itertools.combinations_with_replacement(OPERATIONS, 2)))
def test_a_host_that_the_fence_does_not_reach(todo: tuple[str, str], detects_reuse: bool) -> None:
    """Somebody there confirmed an attempt: who loses the race does not end the winner's session."""
    rules = Rules(detects_reuse=detects_reuse)
    explored(*((each,) for each in todo), rules=rules, elsewhere=1, crashes=1)
    explored(*((each,) for each in todo), rules=rules, elsewhere=1, losses=1)


def test_every_outcome_is_reached_and_every_program_ends() -> None:
    """An exploration that never gets anywhere would keep every promise."""
    outcomes: set[str] = set()
    longest: dict[str, int] = {}
    faults = {"crashes": 1, "refusals": 1, "losses": 1}
    pairs = list(itertools.product(OPERATIONS, repeat=2))
    explorations = [explored(*((each,) for each in pair), **faults) for pair in pairs]
    explorations.append(explored(("refresh",), ("confirm",), losses=1, fulls=1))
    explorations.append(explored(("login",), ("logout",), fulls=1))
    left_over = {"log": MISSING, "complete": frozenset()}
    explorations.append(explored(("restore",), rules=Rules(keeps=True), fulls=1, **left_over))
    for done in explorations:
        outcomes |= done.outcomes
        for program, steps in done.longest.items():
            longest[program] = max(steps, longest.get(program, 0))
    assert outcomes >= {
        "confirm: could not be ended",
        "confirm: login required",
        "confirm: refreshed",
        "login: could not begin",
        "login: memory only",
        "login: signed in",
        "login: signed out meanwhile",
        "login: unavailable",
        "logout: erased",
        "logout: signed out",
        "refresh: ended",
        "refresh: memory only",
        "refresh: not saved, not sent",
        "refresh: refreshed",
        "refresh: signed out",
        "restore: signed in",
        "restore: signed out",
        "restore: unavailable",
        "refresh: unavailable",
        "refresh: uncertain",
        "save: ended",
        "save: saved",
    }
    assert longest["logout"] <= 10
    assert longest["refresh"] <= 20
    assert longest["restore"] <= 10
