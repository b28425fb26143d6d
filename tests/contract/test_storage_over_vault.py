"""SecureStorage over a real vault: what only shows with files and other processes."""

from __future__ import annotations

import os
import queue
from functools import partial
from pathlib import Path

import pytest

from contract.places import options_with_key_file, spoil, spoil_a_name, with_key_file
from tokenkeep.errors import SecretDamaged
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.elsewhere import elsewhere
from tokenkeep.watch import Change

SERVICE = "org.example.notes"


@pytest.fixture
def storage(tmp_path: Path) -> SecureStorage:
    return SecureStorage(
        SERVICE, options_with_key_file(str(tmp_path)), state_directory=str(tmp_path / "state")
    )


def test_reading_a_vault_that_is_not_there_makes_nothing(
    storage: SecureStorage, tmp_path: Path
) -> None:
    """Absent, empty, nothing to erase; only a write makes the vault and its key file."""
    assert storage.read("a") is None
    assert [] == storage.names()
    assert storage.contains("a") is False
    assert storage.delete("a") is False
    assert 0 == storage.delete_all()
    assert storage.check().is_healthy
    assert [] == os.listdir(tmp_path)
    storage.write("a", "x")
    assert {"vault", "key"} == set(os.listdir(tmp_path))


def test_changes_of_another_process_are_heard(storage: SecureStorage, tmp_path: Path) -> None:
    """By name, within the interval."""
    storage.write("old", "1")
    heard: queue.Queue[Change] = queue.Queue()
    stop = storage.listen(heard.put, 0.02)
    elsewhere(
        partial(with_key_file, str(tmp_path)),
        [
            ("write", ItemName(SERVICE, "new"), b"1"),
            ("write", ItemName(SERVICE, "alice", SESSION), b"record"),
            ("delete", ItemName(SERVICE, "old")),
        ],
    )
    added: set[str] = set()
    removed: set[str] = set()
    while not removed:
        change = heard.get(timeout=10)
        added |= set(change.added)
        removed |= set(change.removed)
    stop()
    storage.close()
    assert ({"new"}, {"old"}) == (added, removed)


def test_damaged_item_is_reported_and_can_be_erased(storage: SecureStorage, tmp_path: Path) -> None:
    """`check` names it, `read_all` refuses to leave it out, `delete_all` takes it away."""
    storage.write("bad", "1")
    storage.write("good", "1")
    spoil(partial(with_key_file, str(tmp_path)), str(tmp_path / "vault"), ItemName(SERVICE, "bad"))
    assert [("bad", "damaged"), ("good", "ok")] == [
        (item.name, item.state) for item in storage.check().items
    ]
    with pytest.raises(SecretDamaged):
        storage.read_all()
    assert (2, False) == (storage.delete_all(), storage.delete_all().pending)
    assert storage.check().is_healthy
    assert [] == storage.names()


def test_damaged_name_hides_no_other_item(storage: SecureStorage, tmp_path: Path) -> None:
    """`check` reads all items whose names open, and counts the others."""
    for name in ("a", "b", "c"):
        storage.write(name, "1")
    spoil_a_name(str(tmp_path / "vault"))
    report = storage.check()
    assert ("damaged", 1, False) == (report.state, report.not_looked_at, report.is_healthy)
    assert ["ok", "ok"] == [item.state for item in report.items]
    with pytest.raises(SecretDamaged):
        storage.names()
    assert 2 == storage.delete_all()
    assert storage.check().is_healthy


def test_delete_all_leaves_other_services(storage: SecureStorage, tmp_path: Path) -> None:
    """One vault may keep several applications' items."""
    other = SecureStorage("org.example.other", storage.store)
    other.write("a", "theirs")
    storage.write("a", "mine")
    storage.store.write(ItemName(SERVICE, "alice", SESSION), Secret("record"), Call())
    assert 1 == storage.delete_all()
    assert [] == storage.store.names(SERVICE, Call())
    assert Secret("theirs") == other.read("a")
