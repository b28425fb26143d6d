"""Accounts are told by what they are, not by the names of their records."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.sessions import SERVICE, Place
from tokenkeep import MemoryStore, Secret
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.tokens.accounts import stored_accounts


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "https://issuer.example", store=MemoryStore())


def test_an_account_with_a_record_of_another_name_is_told_by_its_own(place: Place) -> None:
    place.tokens("bob", name="session-2").save_refresh_token("b")
    place.tokens("alice").save_refresh_token("a")
    place.session().begin({"access_token": "t", "token_type": "Bearer", "refresh_token": "c"})
    assert ["alice", "bob"] == place.session().accounts()
    found = stored_accounts(place.tokens().storage)
    assert ["alice", "bob"] == [tokens.account for tokens in found]
    for tokens in found:
        token = tokens.read_refresh_token()
        assert token is not None
        assert {"alice": "c", "bob": "b"}[tokens.account] == token.reveal()


def test_a_record_that_does_not_say_is_told_by_its_name(place: Place) -> None:
    tokens = place.tokens("alice", name="legacy")
    tokens.save_refresh_token("a")
    record = tokens.kept.load()
    assert record is not None
    tokens.kept.write(record.changed(account=""))
    place.store.write(ItemName(SERVICE, "broken", SESSION), Secret("rubbish"), Call())
    assert ["broken", "legacy"] == place.session().accounts()


def test_items_are_no_accounts(place: Place) -> None:
    place.tokens().storage.write("key", "value")
    assert [] == place.session().accounts()
