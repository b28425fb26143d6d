"""TokenStorage: save, read, clear; interrupted at every step."""

from __future__ import annotations

import os

import pytest

from support.token_storage import SERVICE, keys, revealed, tokens_in
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
    StoreUnavailable,
    WriteConflict,
)
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Store
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, FaultyStore, every_step


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
