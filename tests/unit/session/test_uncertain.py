"""When a note that was read says that nobody knows whether the token is spent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.sessions import Place
from tokenkeep import MemoryStore, Secret, TokenStorage
from tokenkeep.session import grant
from tokenkeep.session.refresh import is_uncertain
from tokenkeep.testing.clock import FakeClock
from tokenkeep.tokens.record import Record


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tokens(tmp_path: Path, clock: FakeClock) -> TokenStorage:
    place = Place(tmp_path, "https://issuer.example", store=MemoryStore(), clock=clock)
    tokens = place.tokens()
    tokens.save_refresh_token("first")
    return tokens


def noted(tokens: TokenStorage) -> Record:
    """The record with the note of a redemption, as it comes back from the store."""
    record = tokens.kept.load()
    assert record is not None
    tokens.kept.write(record.changed(intent=grant.intent_for(record, tokens.kept.now())))
    again = tokens.kept.load()
    assert again is not None
    return again


def test_a_note_that_nobody_takes_back_is_uncertain(tokens: TokenStorage) -> None:
    assert is_uncertain(tokens.kept, noted(tokens), 0.0)


def test_a_note_of_somebody_inside_is_theirs(tokens: TokenStorage) -> None:
    record = noted(tokens)
    with tokens.kept.hold("refresh"):
        assert not is_uncertain(tokens.kept, record, 0.0)


def test_whoever_is_inside_need_not_have_a_name(tokens: TokenStorage) -> None:
    """On a disk that was full from the start there is no room for one."""
    record = noted(tokens)
    with tokens.kept.hold("refresh"):
        os.truncate(tokens.kept.log.fence_path, 0)
        assert not is_uncertain(tokens.kept, record, 0.0)


def test_a_note_that_was_answered_says_nothing_of_the_next_redemption(
    tokens: TokenStorage,
) -> None:
    """Between two looks one redemption ended and another began: neither is interrupted."""
    record = noted(tokens)
    tokens.kept.write(record.changed(generation=2, refresh_token=Secret("second"), intent=None))
    noted(tokens)
    assert not is_uncertain(tokens.kept, record, 0.0)


def test_a_note_that_was_taken_back_says_nothing_of_the_next_one(
    tokens: TokenStorage, clock: FakeClock
) -> None:
    record = noted(tokens)
    clock.advance(1)
    noted(tokens)
    assert not is_uncertain(tokens.kept, record, 0.0)


def test_inside_the_replay_window_a_note_can_be_followed_up(tokens: TokenStorage) -> None:
    assert not is_uncertain(tokens.kept, noted(tokens), 30.0)
