"""The shared token of a cold start: when it serves, and when a session has to look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tokenkeep import MemoryStore, SecureStorage, TokenStorage
from tokenkeep.secret import Secret
from tokenkeep.session import grant
from tokenkeep.session.shared import fresh_shared_token, has_fresh_token, mandatory_margin
from tokenkeep.tokens.record import Moment, Record

NOW = Moment(1_000_000.0, 500.0, "boot")


def record(left: float | None, lifetime: float | None = 300.0) -> Record:
    obtained = NOW
    if left is not None and lifetime is not None:
        age = lifetime - left
        obtained = Moment(NOW.wall - age, NOW.monotonic - age, NOW.boot)
    return Record("a" * 32, obtained, access_token=Secret("token"), lifetime=lifetime)


@pytest.mark.parametrize(
    ("left", "lifetime", "min_ttl", "serves"),
    [
        (300, 300, 0, True),
        (16, 300, 0, True),
        (15, 300, 0, False),
        (0, 300, 0, False),
        (-1, 300, 0, False),
        (100, 300, 100, True),
        (99, 300, 100, False),
        (300, 300, 10_000, True),
        (299, 300, 10_000, False),
        (31, 36_000, 0, True),
        (30, 36_000, 0, False),
        (None, None, 10_000, True),
        (None, 0.0, 0, False),
    ],
)
def test_a_token_serves_until_its_mandatory_margin(
    left: float | None, lifetime: float | None, min_ttl: float, serves: bool
) -> None:
    """As long as it may be handed out, and for as long as the caller needs it, if it can be."""
    assert serves is has_fresh_token(record(left, lifetime), NOW, min_ttl)


def test_a_record_without_an_access_token_serves_nobody() -> None:
    """Memory-only access tokens are for the process that has them."""
    kept = record(300)
    kept.access_token = None
    assert not has_fresh_token(kept, NOW, 0)


def test_after_a_clock_that_was_set_back_nobody_can_tell() -> None:
    """In another boot, with the wall clock before the token's time, a session has to look."""
    later = Moment(NOW.wall - 86_400, 10.0, "next boot")
    assert not has_fresh_token(record(300), later, 0)


def test_the_margin_is_the_session_s_own() -> None:
    """A token that a session would not hand out is not handed out here either."""
    for lifetime in (1.0, 300.0, 86_400.0):
        assert grant.margins(lifetime, 0.5).mandatory == mandatory_margin(lifetime)


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenStorage]:
    with SecureStorage("org.example", MemoryStore(), state_directory=str(tmp_path)) as storage:
        yield TokenStorage(storage)


def _nobody(tokens: TokenStorage) -> None:
    return


def _ended(tokens: TokenStorage) -> None:
    _begun(tokens)
    tokens.kept.log.end("logout", 1.0)


def _without_log(tokens: TokenStorage) -> None:
    tokens.kept.write(_kept(tokens))


def _begun(tokens: TokenStorage) -> None:
    kept = _kept(tokens)
    tokens.kept.log.begin(kept.session_id, 1.0)
    tokens.kept.write(kept)


def _kept(tokens: TokenStorage) -> Record:
    return Record("b" * 32, tokens.kept.now(), access_token=Secret("token"), lifetime=300.0)


@pytest.mark.parametrize(
    ("prepare", "found"),
    [(_nobody, None), (_begun, Secret("token")), (_ended, None), (_without_log, None)],
)
def test_only_a_living_session_s_token_is_given(
    tokens: TokenStorage, prepare: Callable[[TokenStorage], None], found: Secret | None
) -> None:
    """The log decides: an ended session's record gives nothing, whatever lies in the store."""
    prepare(tokens)
    assert found == fresh_shared_token(tokens)
