"""Sessions move in one go: never two copies that count, never none."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrate.places import Before, Crash, own_items, storage_in
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import (
    InteractionDenied,
    RefreshUnavailable,
    StoreLocked,
    UnsupportedOption,
)
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.migrate.report import MigrationReport, Outcome
from tokenkeep.migrate.sessions import move_sessions
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.faulty import Fails, FaultyStore
from tokenkeep.tokens.storage import TokenStorage
from vault.places import open_store, owed, reader_elsewhere


def outcomes(report: MigrationReport) -> dict[str, Outcome]:
    return {item.old: item.outcome for item in report.items}


def token(storage: SecureStorage, account: str = "ada", name: str | None = None) -> str | None:
    found = TokenStorage(storage, account=account, name=name).read_refresh_token()
    return None if found is None else found.reveal()


@pytest.fixture
def old(tmp_path: Path) -> SecureStorage:
    storage = storage_in(tmp_path, item="stays")
    TokenStorage(storage, account="ada").save_refresh_token("s3cret")
    TokenStorage(storage, account="grace", name="session-2").save_refresh_token("other")
    return storage


@pytest.fixture
def new(tmp_path: Path) -> SecureStorage:
    return storage_in(tmp_path)


def test_live_sessions_move_and_live_on(old: SecureStorage, new: SecureStorage) -> None:
    """Under their own names; items stay, and nothing of ours is left behind."""
    assert {"ada": Outcome.REMOVE, "grace": Outcome.REMOVE} == outcomes(move_sessions(old, new))
    assert ("s3cret", "other") == (token(new), token(new, "grace", "session-2"))
    assert (None, None) == (token(old), token(old, "grace", "session-2"))
    assert (["item"], []) == (old.names(), new.names())
    assert [] == own_items(new)
    assert {} == outcomes(move_sessions(old, new))


def test_a_session_that_has_ended_does_not_come_back(
    old: SecureStorage, new: SecureStorage
) -> None:
    """Logout is final, also for a record that it could not erase."""
    tokens = TokenStorage(old, account="ada")
    tokens.kept.log.end("logout", 0.0)
    assert Outcome.CHANGED is outcomes(move_sessions(old, new))["ada"]
    assert token(new) is None


def test_a_logout_in_the_middle_is_final(old: SecureStorage, new: SecureStorage) -> None:
    """It needs no fence to say so: what was written meanwhile is erased again."""
    log = TokenStorage(old, account="ada").kept.log

    def meanwhile(step: str) -> None:
        if step == "write session":
            log.end("logout", 0.0)

    assert Outcome.CHANGED is outcomes(move_sessions(old, new, meanwhile))["ada"]
    names = new.store.names(new.service, Call())
    assert ["session-2"] == [name.name for name in names]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
def test_killed_before_any_step_it_goes_on(
    old: SecureStorage, new: SecureStorage, number: int
) -> None:
    """The session is in one of the places at any time, and in the new one at the end."""
    with pytest.raises(Crash):
        move_sessions(old, new, Before(number))
    assert "s3cret" in (token(old), token(new))
    move_sessions(old, new)
    assert ("s3cret", "other") == (token(new), token(new, "grace", "session-2"))
    assert token(old) is None


def test_a_login_in_the_new_place_wins(old: SecureStorage, new: SecureStorage) -> None:
    """It ended the session that lies in the old place."""
    TokenStorage(new, account="ada").save_refresh_token("newer")
    assert Outcome.CHANGED is outcomes(move_sessions(old, new))["ada"]
    assert "newer" == token(new)


def test_a_session_somebody_is_busy_with_is_not_moved(
    old: SecureStorage, new: SecureStorage
) -> None:
    """A refresh under way has the token in its hands."""
    impatient = SecureStorage(
        old.service,
        old.store,
        timeout=None,
        clock=FastClock(),
        state_directory=old.state_directory,
    )
    with (
        TokenStorage(old, account="ada").kept.hold("refresh"),
        pytest.raises(RefreshUnavailable),
    ):
        move_sessions(impatient, new)
    assert "s3cret" == token(old)


def test_a_record_that_does_not_open_stays(old: SecureStorage, new: SecureStorage) -> None:
    """The others move."""
    damaged = ItemName(old.service, "broken", SESSION)
    old.store.write(damaged, Secret(b"?"), Call())
    found = outcomes(move_sessions(old, new))
    assert (Outcome.UNREADABLE, Outcome.REMOVE) == (found["broken"], found["ada"])
    assert damaged in old.store.names(old.service, Call())


def test_one_place_is_not_two(old: SecureStorage, tmp_path: Path) -> None:
    """Another application's log or the same store: nothing is erased."""
    with pytest.raises(UnsupportedOption):
        move_sessions(old, old)
    with pytest.raises(UnsupportedOption):
        move_sessions(old, storage_in(tmp_path, service="org.other"))
    assert ("s3cret", []) == (token(old), own_items(old))


def test_a_new_place_that_locks_at_any_call_loses_no_session(tmp_path: Path) -> None:
    """Whatever was done by then, the session is somewhere."""
    for number in range(1, 100):
        state = tmp_path / str(number)
        old, inner = storage_in(state), MemoryStore()
        TokenStorage(old, account="ada").save_refresh_token("s3cret")
        good = storage_in(state, inner)
        bad = storage_in(state, FaultyStore(inner, {number: Fails(StoreLocked)}))
        try:
            move_sessions(old, bad)
        except StoreLocked:
            assert "s3cret" in (token(old), token(good))
            move_sessions(old, good)
            assert ("s3cret", None) == (token(good), token(old))
        else:
            break
    assert number > 5


def test_a_place_that_deletes_nothing_by_itself_is_said_to_be_emptied(
    old: SecureStorage, new: SecureStorage
) -> None:
    """The session has moved, and not everything of it is gone from there."""
    denying = FaultyStore(old.store, {"delete": Fails(InteractionDenied)})
    asking = SecureStorage(old.service, denying, state_directory=old.state_directory)
    assert {"ada": Outcome.EMPTIED, "grace": Outcome.EMPTIED} == outcomes(
        move_sessions(asking, new)
    )
    assert ("s3cret", None) == (token(new), token(old))
    assert {} == outcomes(move_sessions(asking, new))


class Held(MemoryStore):
    """A store whose old bytes stay as often as it is said."""

    def __init__(self, *answers: bool) -> None:
        super().__init__()
        self.answers = list(answers)

    def shred(self, call: Call) -> bool:
        super().shred(call)
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [((False, False), False), ((True, False), False), ((False, True), True)],
)
def test_old_bytes_that_stay_are_said_unless_a_later_move_took_them(
    tmp_path: Path, new: SecureStorage, answers: tuple[bool, ...], expected: bool
) -> None:
    """The store erases all that it owes at once."""
    held = Held(*answers)
    old = storage_in(tmp_path, held)
    for account in ("ada", "grace"):
        TokenStorage(old, account=account).save_refresh_token("s3cret")
    report = move_sessions(old, new)
    assert {"ada": Outcome.REMOVE, "grace": Outcome.REMOVE} == outcomes(report)
    assert (expected, []) == (report.pending, held.answers)


@pytest.mark.parametrize("number", [3, 6])
def test_old_bytes_go_at_the_next_call_where_one_was_killed_before(
    tmp_path: Path, new: SecureStorage, number: int
) -> None:
    """Also where no session is left to move, and where one that has ended stays."""
    held = Held(*[False] * (number // 3))
    old = storage_in(tmp_path, held)
    for account in ("ada", "grace", "zoe")[: number // 3]:
        TokenStorage(old, account=account).save_refresh_token("s3cret")
    with pytest.raises(Crash):
        move_sessions(old, new, Before(number))
    assert 1 == len(held.answers)
    TokenStorage(old, account="zoe").save_refresh_token("s3cret")
    TokenStorage(old, account="zoe").kept.log.end("logout", 0.0)
    assert {"zoe": Outcome.CHANGED} == outcomes(move_sessions(old, new))
    assert [] == held.answers


def test_a_store_that_fails_while_it_erases_old_bytes_has_them_pending(
    old: SecureStorage, new: SecureStorage
) -> None:
    """The session has moved all the same."""
    faulty = FaultyStore(old.store, {"shred": Fails(StoreLocked)})
    failing = SecureStorage(old.service, faulty, state_directory=old.state_directory)
    report = move_sessions(failing, new)
    assert {"ada": Outcome.REMOVE, "grace": Outcome.REMOVE} == outcomes(report)
    assert report.pending
    assert not move_sessions(old, new).pending


def test_a_reader_of_the_old_vault_keeps_old_bytes_there_and_it_is_said(
    tmp_path: Path, new: SecureStorage
) -> None:
    """Once it is gone, the next writer erases them."""
    vault = open_store(tmp_path)
    old = storage_in(tmp_path, vault)
    old.timeout = 0.3
    TokenStorage(old, account="ada").save_refresh_token("s3cret")
    with reader_elsewhere(tmp_path):
        report = move_sessions(old, new)
    assert ({"ada": Outcome.REMOVE}, True) == (outcomes(report), report.pending)
    old.timeout = 60.0
    old.write("item", "next")
    assert not owed(vault)
    vault.close()


def test_another_account_s_session_in_the_new_place_stays(
    old: SecureStorage, tmp_path: Path
) -> None:
    """Nothing has moved then."""
    new = storage_in(tmp_path)
    TokenStorage(new, account="zoe", name="ada").save_refresh_token("zoe's")
    with pytest.raises(UnsupportedOption):
        move_sessions(old, new)
    assert ("s3cret", "zoe's") == (token(old), token(new, "zoe", "ada"))


class FastClock:
    """Every look at it is a minute later; nobody waits."""

    def __init__(self) -> None:
        self._now = 0.0

    def wall(self) -> float:
        return 1000.0

    def monotonic(self) -> float:
        self._now += 60.0
        return self._now

    def boot_id(self) -> str:
        return "boot"

    def sleep(self, seconds: float) -> None:
        return None
