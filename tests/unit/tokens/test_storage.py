"""TokenStorage: save, read, clear; renaming and fresh installs, interrupted at every step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    InvalidName,
    LoginFailed,
    ProtocolViolation,
    RefreshUnavailable,
    SecretDamaged,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    UnsupportedOption,
    WriteConflict,
)
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.sessionlog import SessionLog
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Store
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, FaultyStore, every_step
from tokenkeep.tokens.record import Moment, Record, decode, encode
from tokenkeep.tokens.storage import TokenStorage

SERVICE = "org.example.notes"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def tokens_in(
    store: Store, account: str = "alice", service: str = SERVICE, **more: Any
) -> TokenStorage:
    return TokenStorage(SecureStorage(service, store, clock=FakeClock()), account=account, **more)


def revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def keys(store: MemoryStore) -> list[str]:
    return [name.name for name in store.names(SERVICE, Call())]


def test_a_saved_token_is_read_by_the_next_start(store: MemoryStore) -> None:
    tokens_in(store).save_refresh_token("first", issuer="https://issuer.example", client_id="notes")
    record = tokens_in(store).kept.load()
    assert record is not None
    assert "first" == revealed(record.refresh_token)
    assert ("https://issuer.example", "notes", 1) == (
        record.issuer,
        record.client_id,
        record.generation,
    )


@pytest.mark.parametrize("token", ["", "a\nb", "\N{EURO SIGN}", b"", b"a\xff"], ids=ascii)
def test_what_can_be_no_refresh_token_is_not_saved(store: MemoryStore, token: str | bytes) -> None:
    """Nor does it end the session that lives."""
    tokens = tokens_in(store)
    tokens.save_refresh_token("rt-1")
    with pytest.raises(ProtocolViolation) as caught:
        tokens.save_refresh_token(Secret(token))
    assert caught.value.hint
    assert Secret("rt-1") == tokens.read_refresh_token()


def test_nobody_signed_in_reads_as_none(store: MemoryStore) -> None:
    assert tokens_in(store).read_refresh_token() is None


def test_saving_again_is_another_login(store: MemoryStore) -> None:
    tokens = tokens_in(store)
    tokens.save_refresh_token("first")
    before = tokens.kept.log.read().session_id
    tokens.save_refresh_token(Secret("second"))
    assert "second" == revealed(tokens.read_refresh_token())
    assert before != tokens.kept.log.read().session_id


def test_clearing_ends_and_erases(store: MemoryStore) -> None:
    tokens = tokens_in(store)
    tokens.save_refresh_token("first")
    assert tokens.clear_session()
    assert tokens.read_refresh_token() is None
    assert [] == keys(store)
    assert "logout" == tokens.kept.log.read().end_reason
    assert tokens.clear_session()


def test_clearing_empties_what_only_a_person_may_have_deleted(store: MemoryStore) -> None:
    """Also under the previous name, and a rename leaves an empty item there: it is no record."""
    denying = FaultyStore(store, {"delete": Fails(InteractionDenied)})
    tokens_in(denying, name="before").save_refresh_token("first")
    renamed = tokens_in(denying, name="after", previous_name="before")
    assert renamed.kept.settle() is not None
    assert "first" == revealed(renamed.read_refresh_token())
    assert Secret(b"") == store.read(ItemName(SERVICE, "before", SESSION), Call())
    state = renamed.kept.log.read()
    assert not renamed.kept.needs_settling(renamed.kept.stored(), state)
    assert renamed.clear_session() is False
    assert renamed.read_refresh_token() is None
    assert ["after", "before"] == keys(store)
    assert [Secret(b"")] * 2 == [store.read(name, Call()) for name in store.names(SERVICE, Call())]


def test_clearing_without_a_fence_ends_the_session_all_the_same(store: MemoryStore) -> None:
    """The lock file cannot be opened: erasing is left to the next one who can."""
    tokens = tokens_in(store)
    tokens.save_refresh_token("first")
    os.remove(tokens.kept.log.fence_path)
    os.mkdir(tokens.kept.log.fence_path)
    assert not tokens.clear_session()
    assert tokens.read_refresh_token() is None
    assert ["alice"] == keys(store)
    os.rmdir(tokens.kept.log.fence_path)
    assert tokens.clear_session()
    assert [] == keys(store)


def test_clearing_while_somebody_is_inside_ends_the_session_all_the_same(
    store: MemoryStore,
) -> None:
    tokens = tokens_in(store)
    tokens.save_refresh_token("first")
    with tokens.kept.hold("refresh"):
        assert not tokens.clear_session()
        assert tokens.read_refresh_token() is None
    assert ["alice"] == keys(store)
    assert tokens.kept.settle() is None
    assert [] == keys(store)


def test_what_was_ended_a_moment_ago_is_left_to_who_ended_it(store: MemoryStore) -> None:
    """They are about to read the tokens, to revoke them; after a crash the next start erases."""
    tokens = tokens_in(store)
    tokens.save_refresh_token("first")
    clock = tokens.storage.clock
    assert isinstance(clock, FakeClock)
    tokens.kept.log.end("logout", clock.wall())
    clock.advance(5)
    assert tokens.kept.settle() is None
    assert ["alice"] == keys(store)
    clock.advance(6)
    assert tokens.kept.settle() is None
    assert [] == keys(store)


def test_saving_while_somebody_is_inside_says_who(store: MemoryStore) -> None:
    tokens = tokens_in(store)
    with tokens.kept.hold("refresh"), pytest.raises(RefreshUnavailable) as caught:
        tokens.save_refresh_token("first")
    assert f"pid {os.getpid()} " in str(caught.value.holder)
    assert [] == keys(store)


def test_a_sign_out_while_saving_wins(store: MemoryStore) -> None:
    class SignsOut(MemoryStore):
        def write(self, name: ItemName, value: Secret, call: Call) -> None:
            super().write(name, value, call)
            tokens.kept.log.end("logout", 5.0)

    tokens = tokens_in(racing := SignsOut())
    with pytest.raises(LoginFailed):
        tokens.save_refresh_token("first")
    assert [] == keys(racing)


def test_accounts_and_applications_do_not_see_each_other(store: MemoryStore) -> None:
    alice, bob = tokens_in(store), tokens_in(store, "bob")
    other = tokens_in(store, service="org.example.mail")
    for number, each in enumerate((alice, bob, other)):
        each.save_refresh_token(str(number))
    bob.clear_session()
    found = [revealed(each.read_refresh_token()) for each in (alice, bob, other)]
    assert ["0", None, "2"] == found


def test_a_name_is_not_an_item_of_the_application(store: MemoryStore) -> None:
    tokens = tokens_in(store)
    tokens.storage.write("alice", "an item")
    tokens.save_refresh_token("first")
    assert "an item" == revealed(tokens.storage.read("alice"))
    assert ["alice"] == tokens.storage.names()
    tokens.clear_session()
    assert ["alice"] == tokens.storage.names()


@pytest.mark.parametrize("bad", ["", "a\0b", "x" * 256, "\ud800"])
def test_an_impossible_account_is_refused_at_once(store: MemoryStore, bad: str) -> None:
    with pytest.raises(InvalidName):
        tokens_in(store, bad)


def test_replacing_is_conditional_on_session_and_generation(store: MemoryStore) -> None:
    tokens = tokens_in(store)
    tokens.save_refresh_token("first")
    one = tokens.kept.load()
    assert one is not None
    tokens.kept.replace(one, one.changed(generation=2))
    with pytest.raises(WriteConflict):
        tokens.kept.replace(one, one.changed(generation=3))
    tokens.clear_session()
    with pytest.raises(WriteConflict):
        tokens.kept.replace(one.changed(generation=2), one.changed(generation=3))
    assert [] == keys(store)


# Renaming.


def test_a_record_under_the_previous_name_is_found_and_moved(store: MemoryStore) -> None:
    tokens_in(store, name="old").save_refresh_token("first")
    tokens = tokens_in(store, name="new", previous_name="old")
    assert "first" == revealed(tokens.read_refresh_token())
    assert ["old"] == keys(store)
    assert tokens.kept.settle() is not None
    assert ["new"] == keys(store)
    assert "first" == revealed(tokens.read_refresh_token())


def test_a_rename_interrupted_at_any_step_is_resumed() -> None:
    """Whatever broke, and whether it took effect or not: the next start has the session."""

    def make() -> MemoryStore:
        store = MemoryStore()
        tokens_in(store, name="old").save_refresh_token("first")
        return store

    faults = [Fails(StoreUnavailable), Fails(StoreUnavailable, after=True)]
    played = 0
    for run in every_step(
        make, lambda store: tokens_in(store, name="new", previous_name="old").kept.settle(), faults
    ):
        played += 1
        # Every play signs in anew, so the log speaks of the last store that was made.
        inner = run.inner
        assert isinstance(inner, MemoryStore)
        tokens = tokens_in(inner, name="new", previous_name="old")
        assert "first" == revealed(tokens.read_refresh_token()), run.step
        assert tokens.kept.settle() is not None, run.step
        assert ["new"] == keys(inner), run.step
    assert played >= 8


class LosesTheEnd(MemoryStore):
    """Keeps what is written under "new" without the end of its refresh token."""

    is_mended = False

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        if name.name == "new" and not self.is_mended:
            value = encode(decode(value).changed(refresh_token=Secret("fir")))
        super().write(name, value, call)


def test_a_rename_compares_all_that_was_written_before_it_erases() -> None:
    store = LosesTheEnd()
    tokens_in(store, name="old").save_refresh_token("first")
    tokens = tokens_in(store, name="new", previous_name="old")
    for _ in range(2):
        with pytest.raises(WriteConflict):
            tokens.kept.settle()
        assert ["old"] == keys(store)
        assert "first" == revealed(tokens.read_refresh_token())
    store.is_mended = True
    assert tokens.kept.settle() is not None
    assert ["new"] == keys(store)
    assert "first" == revealed(tokens.read_refresh_token())


def test_a_refresh_between_the_steps_of_a_rename_is_kept(store: MemoryStore) -> None:
    """Copied but not yet deleted: the newer generation counts, under whichever name it lies."""
    tokens_in(store, name="old").save_refresh_token("first")
    tokens = tokens_in(store, name="new", previous_name="old")
    record = tokens.kept.load()
    assert record is not None
    tokens.kept.write(record)
    renewed = record.changed(generation=2, refresh_token=Secret("second"))
    tokens_in(store, name="old").kept.replace(record, renewed)
    assert "second" == revealed(tokens.read_refresh_token())
    tokens.kept.replace(renewed, renewed.changed(generation=3, refresh_token=Secret("third")))
    tokens.kept.settle()
    assert ["new"] == keys(store)
    assert "third" == revealed(tokens.read_refresh_token())


def test_a_login_of_an_older_version_is_not_taken_for_a_leftover(store: MemoryStore) -> None:
    """A dead record under the current name must not hide, or cost, the live one under the old."""
    new = tokens_in(store, name="new", previous_name="old")
    new.save_refresh_token("first")
    tokens_in(store, name="old").save_refresh_token("second")
    assert "second" == revealed(new.read_refresh_token())
    assert new.kept.settle() is not None
    assert ["new"] == keys(store)
    assert "second" == revealed(new.read_refresh_token())


def test_a_damaged_leftover_under_the_previous_name_hides_nothing(store: MemoryStore) -> None:
    tokens = tokens_in(store, name="new", previous_name="old")
    tokens.save_refresh_token("first")
    store.write(ItemName(SERVICE, "old", SESSION), Secret("rubbish"), Call())
    assert "first" == revealed(tokens.read_refresh_token())


def test_clearing_erases_both_names(store: MemoryStore) -> None:
    tokens_in(store, name="old").save_refresh_token("first")
    tokens = tokens_in(store, name="new", previous_name="old")
    record = tokens.kept.load()
    assert record is not None
    tokens.kept.write(record)
    tokens.clear_session()
    assert [] == keys(store)


@pytest.mark.parametrize("which", ["previous_name", "name"])
def test_another_account_s_record_is_neither_read_nor_erased(
    store: MemoryStore, which: str
) -> None:
    """A name that turns out to be another account's costs that account nothing.

    Whether a record lives is for its own account's log to say, and ours knows nothing of it.
    """
    others = tokens_in(store, "bob")
    others.save_refresh_token("bob's")
    for fresh_install in ("clear", "keep"):
        names = {which: "bob"} if which == "name" else {"name": "tokens", which: "bob"}
        tokens = tokens_in(store, fresh_install=fresh_install, **names)
        record = others.kept.load()
        assert tokens.read_refresh_token() is None
        assert not tokens.kept.needs_settling(tokens.kept.stored(), tokens.kept.log.read())
        assert tokens.kept.settle() is None
        assert tokens.clear_session()
        tokens.kept.erase()
        assert record is not None
        assert record.session_id == others.kept.log.read().session_id
        assert "bob's" == revealed(others.read_refresh_token())


def test_a_login_beside_another_account_s_record_is_renamed_around_it(store: MemoryStore) -> None:
    others = tokens_in(store, "bob")
    others.save_refresh_token("bob's")
    tokens = tokens_in(store, previous_name="bob")
    tokens.save_refresh_token("alice's")
    assert tokens.kept.settle() is not None
    assert ["alice", "bob"] == sorted(keys(store))
    tokens.clear_session()
    assert "bob's" == revealed(others.read_refresh_token())


def test_what_does_not_open_under_the_previous_name_is_left_to_a_sign_out(
    store: MemoryStore,
) -> None:
    """A rename erases what it has moved; only an explicit call erases what cannot be read."""
    tokens = tokens_in(store, name="new", previous_name="old")
    tokens.save_refresh_token("first")
    store.write(ItemName(SERVICE, "old", SESSION), Secret("rubbish"), Call())
    assert tokens.kept.settle() is not None
    assert ["new", "old"] == sorted(keys(store))
    assert tokens.clear_session()
    assert [] == keys(store)


# Fresh installs.


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


# What cannot be read is not destroyed.


def test_a_damaged_record_is_reported_kept_and_can_be_cleared(store: MemoryStore) -> None:
    tokens = tokens_in(store)
    tokens.save_refresh_token("first")
    store.write(ItemName(SERVICE, "alice", SESSION), Secret("rubbish"), Call())
    for call in (tokens.read_refresh_token, tokens.kept.settle):
        with pytest.raises(SecretDamaged):
            call()
    assert ["alice"] == keys(store)
    tokens.clear_session()
    assert [] == keys(store)


def test_a_store_that_fails_at_any_step_never_loses_the_session_by_looking() -> None:
    def make() -> MemoryStore:
        store = MemoryStore()
        tokens_in(store).save_refresh_token("first")
        return store

    def look(store: Store) -> None:
        tokens = tokens_in(store)
        tokens.kept.load()
        tokens.kept.needs_settling(tokens.kept.stored(), tokens.kept.log.read())
        tokens.kept.settle()

    for run in every_step(make, look, [Fails(StoreUnavailable), Fails(AccessDenied, after=True)]):
        assert "first" == revealed(tokens_in(run.inner).read_refresh_token()), run.step


def test_a_save_that_fails_at_any_step_leaves_no_half_session() -> None:
    for run in every_step(
        MemoryStore,
        lambda store: tokens_in(store).save_refresh_token("first"),
        [Fails(StoreUnavailable), Fails(StoreUnavailable, after=True)],
    ):
        found = revealed(tokens_in(run.inner).read_refresh_token())
        assert isinstance(run.error, StoreError)
        assert found in (None, "first")


def both(store: Store, account: str = "alice") -> TokenStorage:
    """An account whose record has the name of bob's."""
    return tokens_in(store, account, name="bob")


def test_a_login_does_not_take_the_place_of_another_account_s_record(store: MemoryStore) -> None:
    """It is refused before the log ends anything; bob's session goes on."""
    bob = tokens_in(store, "bob")
    bob.save_refresh_token("bob's")
    alice = both(store)
    with pytest.raises(UnsupportedOption) as caught:
        alice.save_refresh_token("alice's")
    assert caught.value.hint
    assert "bob" not in str(caught.value)
    assert not alice.kept.log.read().exists
    assert "bob's" == revealed(bob.read_refresh_token())


def test_a_rename_does_not_take_the_place_of_another_account_s_record(store: MemoryStore) -> None:
    """The record stays under its previous name, where it is found."""
    tokens_in(store, name="old").save_refresh_token("alice's")
    tokens_in(store, "bob").save_refresh_token("bob's")
    renamed = tokens_in(store, name="bob", previous_name="old")
    with pytest.raises(UnsupportedOption):
        renamed.kept.settle()
    assert "alice's" == revealed(renamed.read_refresh_token())
    assert "bob's" == revealed(tokens_in(store, "bob").read_refresh_token())


@pytest.mark.parametrize("error", [StoreLocked, StoreUnavailable, AccessDenied])
def test_where_nobody_can_tell_whose_record_lies_there_nothing_is_overwritten(
    store: MemoryStore, error: type[StoreError]
) -> None:
    tokens_in(store, "bob").save_refresh_token("bob's")
    alice = both(FaultyStore(store, {"read": Fails(error)}))
    with pytest.raises(error):
        alice.save_refresh_token("alice's")
    assert not alice.kept.log.read().exists
    assert "bob's" == revealed(tokens_in(store, "bob").read_refresh_token())


def test_a_record_that_does_not_open_any_more_gives_way_to_a_login(store: MemoryStore) -> None:
    store.write(ItemName(SERVICE, "bob", SESSION), Secret("?"), Call())
    both(store).save_refresh_token("alice's")
    assert "alice's" == revealed(both(store).read_refresh_token())
