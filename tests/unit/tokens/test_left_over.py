"""A record without a log, as a fresh install finds it: the policy decides, a sign-out is final."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.token_storage import SERVICE, keys, revealed, tokens_in
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.sessionlog import SessionLog
from tokenkeep.tokens.record import Moment, Record, encode


def left_over(store: MemoryStore) -> None:
    record = Record("a" * 32, Moment(1.0, 1.0, "boot"), refresh_token=Secret("left over"))
    store.write(ItemName(SERVICE, "alice", SESSION), encode(record), Call())


def test_a_record_without_a_log_is_cleared_by_default(store: MemoryStore) -> None:
    left_over(store)
    assert tokens_in(store).read_refresh_token() is None
    assert ["alice"] == keys(store)
    assert tokens_in(store).kept.settle() is None
    assert [] == keys(store)


def test_a_record_without_a_log_is_kept_if_that_is_wanted(store: MemoryStore) -> None:
    left_over(store)
    assert tokens_in(store, fresh_install="keep").kept.settle() is not None
    assert "left over" == revealed(tokens_in(store).read_refresh_token())


@pytest.mark.parametrize("answer", [True, False])
def test_the_application_can_be_asked(store: MemoryStore, answer: bool) -> None:
    asked = []
    left_over(store)
    tokens = tokens_in(store, fresh_install=lambda account: asked.append(account) or answer)
    assert answer == (tokens.kept.settle() is not None)
    assert ["alice"] == asked


def test_a_kept_session_that_was_ended_stays_ended(store: MemoryStore) -> None:
    """The policy speaks of missing logs only."""
    left_over(store)
    tokens = tokens_in(store, fresh_install="keep")
    tokens.kept.settle()
    tokens.kept.log.end("logout", 2.0)
    left_over(store)
    assert tokens.kept.settle() is None
    assert [] == keys(store)


@pytest.mark.parametrize("moment", ["while a person is asked", "after the answer"])
def test_a_sign_out_while_the_policy_is_asked_is_final(store: MemoryStore, moment: str) -> None:
    """The answer was about a missing log; by then there is one, and it says that all is over."""
    left_over(store)

    def keep(account: str) -> bool:
        if moment == "while a person is asked":
            tokens.kept.log.end("logout", tokens.storage.clock.wall())
        return True

    tokens = tokens_in(store, fresh_install=keep)
    if moment == "after the answer":
        tokens.kept.log = EndsBeforeAdopting(tokens.kept.log)  # type: ignore[assignment]
    assert tokens.kept.settle() is None
    assert tokens_in(store).read_refresh_token() is None
    assert "logout" == tokens_in(store).kept.log.read().end_reason


class EndsBeforeAdopting:
    """A log that somebody else writes to at the last moment."""

    def __init__(self, inner: SessionLog) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def adopt(self, session_id: str, now: float) -> None:
        self._inner.end("logout", now)
        self._inner.adopt(session_id, now)


def test_everything_erased_while_the_policy_is_asked_is_gone(store: MemoryStore) -> None:
    left_over(store)
    tokens = tokens_in(store, fresh_install=lambda account: tokens.storage.delete_all() is not None)
    assert tokens.kept.settle() is None
    assert tokens.read_refresh_token() is None


def test_an_empty_log_left_by_a_crash_is_no_log(store: MemoryStore) -> None:
    left_over(store)
    tokens = tokens_in(store, fresh_install="keep")
    Path(tokens.kept.log.directory).mkdir(parents=True)
    Path(tokens.kept.log.path).touch()
    assert tokens.kept.settle() is not None
