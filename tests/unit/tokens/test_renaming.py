"""An account's record under another name: moved at every step, never over somebody else's."""

from __future__ import annotations

import pytest

from support.token_storage import SERVICE, keys, revealed, tokens_in
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import (
    AccessDenied,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    UnsupportedOption,
    WriteConflict,
)
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Store
from tokenkeep.testing.faulty import Fails, FaultyStore, every_step
from tokenkeep.tokens.record import decode, encode
from tokenkeep.tokens.storage import TokenStorage


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
