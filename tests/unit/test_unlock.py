"""Waiting for a locked store: what it answers, when, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from tokenkeep import AsyncSecureStorage, MemoryStore, SecureStorage
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
)
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Store, Unlockable
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, FaultyStore, Stalls
from tokenkeep.unlock import FIRST_PAUSE, GROWTH, LONGEST_PAUSE, LOOK_SECONDS

SERVICE = "org.example.notes"
ITEM = ItemName(SERVICE, "api_key")
VERBS = ["names", "read"]


class Unlocking(FakeClock):
    """A clock by which a store's fault is over, or is another one, from a reading on."""

    def __init__(self) -> None:
        super().__init__()
        self.store: FaultyStore | None = None
        self.plan: list[tuple[float, dict[int | str, Any]]] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        while self.plan and self.monotonic() >= self.plan[0][0]:
            assert self.store is not None
            self.store.faults = self.plan.pop(0)[1]

    def after(self, seconds: float, faults: dict[int | str, Any]) -> None:
        self.plan.append((self.monotonic() + seconds, faults))


@pytest.fixture
def clock() -> Unlocking:
    return Unlocking()


@pytest.fixture
def store(clock: Unlocking) -> FaultyStore:
    clock.store = FaultyStore(MemoryStore())
    clock.store.inner.write(ITEM, Secret("s3cret"), Call())
    return clock.store


@pytest.fixture
def storage(store: FaultyStore, clock: Unlocking, tmp_path: Path) -> SecureStorage:
    return SecureStorage(SERVICE, store, clock=clock, state_directory=str(tmp_path))


def test_a_store_that_can_be_read_needs_no_waiting(
    storage: SecureStorage, clock: Unlocking
) -> None:
    """An open store is True at once, empty or not."""
    began = clock.monotonic()
    assert storage.wait_until_unlocked(10.0) is True
    storage.delete("api_key")
    assert storage.wait_until_unlocked(None) is True
    assert began == clock.monotonic()


@pytest.mark.parametrize("verb", VERBS)
def test_a_store_that_stays_locked_is_false_at_the_deadline(
    storage: SecureStorage, store: FaultyStore, clock: Unlocking, verb: str
) -> None:
    """Also one that lists its items while it is locked; not before the time, and not after."""
    store.faults = {verb: Fails(StoreLocked)}
    began = clock.monotonic()
    assert storage.wait_until_unlocked(10.0) is False
    assert 10.0 == pytest.approx(clock.monotonic() - began)


@pytest.mark.parametrize("verb", VERBS)
def test_unlocking_is_noticed_within_the_longest_pause(
    storage: SecureStorage, store: FaultyStore, clock: Unlocking, verb: str
) -> None:
    """Pauses grow, but not beyond what a person would notice."""
    store.faults = {verb: Fails(StoreLocked)}
    clock.after(100.0, {})
    began = clock.monotonic()
    assert storage.wait_until_unlocked(300.0) is True
    assert 100.0 <= clock.monotonic() - began <= 100.0 + LONGEST_PAUSE
    assert len(store.steps) < 2 * (100 / LONGEST_PAUSE + 20)


@pytest.mark.parametrize("verb", VERBS)
def test_a_frozen_store_times_out_and_is_not_called_locked(
    storage: SecureStorage, store: FaultyStore, clock: Unlocking, verb: str
) -> None:
    """Nobody knows whether a store that does not answer is locked."""
    store.faults = {verb: Stalls(3_600.0)}
    began = clock.monotonic()
    with pytest.raises(StoreTimeout):
        storage.wait_until_unlocked(10.0)
    assert 10.0 == pytest.approx(clock.monotonic() - began)


def test_a_store_that_freezes_for_a_while_is_asked_again(
    storage: SecureStorage, store: FaultyStore, clock: Unlocking
) -> None:
    """One look has a deadline of its own: a hiccup does not use up the whole wait."""
    store.faults = {"names": Stalls(3_600.0)}
    clock.after(LOOK_SECONDS, {})
    assert storage.wait_until_unlocked(60.0) is True


def test_a_store_that_is_not_there_is_said_at_once(
    storage: SecureStorage, store: FaultyStore, clock: Unlocking
) -> None:
    """Waiting does not help where nothing can be unlocked."""
    store.faults = {"names": Fails(StoreUnavailable)}
    began = clock.monotonic()
    with pytest.raises(StoreUnavailable):
        storage.wait_until_unlocked(10.0)
    assert began == clock.monotonic()


def test_a_locked_store_that_is_restarted_is_waited_for(
    storage: SecureStorage, store: FaultyStore, clock: Unlocking
) -> None:
    """A daemon that went away may come back; if it does not, that is the answer."""
    store.faults = {"names": Fails(StoreLocked)}
    clock.after(2.0, {"names": Fails(StoreUnavailable)})
    clock.after(6.0, {})
    assert storage.wait_until_unlocked(60.0) is True
    store.faults = {"names": Fails(StoreLocked)}
    clock.after(2.0, {"names": Fails(StoreUnavailable)})
    with pytest.raises(StoreUnavailable):
        storage.wait_until_unlocked(60.0)


def test_what_unlocking_does_not_mend_is_raised_at_once(
    storage: SecureStorage, store: FaultyStore
) -> None:
    """A refused program need not wait for a person to unlock."""
    store.faults = {"names": Fails(AccessDenied)}
    with pytest.raises(AccessDenied):
        storage.wait_until_unlocked(60.0)


@pytest.mark.parametrize("trouble", [SecretDamaged, SecretInvalidated, InteractionDenied])
def test_an_item_s_own_trouble_is_not_a_lock(
    storage: SecureStorage, store: FaultyStore, trouble: type[StoreError]
) -> None:
    """The store answered; what is wrong with one item, reading it will say."""
    store.faults = {"read": Fails(trouble)}
    assert storage.wait_until_unlocked(60.0) is True


def test_waiting_never_prompts_and_changes_nothing(
    storage: SecureStorage, store: FaultyStore
) -> None:
    """Nothing but listing and reading is asked of the store, without interaction."""
    asked = []

    class Noting:
        facts = store.facts

        def names(self, service: str, call: Call) -> list[ItemName]:
            asked.append(call.interaction)
            return store.names(service, call)

        def read(self, name: ItemName, call: Call) -> Secret | None:
            asked.append(call.interaction)
            return store.read(name, call)

    noting: Any = Noting()
    allowing = SecureStorage(SERVICE, noting, interaction=Interaction.ALLOWED)
    assert allowing.wait_until_unlocked(5.0) is True
    assert [Interaction.NEVER] * 2 == asked
    assert {"names", "read"} == {step.verb for step in store.steps}
    assert [ITEM] == store.inner.names(SERVICE, Call())


class Hints:
    """Unlocks the store as it is waited for the third time, and tells so."""

    def __init__(self, store: FaultyStore) -> None:
        self._store = store
        self.pauses: list[float] = []
        self.is_closed = False

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        if len(self.pauses) < 3:
            return False
        self._store.faults.pop("names", None)
        return True

    def close(self) -> None:
        self.is_closed = True


def test_a_store_that_hears_of_its_unlocking_is_looked_at_when_it_does(tmp_path: Path) -> None:
    """A hint ends the pause at once; no clock is slept on, and listening ends with the wait."""
    hints: list[Hints] = []

    class Hearing(MemoryStore):
        def unlock_signals(self, call: Call) -> Hints:
            hints.append(Hints(store))
            return hints[-1]

    store = FaultyStore(Hearing(), {"names": Fails(StoreLocked)})
    clock = FakeClock()
    storage = SecureStorage(SERVICE, store, clock=clock, state_directory=str(tmp_path))
    assert isinstance(store, Unlockable)
    assert not isinstance(MemoryStore(), Unlockable)
    began = clock.monotonic()
    assert storage.wait_until_unlocked(60.0) is True
    assert began == clock.monotonic()
    assert [[0.0, FIRST_PAUSE, FIRST_PAUSE * GROWTH]] == [each.pauses for each in hints]
    assert [True] == [each.is_closed for each in hints]
    assert storage.wait_until_unlocked(60.0) is True
    assert 1 == len(hints)


def test_a_store_that_cannot_listen_now_is_polled(
    storage: SecureStorage, store: FaultyStore, clock: Unlocking
) -> None:
    """Hints are a help, not a condition."""

    class Deaf(MemoryStore):
        def unlock_signals(self, call: Call) -> Hints:
            raise StoreUnavailable

    deaf = FaultyStore(Deaf(), {"names": Fails(StoreLocked)})
    clock.store = deaf
    clock.after(10.0, {})
    assert SecureStorage(SERVICE, deaf, clock=clock).wait_until_unlocked(60.0) is True


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_an_event_loop_waits_too(store: FaultyStore, tmp_path: Path) -> None:
    """The asynchronous twin gives the same answers, and a cancelled wait ends at once."""
    storage = AsyncSecureStorage(SERVICE, store, state_directory=str(tmp_path))
    assert await storage.wait_until_unlocked(5.0) is True
    store.faults = {"names": Fails(StoreLocked)}
    assert await storage.wait_until_unlocked(0.1) is False
    with anyio.move_on_after(0.1) as scope:
        await storage.wait_until_unlocked(None)
    assert scope.cancelled_caught
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_unlock_soon, store)
        assert await storage.wait_until_unlocked(10.0) is True
    store.faults = {"names": Fails(StoreUnavailable)}
    with pytest.raises(StoreUnavailable):
        await storage.wait_until_unlocked(10.0)
    store.faults = {"names": Stalls(3_600.0)}
    with pytest.raises(StoreTimeout):
        await storage.wait_until_unlocked(0.1)


async def _unlock_soon(store: FaultyStore) -> None:
    await anyio.sleep(0.2)
    store.faults = {}


def test_the_memory_store_is_a_plain_store_to_the_waiting() -> None:
    """What is not `Unlockable` is polled."""
    store: Store = MemoryStore()
    assert SecureStorage(SERVICE, store).wait_until_unlocked(1.0) is True
