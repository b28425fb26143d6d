"""Listeners hear of changes made here at once, and of others' by looking."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator

import pytest

from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import SecretDamaged, StoreLocked, StoreTimeout
from tokenkeep.item import MIGRATION, SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.faulty import Fails, FaultyStore
from tokenkeep.testing.together import forked
from tokenkeep.watch import Change, Watcher

SERVICE = "org.example.notes"
NEVER = 3_600.0  # an interval that does not come within a test


class Recorder:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.changes: queue.Queue[Change] = queue.Queue()

    def __call__(self, change: Change) -> None:
        self.changes.put(change)

    def next(self) -> Change:
        return self.changes.get(timeout=10)

    def so_far(self) -> list[Change]:
        return [self.changes.get_nowait() for _ in range(self.changes.qsize())]


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


@pytest.fixture
def storage(store: FaultyStore) -> Iterator[SecureStorage]:
    with SecureStorage(SERVICE, store) as storage:
        yield storage


@pytest.fixture
def other(store: FaultyStore) -> SecureStorage:
    """Somebody else's storage over the same store: another process, as far as ours can tell."""
    return SecureStorage(SERVICE, store)


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "tokenkeep-watch"}


def watcher(storage: SecureStorage) -> Watcher:
    assert storage._watcher is not None
    return storage._watcher


def test_own_changes_are_told_at_once(storage: SecureStorage) -> None:
    """When `write` or `delete` returns, the listener was called; what is the same is no change."""
    storage.write("old", "1")
    heard = Recorder()
    storage.listen(heard, NEVER)
    storage.write("new", "1")
    storage.write("new", "1")
    storage.write("new", "2")
    storage.write("old", "")
    storage.delete("old")
    storage.delete("old")
    assert [
        Change(added=("new",)),
        Change(changed=("new",)),
        Change(changed=("old",)),
        Change(removed=("old",)),
    ] == heard.so_far()


def test_own_delete_all_is_one_change(storage: SecureStorage) -> None:
    """Not one per item."""
    storage.write("a", "1")
    storage.write("b", "1")
    heard = Recorder()
    storage.listen(heard, NEVER)
    storage.delete_all()
    assert [Change(removed=("a", "b"))] == heard.so_far()


def test_changes_of_others_are_found(storage: SecureStorage, other: SecureStorage) -> None:
    """All since the last look, in one change, sorted."""
    for name in ("changed", "removed", "same"):
        storage.write(name, "1")
    heard = Recorder()
    storage.listen(heard, NEVER)
    other.write("changed", "2")
    other.write("same", "1")
    other.delete("removed")
    other.write("added", "1")
    other.write("a second", "1")
    watcher(storage).poll()
    watcher(storage).poll()
    expected = Change(added=("a second", "added"), removed=("removed",), changed=("changed",))
    assert [expected] == heard.so_far()


def test_thread_looks_by_itself(storage: SecureStorage, other: SecureStorage) -> None:
    """Within the interval, without anybody asking."""
    heard = Recorder()
    storage.listen(heard, 0.01)
    other.write("a", "1")
    assert Change(added=("a",)) == heard.next()


def test_shorter_interval_of_a_second_listener_counts(
    storage: SecureStorage, other: SecureStorage
) -> None:
    """At once, not after the longer one."""
    storage.listen(Recorder(), NEVER)
    heard = Recorder()
    storage.listen(heard, 0.01)
    other.write("a", "1")
    assert Change(added=("a",)) == heard.next()


def test_no_value_is_read_while_the_version_stays(
    storage: SecureStorage, store: FaultyStore
) -> None:
    """A store that tells its version cheaply is asked for nothing else."""
    storage.write("a", "1")
    storage.listen(Recorder(), NEVER)
    watcher(storage).poll()
    before = len(store.steps)
    for _ in range(5):
        watcher(storage).poll()
    assert {"version"} == {step.verb for step in store.steps[before:]}


def test_records_of_ours_are_nobodys_business(storage: SecureStorage, store: FaultyStore) -> None:
    """They are neither told nor read."""
    heard = Recorder()
    storage.listen(heard, NEVER)
    for kind in (SESSION, MIGRATION):
        store.write(ItemName(SERVICE, "alice", kind), Secret("x"), Call())
    before = len(store.steps)
    watcher(storage).poll()
    assert [] == heard.so_far()
    assert "read" not in {step.verb for step in store.steps[before:]}


@pytest.mark.parametrize("verb", ["version", "names", "read"])
@pytest.mark.parametrize("error", [StoreLocked, StoreTimeout])
def test_what_cannot_be_seen_was_not_removed(
    storage: SecureStorage,
    other: SecureStorage,
    store: FaultyStore,
    verb: str,
    error: type[Exception],
) -> None:
    """A failing look tells nothing and forgets nothing; the next one that works does."""
    storage.write("a", "1")
    heard = Recorder()
    storage.listen(heard, NEVER)
    other.write("b", "1")
    store.faults[verb] = Fails(error)
    watcher(storage).poll()
    assert not any(change.removed or change.changed for change in heard.so_far())
    store.faults.clear()
    other.write("a", "2")
    watcher(storage).poll()
    assert "a" in {name for change in heard.so_far() for name in change.changed}


def test_item_that_stops_opening_has_changed(
    storage: SecureStorage, other: SecureStorage, store: FaultyStore
) -> None:
    """Damage is told as a change of the item; it is still there."""
    storage.write("a", "1")
    heard = Recorder()
    storage.listen(heard, NEVER)
    other.write("b", "1")
    store.faults["read"] = Fails(SecretDamaged)
    watcher(storage).poll()
    assert [Change(added=("b",), changed=("a",))] == heard.so_far()


def test_own_change_during_a_look_is_told_once(storage: SecureStorage, store: FaultyStore) -> None:
    """A look that began before the write reports neither it nor its opposite."""
    storage.write("a", "1")
    heard = Recorder()
    storage.listen(heard, NEVER)
    SecureStorage(SERVICE, store.inner).write("b", "1")
    looked = store.inner.names

    def names(service: str, call: Call) -> list[ItemName]:
        found = looked(service, call)
        storage.write("a", "2")
        storage.write("c", "1")
        storage.delete("b")
        return found

    store.inner.names = names  # type: ignore[method-assign]
    watcher(storage).poll()
    store.inner.names = looked  # type: ignore[method-assign]
    watcher(storage).poll()
    watcher(storage).poll()
    assert [Change(changed=("a",)), Change(added=("c",))] == heard.so_far()


def test_secret_that_is_wiped_behind_its_write_was_written_all_the_same() -> None:
    """Somebody else's thread wipes it before listeners are told: the next look tells them."""

    class Wiping(MemoryStore):
        def write(self, name: ItemName, value: Secret, call: Call) -> None:
            super().write(name, Secret(value.reveal_bytes()), call)
            value.wipe()

    with SecureStorage(SERVICE, Wiping()) as storage:
        heard = Recorder()
        storage.listen(heard, NEVER)
        storage.write("a", Secret("1"))
        assert [] == heard.so_far()
        watcher(storage).poll()
        assert Change(added=("a",)) == heard.next()


def test_stopped_listener_hears_no_more(storage: SecureStorage) -> None:
    """The others do; stopping twice is fine; with the last one the thread ends."""
    before = threads()
    first, second = Recorder(), Recorder()
    stop_first = storage.listen(first, NEVER)
    stop_second = storage.listen(second, NEVER)
    stop_first()
    stop_first()
    storage.write("a", "1")
    assert ([], [Change(added=("a",))]) == (first.so_far(), second.so_far())
    stop_second()
    assert before == threads()


def test_listening_again_begins_anew(storage: SecureStorage, other: SecureStorage) -> None:
    """What happened while nobody listened is not told."""
    storage.listen(Recorder(), NEVER)()
    other.write("a", "1")
    heard = Recorder()
    storage.listen(heard, NEVER)
    watcher(storage).poll()
    assert [] == heard.so_far()


def test_closing_the_storage_stops_the_thread(store: FaultyStore) -> None:
    """Nothing of ours goes on."""
    before = threads()
    storage = SecureStorage(SERVICE, store)
    storage.listen(Recorder(), NEVER)
    assert 1 == len(threads() - before)
    storage.close()
    assert before == threads()


def test_listener_that_raises_harms_nobody(
    storage: SecureStorage, other: SecureStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """The write succeeds, the others hear, and the log names the type alone."""

    def bad(_change: Change) -> None:
        raise RuntimeError("a detail")

    heard = Recorder()
    storage.listen(bad, 0.01)
    storage.listen(heard, 0.01)
    storage.write("a", "1")
    other.write("b", "1")
    assert [Change(added=("a",)), Change(added=("b",))] == [heard.next(), heard.next()]
    assert "RuntimeError" in caplog.text
    assert "a detail" not in caplog.text


def test_listener_may_stop_itself_and_use_the_storage(
    storage: SecureStorage, other: SecureStorage
) -> None:
    """From the thread of ours too: neither deadlocks."""
    heard: queue.Queue[object] = queue.Queue()

    def once(change: Change) -> None:
        stop()
        heard.put(storage.names())

    stop = storage.listen(once, 0.01)
    other.write("a", "1")
    assert ["a"] == heard.get(timeout=10)


def test_store_that_cannot_be_listed_cannot_be_listened_to(
    storage: SecureStorage, store: FaultyStore
) -> None:
    """The error is the caller's, now rather than never."""
    store.faults["names"] = Fails(StoreLocked)
    with pytest.raises(StoreLocked):
        storage.listen(Recorder())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_forked_child_is_not_listening(storage: SecureStorage) -> None:
    """It writes without calling the parent's listeners, and may listen for itself."""
    inherited = Recorder()
    storage.listen(inherited, 0.01)

    def child() -> bool:
        storage.write("a", "1")
        own = Recorder()
        stop = storage.listen(own, NEVER)
        storage.write("b", "1")
        stop()
        return [] == inherited.so_far() and [Change(added=("b",))] == own.so_far()

    assert forked(child)
