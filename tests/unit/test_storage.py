"""SecureStorage adds to a store what is the same for all of them, and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenkeep import select
from tokenkeep.backends.memory import MemoryOptions, MemoryStore
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    InvalidName,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
    ValueTooLarge,
)
from tokenkeep.item import ITEM, MIGRATION, SESSION, Call, Interaction, ItemName
from tokenkeep.secret import Secret
from tokenkeep.sessionlog import SessionLog
from tokenkeep.storage import MAX_VALUE_BYTES, SecureStorage
from tokenkeep.store import Protection, Require
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, FaultyStore, Stalls

SERVICE = "org.example.notes"
ACCOUNT = ItemName(SERVICE, "alice", SESSION)
SESSION_ID = "0123456789abcdef0123456789abcdef"


class PlainStore:
    """A store with the four calls and no ability."""

    def __init__(self) -> None:
        self._inner = MemoryStore()
        self.facts = self._inner.facts
        self.read = self._inner.read
        self.write = self._inner.write
        self.delete = self._inner.delete
        self.names = self._inner.names


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=[MemoryStore, PlainStore])
def faulty(request: pytest.FixtureRequest) -> FaultyStore:
    return FaultyStore(request.param())


@pytest.fixture
def storage(faulty: FaultyStore, clock: FakeClock, tmp_path: Path) -> Iterator[SecureStorage]:
    with SecureStorage(SERVICE, faulty, clock=clock, state_directory=str(tmp_path)) as storage:
        yield storage


def test_keeps_text_and_bytes(storage: SecureStorage) -> None:
    """Text is a convenience; what comes back is a secret."""
    storage.write("text", "naïve")
    storage.write("bytes", b"\xff\x00")
    storage.write("secret", Secret("s"))
    storage.write("empty", "")
    revealed = {name: secret.reveal_bytes() for name, secret in storage.read_all().items()}
    expected = {"text": "naïve".encode(), "bytes": b"\xff\x00", "secret": b"s", "empty": b""}
    assert expected == revealed
    assert "naïve" == (storage.read("text") or Secret("")).reveal()


def test_missing_is_none(storage: SecureStorage) -> None:
    """Absent is an answer, not an error."""
    assert storage.read("nothing here") is None
    assert storage.contains("nothing here") is False
    assert storage.delete("nothing here") is False
    assert [] == storage.names()
    assert {} == storage.read_all()


def test_names_are_sorted(storage: SecureStorage) -> None:
    """Every item once."""
    for name in ("b", "a", "B", "é"):
        storage.write(name, name)
    assert ["B", "a", "b", "é"] == storage.names()


def test_delete_says_whether_it_existed(storage: SecureStorage) -> None:
    """Once."""
    storage.write("a", "x")
    assert [True, False] == [storage.delete("a"), storage.delete("a")]


def test_names_and_contains_open_no_value(storage: SecureStorage, faulty: FaultyStore) -> None:
    """Not a single read reaches the store."""
    storage.write("a", "x")
    faulty.faults["read"] = Fails(SecretDamaged)
    assert ["a"] == storage.names()
    assert storage.contains("a") is True
    assert "read" not in {step.verb for step in faulty.steps}


@pytest.mark.parametrize("kind", [SESSION, MIGRATION])
def test_records_of_ours_are_not_items(storage: SecureStorage, kind: str) -> None:
    """No method shows, reads or deletes one by its name."""
    record = ItemName(SERVICE, "alice", kind)
    storage.store.write(record, Secret("record"), Call())
    assert [] == storage.names()
    assert {} == storage.read_all()
    assert storage.read("alice") is None
    assert storage.contains("alice") is False
    assert storage.delete("alice") is False
    assert storage.store.read(record, Call()) == Secret("record")


def test_delete_all_erases_items_and_ends_sessions(
    storage: SecureStorage, tmp_path: Path, clock: FakeClock
) -> None:
    """Every kind goes, every account's log ends, and other services stay."""
    logs = [SessionLog(str(tmp_path), SERVICE, account) for account in ("alice", "bob")]
    for log in logs:
        log.begin(SESSION_ID, clock.wall())
    other = ItemName("org.example.other", "a")
    import_record = ItemName(SERVICE, "a", MIGRATION)
    for item in (ACCOUNT, import_record, ItemName(SERVICE, "a"), ItemName(SERVICE, "b"), other):
        storage.store.write(item, Secret("x"), Call())
    erased = storage.delete_all()
    assert (2, 2, False) == (erased, erased.sessions_ended, erased.pending)
    assert [None, None] == [log.read().session_id for log in logs]
    assert ["logout", "logout"] == [log.read().end_reason for log in logs]
    assert [] == storage.store.names(SERVICE, Call())
    assert [other] == storage.store.names(other.service, Call())
    assert 0 == storage.delete_all()


def test_delete_all_ends_logs_before_it_erases(
    storage: SecureStorage, faulty: FaultyStore, tmp_path: Path, clock: FakeClock
) -> None:
    """A store that fails leaves the sessions dead all the same."""
    log = SessionLog(str(tmp_path), SERVICE, "alice")
    log.begin(SESSION_ID, clock.wall())
    storage.write("a", "x")
    for verb in ("erase", "names", "delete"):
        faulty.faults[verb] = Fails(StoreLocked)
    with pytest.raises(StoreLocked):
        storage.delete_all()
    assert log.read().session_id is None


def test_delete_all_erases_though_a_log_cannot_be_written(
    faulty: FaultyStore, tmp_path: Path, clock: FakeClock
) -> None:
    """The error comes after everything else was done."""
    log = SessionLog(str(tmp_path), SERVICE, "alice")
    log.begin(SESSION_ID, clock.wall())
    os.unlink(log.path)
    os.mkdir(log.path)
    storage = SecureStorage(SERVICE, faulty, clock=clock, state_directory=str(tmp_path))
    storage.write("a", "x")
    with pytest.raises(StoreError):
        storage.delete_all()
    assert [] == storage.names()


def test_delete_all_erases_what_does_not_open(storage: SecureStorage, faulty: FaultyStore) -> None:
    """Nothing is read on the way."""
    storage.write("a", "x")
    faulty.faults["read"] = Fails(SecretDamaged)
    assert 1 == storage.delete_all()
    assert [] == storage.names()


def test_value_above_the_limit_is_refused(storage: SecureStorage) -> None:
    """64 KiB unless told otherwise; the old value stays."""
    storage.write("a", "x" * MAX_VALUE_BYTES)
    with pytest.raises(ValueTooLarge, match=f"{MAX_VALUE_BYTES + 1} bytes") as caught:
        storage.write("a", "é" + "y" * (MAX_VALUE_BYTES - 1))
    assert "store less, or raise max_value_bytes" == caught.value.hint
    assert MAX_VALUE_BYTES == (storage.read("a") or Secret("")).size


def test_stores_limit_counts_too(tmp_path: Path) -> None:
    """The lower of the two."""
    limited = SecureStorage(SERVICE, MemoryOptions(max_value_bytes=10))
    with pytest.raises(ValueTooLarge):
        limited.write("a", "x" * 11)
    raised = SecureStorage(SERVICE, MemoryOptions(), max_value_bytes=10 * MAX_VALUE_BYTES)
    raised.write("a", "x" * 10 * MAX_VALUE_BYTES)
    with pytest.raises(ValueTooLarge) as caught:
        limited.write("a", "x" * (MAX_VALUE_BYTES + 1))
    assert "store less" == caught.value.hint, "raising our own limit would not help"


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 256, "x" * 10_000, "\ud800", None, b"a"])
def test_impossible_name_is_refused_everywhere(storage: SecureStorage, name: Any) -> None:
    """Before the store is asked."""
    calls = (storage.read, storage.delete, storage.contains, lambda name: storage.write(name, "x"))
    for method in calls:
        with pytest.raises(InvalidName):
            method(name)
    with pytest.raises(InvalidName):
        SecureStorage(name, MemoryOptions())


@pytest.mark.parametrize("value", [None, 3, ["x"], {"refresh_token": "x"}])
def test_impossible_value_is_refused(storage: SecureStorage, value: Any) -> None:
    """A secret is text or bytes."""
    with pytest.raises(TypeError):
        storage.write("a", value)
    assert [] == storage.names()


def test_every_store_call_has_the_deadline(storage: SecureStorage, faulty: FaultyStore) -> None:
    """A store that stalls for longer ends each method with `StoreTimeout`."""
    storage.write("a", "x")
    for verb in ("read", "write", "delete", "names", "contains", "erase"):
        faulty.faults[verb] = Stalls(5.0)
    methods = {
        "read": lambda: storage.read("a"),
        "write": lambda: storage.write("a", "y"),
        "delete": lambda: storage.delete("a"),
        "names": storage.names,
        "contains": lambda: storage.contains("a"),
        "read_all": storage.read_all,
        "delete_all": storage.delete_all,
    }
    for method in methods.values():
        with pytest.raises(StoreTimeout):
            method()
    faulty.faults.clear()
    assert storage.read("a") == Secret("x")


def test_each_item_has_a_deadline_of_its_own(storage: SecureStorage, faulty: FaultyStore) -> None:
    """Many items that are slow are not a store that hangs."""
    for name in "abc":
        storage.write(name, "x")
    faulty.faults["read"] = Stalls(4.0)
    assert ["a", "b", "c"] == list(storage.read_all())
    assert storage.check().is_healthy


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("-inf")])
@pytest.mark.parametrize("which", ["timeout", "prompt_timeout"])
def test_time_that_cannot_be_is_refused_at_once(which: str, seconds: float) -> None:
    """NaN is neither over nor left: calls would end by chance."""
    with pytest.raises(UnsupportedOption) as caught:
        SecureStorage(SERVICE, MemoryStore(), **{which: seconds})  # type: ignore[arg-type]
    assert caught.value.hint


def test_call_carries_timeout_interaction_and_clock(clock: FakeClock) -> None:
    """A storage's own, or the timeout of one call."""
    storage = SecureStorage(
        SERVICE, MemoryOptions(), timeout=7.0, interaction=Interaction.ALLOWED, clock=clock
    )
    call = storage.call()
    assert (7.0, Interaction.ALLOWED, clock) == (call.remaining(), call.interaction, call.clock)
    assert 0.5 == storage.call(0.5).remaining()
    assert SecureStorage(SERVICE, MemoryOptions(), timeout=None).call().remaining() is None


@pytest.mark.parametrize(
    "error",
    [StoreLocked, StoreUnavailable, StoreTimeout, SecretDamaged, SecretInvalidated, StoreFull],
)
def test_no_failure_becomes_absent(
    storage: SecureStorage, faulty: FaultyStore, error: type[StoreError]
) -> None:
    """Each comes out as it went in, and nothing was erased because of it."""
    storage.write("a", "x")
    for verb in ("read", "names", "contains"):
        faulty.faults[verb] = Fails(error)
    for method in (lambda: storage.read("a"), storage.names, storage.read_all):
        with pytest.raises(error):
            method()
    with pytest.raises(error):
        storage.contains("a")
    faulty.faults.clear()
    assert storage.read("a") == Secret("x")
    assert not {"write", "delete", "erase"} & {step.verb for step in faulty.steps[1:]}


def test_making_one_touches_nothing(tmp_path: Path, faulty: FaultyStore) -> None:
    """Neither the store nor a directory."""
    state = tmp_path / "state"
    storage = SecureStorage(SERVICE, faulty, state_directory=str(state), require=Require())
    assert [] == faulty.steps
    assert not state.exists()
    storage.close()


def test_demand_is_enforced_before_the_first_read_or_write(faulty: FaultyStore) -> None:
    """The reasons are told, and the store is not called."""
    storage = SecureStorage(SERVICE, faulty, require=Require(protection=Protection.LOGIN))
    for method in (lambda: storage.read("a"), lambda: storage.write("a", "x"), storage.names):
        with pytest.raises(StoreUnavailable, match="LOGIN is required"):
            method()
    assert [] == faulty.steps


def test_demand_that_is_met_is_asked_for_once() -> None:
    """Facts may cost a look at the disk."""

    class Counting(MemoryStore):
        asked = 0

        @property
        def facts(self) -> Any:
            Counting.asked += 1
            return super().facts

    storage = SecureStorage(SERVICE, Counting(), require=Require())
    for _ in range(3):
        storage.read("a")
    assert 1 == Counting.asked


def test_no_store_or_a_wrong_option_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the program shows where it is made; the platform is looked at only later."""
    with pytest.raises(UnsupportedOption):
        SecureStorage(SERVICE, "vault")
    monkeypatch.setattr(select, "platform", lambda: "plan9")
    storage = SecureStorage(SERVICE)
    with pytest.raises(StoreUnavailable, match="no store qualifies"):
        storage.names()


def test_facts_are_the_stores(storage: SecureStorage, faulty: FaultyStore) -> None:
    """Not embellished."""
    assert faulty.facts == storage.facts


def test_state_directory_is_the_users_unless_told(home: Path) -> None:
    """And is not made by asking."""
    directory = SecureStorage(SERVICE, MemoryOptions()).state_directory
    assert directory.startswith(str(home))
    assert not Path(directory).exists()


def test_closing_closes_what_it_opened_and_leaves_what_it_was_given() -> None:
    """A closed storage says so; closing twice is fine."""

    class Closable(MemoryStore):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    given = Closable()
    with SecureStorage(SERVICE, given) as storage:
        storage.write("a", "x")
    storage.close()
    assert 0 == given.closed
    for method in (lambda: storage.read("a"), storage.names, lambda: storage.facts):
        with pytest.raises(StoreUnavailable, match="closed"):
            method()


def test_repr_shows_the_service_alone(storage: SecureStorage) -> None:
    """No option, no key, no value."""
    assert f"SecureStorage('{SERVICE}')" == repr(storage)


def test_two_threads_that_come_first_get_one_store() -> None:
    """Whoever chooses second takes what the first one chose."""
    storage = SecureStorage(SERVICE, MemoryOptions(), require=Require())
    barrier = threading.Barrier(8)
    stores: list[object] = []

    def work() -> None:
        barrier.wait(10)
        stores.append(storage.store)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 == len({id(store) for store in stores})


def test_check_reports_every_item_and_changes_nothing(
    storage: SecureStorage, faulty: FaultyStore
) -> None:
    """Items and records, each with its state; a failing one hides no other."""
    for name in "abc":
        storage.write(name, "12345")
    storage.store.write(ACCOUNT, Secret("record"), Call())
    before = len(faulty.steps)
    # names is the first step of a check, the reads follow in the order of (name, kind).
    faulty.faults = {
        before + 2: Fails(SecretDamaged("no", hint="restore")),
        before + 4: Fails(StoreLocked()),
    }
    report = storage.check()
    assert [
        ("a", ITEM, "damaged", None, "restore"),
        ("alice", SESSION, "ok", 6, None),
        ("b", ITEM, "locked", None, None),
        ("c", ITEM, "ok", 5, None),
    ] == [(each.name, each.kind, each.state, each.size, each.hint) for each in report.items]
    assert report.state == "ok"
    assert not report.is_healthy
    assert {"names", "read"} == {step.verb for step in faulty.steps[before:]}
    faulty.faults.clear()
    assert storage.check().is_healthy


def test_check_of_a_store_that_does_not_list_is_a_report(
    storage: SecureStorage, faulty: FaultyStore
) -> None:
    """Why, and the way out; not an exception."""
    faulty.faults["names"] = Fails(StoreLocked("it is locked", hint="unlock it"))
    report = storage.check()
    assert ("locked", "it is locked", "unlock it") == (report.state, report.problem, report.hint)
    assert not report.is_healthy


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize(
    ("problem", "state"),
    [
        (StoreTimeout("late", hint="wait"), "timed out"),
        (StoreUnavailable("away", hint="wait"), "unavailable"),
        (StoreLocked("shut", hint="wait"), "locked"),
        (InteractionDenied("no", hint="wait"), "denied"),
        (AccessDenied("no", hint="wait"), "denied"),
    ],
)
def test_check_stops_where_the_store_fails(
    storage: SecureStorage, faulty: FaultyStore, problem: StoreError, state: str, step: int
) -> None:
    """From any item on: what was found until then, the store's state, and how many are not known.

    The store is not asked for the others: each would cost a deadline, or a prompt.
    """
    for name in "abcde":
        storage.write(name, "12345")
    before = len(faulty.steps)
    faulty.faults = {number: Fails(problem) for number in range(before + 1 + step, before + 50)}
    report = storage.check()
    assert (state, str(problem), "wait") == (report.state, report.problem, report.hint)
    assert ["ok"] * (step - 1) == [each.state for each in report.items]
    assert 5 - (step - 1) == report.not_looked_at
    assert not report.is_healthy
    assert len(faulty.steps) - before <= step + 2


def test_item_that_is_refused_by_itself_is_one_item(
    storage: SecureStorage, faulty: FaultyStore
) -> None:
    """The store can be listed: so it is open, and the others are read."""
    for name in "abc":
        storage.write(name, "12345")
    before = len(faulty.steps)
    faulty.faults = {before + 2: Fails(StoreLocked()), before + 4: Fails(StoreLocked())}
    report = storage.check()
    assert (["locked", "locked", "ok"], 0) == (
        [each.state for each in report.items],
        report.not_looked_at,
    )
    verbs = [step.verb for step in faulty.steps[before:]]
    assert ["names", "read", "names", "read", "read"] == verbs
