"""Listeners over a vault: what others changed is found without reading what they did not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenkeep.errors import StoreLocked
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.faulty import Fails, FaultyStore
from tokenkeep.vault.rekey import rekey
from tokenkeep.watch import Change, Watcher
from vault.places import SERVICE, call, open_store, open_vault, record

NEVER = 3_600.0  # an interval that does not come within a test


class Place:
    """A vault that one storage listens to and another one writes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = FaultyStore(open_store(directory))
        self.other = SecureStorage(SERVICE, open_store(directory))
        for name in ("a", "b", "c"):
            self.other.write(name, "1")
        self.storage = SecureStorage(SERVICE, self.store)
        self.heard: list[Change] = []
        self.storage.listen(self.heard.append, NEVER)

    @property
    def watcher(self) -> Watcher:
        assert self.storage._watcher is not None
        return self.storage._watcher

    def poll(self) -> list[tuple[str, object]]:
        """One look; the steps that it took in the store, without the look at the version."""
        before = len(self.store.steps)
        self.watcher.poll()
        steps = self.store.steps[before:]
        return [(step.verb, step.subject) for step in steps if step.verb != "version"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.storage.close()
    made.store.close()
    made.other.store.close()  # type: ignore[attr-defined]


def test_only_what_changed_is_read(place: Place) -> None:
    """Neither the names nor the values of the others are opened."""
    place.other.write("b", "2")
    assert [("changes", SERVICE), ("read", ItemName(SERVICE, "b"))] == place.poll()
    place.other.write("d", "1")
    place.other.delete("a")
    expected = [("changes", SERVICE), *(("read", ItemName(SERVICE, name)) for name in "ad")]
    assert expected == place.poll()
    assert [] == place.poll()
    assert [Change(changed=("b",)), Change(added=("d",), removed=("a",))] == place.heard


def test_what_was_written_with_the_same_value_is_no_change(place: Place) -> None:
    place.other.write("b", "1")
    place.poll()
    assert [] == place.heard


def test_session_records_are_not_read(place: Place) -> None:
    place.other.store.write(record("alice"), Secret("x"), call())
    assert [("changes", SERVICE)] == place.poll()
    assert [] == place.heard


@pytest.mark.parametrize("verb", ["changes", "read"])
def test_what_could_not_be_seen_is_looked_at_again(place: Place, verb: str) -> None:
    """Also if nobody writes any more."""
    place.other.write("b", "2")
    place.store.faults[verb] = Fails(StoreLocked)
    place.poll()
    assert [] == place.heard
    place.store.faults.clear()
    place.poll()
    assert [Change(changed=("b",))] == place.heard


def test_a_write_of_ours_during_a_look_does_not_hide_another_s(place: Place) -> None:
    """Ours was told when it was made; what replaced it meanwhile is told by the next look."""
    inner = place.store.inner
    looked = inner.changes  # type: ignore[attr-defined]

    def changes(service: str, since: object, call: Call) -> object:
        place.storage.write("b", "ours")
        place.other.write("b", "theirs")
        place.store.inner = inner
        return looked(service, since, call)

    class During:
        def __getattr__(self, verb: str) -> object:
            return changes if verb == "changes" else getattr(inner, verb)

    place.other.write("a", "2")
    place.store.inner = During()  # type: ignore[assignment]
    place.poll()
    place.poll()
    assert [Change(changed=("b",)), Change(changed=("a",)), Change(changed=("b",))] == place.heard
    assert [] == place.poll()


@pytest.mark.parametrize("root", [False, True])
def test_a_rekey_changes_no_item(place: Place, root: bool) -> None:
    """All is sealed anew, and with a new root key lies elsewhere; the values are the same."""
    vault = open_vault(place.directory)
    rekey(vault, call, root=root)
    vault.close()
    place.poll()
    assert [] == place.heard
    place.other.write("b", "2")
    assert [("changes", SERVICE), ("read", ItemName(SERVICE, "b"))] == place.poll()
    assert [Change(changed=("b",))] == place.heard


def test_a_vault_that_is_made_later_is_heard_of(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    heard: list[Change] = []
    with SecureStorage(SERVICE, store) as storage:
        storage.listen(heard.append, NEVER)
        other = open_store(tmp_path)
        other.write(ItemName(SERVICE, "a"), Secret("1"), call())
        assert storage._watcher is not None
        storage._watcher.poll()
        other.close()
    store.close()
    assert [Change(added=("a",))] == heard
