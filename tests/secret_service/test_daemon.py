"""A daemon that ends, forgets and comes back; one connection for the process; what is durable."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secret_service.daemons import running
from support.children import Child
from support.desktop import gnome_desktop
from support.gnome_keyring import GnomeKeyring
from support.waiting import eventually
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore, probe
from tokenkeep.errors import StoreError, StoreLocked, StoreTimeout, StoreUnavailable
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Store
from tokenkeep.testing.together import together

pytestmark = pytest.mark.requires("gnome-keyring")

NAME = ItemName("org.example.notes", "token")


@pytest.fixture
def keyring() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as keyring:
        yield keyring


@pytest.fixture
def store(keyring: GnomeKeyring) -> Iterator[SecretServiceStore]:
    made = SecretServiceStore()
    yield made
    made.close()


def call(seconds: float = 20.0) -> Call:
    return Call(seconds)


def clients(keyring: GnomeKeyring) -> set[str]:
    """The unique names of whoever is connected to the bus, but for the test's own connection."""
    names = keyring.bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus",
                             "org.freedesktop.DBus.ListNames")[0]  # fmt: skip
    return {name for name in names if name.startswith(":")}


def test_write_survives_the_daemon_being_killed_at_once(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """What a call wrote, changed or deleted is on the disk when it returns."""
    gone = ItemName(NAME.service, "gone")
    for item in (NAME, gone):
        store.write(item, Secret("first"), call())
    store.write(NAME, Secret("second"), call())
    assert store.delete(gone, call()) is True
    keyring.kill()
    keyring.restart()
    assert Secret("second") == store.read(NAME, call())
    assert store.read(gone, call()) is None


def test_restarted_daemon_is_met_with_a_new_session(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """The old session is unknown to it: negotiated again inside the call, for reads and writes."""
    store.write(NAME, Secret("first"), call())
    keyring.restart()
    assert Secret("first") == store.read(NAME, call())
    keyring.restart()
    store.write(NAME, Secret("second"), call())
    assert Secret("second") == store.read(NAME, call())


def test_daemon_killed_between_calls_comes_back_locked() -> None:
    """The bus starts another one, which nobody has unlocked: that is said, nothing is lost."""
    with running("gnome-keyring", activates=True) as keyring:
        store = SecretServiceStore()
        store.write(NAME, Secret("kept"), call())
        keyring.kill()
        with pytest.raises(StoreLocked):
            store.read(NAME, call())
        keyring.unlock()
        assert Secret("kept") == store.read(NAME, call())
        store.close()


@pytest.mark.parametrize("verb", ["read", "write", "delete", "names"])
def test_daemon_killed_in_the_middle_of_a_call_is_an_error_in_time(
    store: SecretServiceStore, keyring: GnomeKeyring, verb: str
) -> None:
    """Frozen with the request in its queue, then killed: the answer never comes."""
    store.write(NAME, Secret("kept"), call())
    keyring.freeze()
    killer = threading.Timer(0.3, keyring.kill)
    killer.start()
    calls = {
        "read": lambda: store.read(NAME, call(5.0)),
        "write": lambda: store.write(NAME, Secret("new"), call(5.0)),
        "delete": lambda: store.delete(NAME, call(5.0)),
        "names": lambda: store.names(NAME.service, call(5.0)),
    }
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        calls[verb]()
    assert time.monotonic() - began < 4.0
    killer.join()
    keyring.restart()
    assert Secret("kept") == store.read(NAME, call())


#: What makes one call for each item, and what it answers when the daemon stops in the middle.
MANY: dict[str, tuple[Callable[[SecureStorage], object], object]] = {
    "check": (lambda storage: storage.check().state, "timed out"),
    "read_all": (lambda storage: storage.read_all(), StoreTimeout),
    "delete_all": (lambda storage: storage.delete_all(), StoreTimeout),
    "names": (lambda storage: storage.names(), StoreTimeout),
}


@pytest.mark.parametrize("verb", MANY)
def test_daemon_that_stops_in_the_middle_of_many_items_costs_one_deadline(
    keyring: GnomeKeyring, verb: str, tmp_path: Path
) -> None:
    """However many items are left: none of them is asked for any more."""
    call, expected = MANY[verb]
    with SecureStorage(
        NAME.service, SecretServiceOptions(), timeout=0.5, state_directory=str(tmp_path)
    ) as storage:
        for number in range(12):
            storage.write(f"item {number}", "value")
        stopping = Stopping(storage.store, keyring, after=1 if verb == "names" else 4)
        with SecureStorage(
            NAME.service, stopping, timeout=0.5, state_directory=str(tmp_path)
        ) as it:
            began = time.monotonic()
            try:
                answer: object = call(it)
            except StoreError as exc:
                answer = type(exc)
            took = time.monotonic() - began
        keyring.thaw()
        assert expected == answer
        assert took < 0.5 + 1.5
        assert 8 < len(storage.names())


class Stopping:
    """A store whose daemon is frozen just before one of the calls."""

    def __init__(self, inner: Store, keyring: GnomeKeyring, after: int) -> None:
        self.facts = inner.facts
        self._inner = inner
        self._keyring = keyring
        self._left = after

    def _passed(self) -> Store:
        self._left -= 1
        if self._left == 0:
            self._keyring.freeze()
        return self._inner

    def read(self, name: ItemName, call: Call) -> Secret | None:
        return self._passed().read(name, call)

    def write(self, name: ItemName, value: Secret, call: Call) -> None:
        self._passed().write(name, value, call)

    def delete(self, name: ItemName, call: Call) -> bool:
        return self._passed().delete(name, call)

    def names(self, service: str, call: Call) -> list[ItemName]:
        return self._passed().names(service, call)


def test_restart_under_threads_loses_nothing_that_was_acknowledged(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """Threads write while the daemon is restarted twice: what returned is there."""
    over = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            for _ in range(2):
                time.sleep(0.3)
                keyring.restart()
            over.set()
            return 0
        acknowledged = -1
        turn = 0
        while not over.is_set():
            try:
                store.write(ItemName(NAME.service, str(number)), Secret(str(turn)), call(2.0))
            except StoreError:
                pass
            else:
                acknowledged = turn
            turn += 1
        return acknowledged

    acknowledged = together(work, 4)
    for number in range(1, 4):
        value = store.read(ItemName(NAME.service, str(number)), call())
        assert value is not None
        assert int(value.reveal()) >= acknowledged[number]


def test_all_stores_of_a_process_share_one_connection(keyring: GnomeKeyring) -> None:
    """Eight threads with a store each: one more client on the bus, gone with the last store."""
    clients(keyring)
    before = clients(keyring)
    stores = [SecretServiceStore() for _ in range(8)]
    together(lambda number: stores[number].read(NAME, call()))
    assert 1 == len(clients(keyring) - before)
    for store in stores[1:]:
        store.close()
    assert stores[0].read(NAME, call()) is None
    stores[0].close()
    eventually(lambda: clients(keyring) == before, "the connection stayed")


def test_forked_child_opens_its_own_connection_and_leaves_the_parents_alone(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """Both work at the same time and after the child ended, each on its own stream."""
    store.write(NAME, Secret("kept"), call())
    before = clients(keyring)

    def child() -> bool:
        return all(store.read(NAME, call()) == Secret("kept") for _ in range(30))

    with Child(child) as other:
        assert all(store.read(NAME, call()) == Secret("kept") for _ in range(30))
        assert other.result() is True
    assert Secret("kept") == store.read(NAME, call())
    eventually(lambda: clients(keyring) == before, "the child's connection stayed")


def test_two_processes_write_one_new_item_and_there_is_one(
    store: SecretServiceStore, keyring: GnomeKeyring
) -> None:
    """Both find nothing and both create: what is left is one item with one of the values."""
    script = """
import sys
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
store = SecretServiceStore()
sys.stdin.readline()
for turn in range(20):
    store.write(ItemName("org.example.notes", f"t{turn}"), Secret(sys.argv[1]), Call(20.0))
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, value], stdin=subprocess.PIPE)
        for value in ("one", "two")
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        with process:
            assert 0 == process.wait(60)
    expected = sorted(ItemName(NAME.service, f"t{turn}") for turn in range(20))
    assert expected == store.names(NAME.service, call())
    for item in expected:
        assert store.read(item, call()) in (Secret("one"), Secret("two"))


def test_late_answer_is_nobodys(store: SecretServiceStore, keyring: GnomeKeyring) -> None:
    """A call gave up on a frozen daemon: its answer, when it comes, is not the next call's."""
    other = ItemName(NAME.service, "other")
    store.write(NAME, Secret("one"), call())
    store.write(other, Secret("two"), call())
    keyring.freeze()
    for _ in range(3):
        with pytest.raises(StoreTimeout):
            store.read(NAME, call(0.1))
    keyring.thaw()
    for _ in range(3):
        assert Secret("two") == store.read(other, call())
        assert Secret("one") == store.read(NAME, call())


def test_probe_starts_no_daemon() -> None:
    """Where the bus would start one when asked, looking does not ask."""
    with running("gnome-keyring", activates=True) as keyring:
        keyring.kill()
        probe(SecretServiceOptions(), call())
        assert not keyring.bus.has("org.freedesktop.secrets")


def test_probe_leaves_a_locked_keyring_locked(keyring: GnomeKeyring) -> None:
    """Locked is no reason against a store."""
    keyring.lock()
    probe(SecretServiceOptions(), call())
    store = SecretServiceStore()
    with pytest.raises(StoreLocked):
        store.read(NAME, call())
    store.close()
