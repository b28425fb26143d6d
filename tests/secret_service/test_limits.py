"""What has a limit: connections to the bus, descriptors of the process, the size of a message."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from support.bus import Bus
from support.desktop import gnome_desktop, in_environment
from support.gnome_keyring import GnomeKeyring
from support.waiting import eventually
from tokenkeep import SecureStorage
from tokenkeep.backends.secret_service import SecretServiceOptions, probe
from tokenkeep.errors import StoreUnavailable
from tokenkeep.item import Call
from tokenkeep.native.dbus.connection import Connection

pytestmark = pytest.mark.requires("gnome-keyring")

SERVICE = "org.example.notes"
#: Every call that needs the bus, by name.
CALLS: dict[str, Callable[[SecureStorage], object]] = {
    "read": lambda storage: storage.read("token"),
    "write": lambda storage: storage.write("token", "value"),
    "delete": lambda storage: storage.delete("token"),
    "names": lambda storage: storage.names(),
    "contains": lambda storage: storage.contains("token"),
    "read_all": lambda storage: storage.read_all(),
    "delete_all": lambda storage: storage.delete_all(),
    "wait_until_unlocked": lambda storage: storage.wait_until_unlocked(1.0),
    "probe": lambda storage: probe(SecretServiceOptions(), Call(1.0)),
    "storage without options": lambda storage: SecureStorage(SERVICE, timeout=1.0).read("token"),
}


@pytest.fixture
def bus() -> Iterator[Bus]:
    """A bus that takes two connections: the keyring's is one."""
    with Bus(limits={"max_connections_per_user": 2}) as bus, in_environment(bus):
        GnomeKeyring(bus)
        bus.disconnect()
        yield bus


def last_connection(bus: Bus) -> Connection:
    """The one that is left, as soon as the bus has noticed that the test's own was closed."""
    made: list[Connection] = []

    def connected() -> bool:
        with contextlib.suppress(StoreUnavailable):
            made.append(Connection(bus.address, Call(10.0)))
        return bool(made)

    eventually(connected, "the bus took no connection")
    return made[0]


def _answer(call: Callable[[SecureStorage], object], storage: SecureStorage) -> object:
    try:
        return call(storage)
    except StoreUnavailable as exc:
        return next((why for why in ("LimitsExceeded", "no socket") if why in str(exc)), exc)


def test_bus_that_takes_no_more_connections_is_unavailable_and_no_value_is_too_large(
    bus: Bus,
) -> None:
    """Every call says so, with what to do; when somebody hung up, all is as it was."""
    other = last_connection(bus)
    with SecureStorage(SERVICE, SecretServiceOptions(), timeout=1.0) as storage:
        assert dict.fromkeys(CALLS, "LimitsExceeded") == {
            name: _answer(call, storage) for name, call in CALLS.items()
        }
        assert "unavailable" == storage.check().state
        other.close()
        eventually(lambda: storage.check().state == "ok", "the bus took no connection")
        storage.write("token", "kept")
        found = storage.read("token")
        assert found is not None
        assert "kept" == found.reveal()


@pytest.mark.parametrize("store", [("--store", "secret-service"), ()], ids=["asked for", "auto"])
def test_command_says_that_the_bus_is_full(bus: Bus, store: tuple[str, ...]) -> None:
    """Exit 6, and no "unexpected" error."""
    other = last_connection(bus)
    command = [sys.executable, "-m", "tokenkeep.cli", "--app", SERVICE, *store, "get", "token"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    other.close()
    assert 6 == answer.returncode
    assert "LimitsExceeded" in answer.stderr
    assert "unexpected" not in answer.stderr


@contextlib.contextmanager
def without_descriptors() -> Iterator[None]:
    """This process can open nothing."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, before[1]))
    opened = []
    try:
        with contextlib.suppress(OSError):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for each in opened:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_process_without_descriptors_is_told_so_and_goes_on_when_it_has_some() -> None:
    """No socket can be had: every call is an error of ours, and nothing stays broken."""
    with (
        gnome_desktop(),
        SecureStorage(SERVICE, SecretServiceOptions(), timeout=2.0) as storage,
    ):
        for call in CALLS.values():
            call(storage)  # so that nothing is left to import, which needs descriptors of its own
        storage.store.close()  # type: ignore[attr-defined]
        with without_descriptors():
            answers = {name: _answer(call, storage) for name, call in CALLS.items()}
        assert dict.fromkeys(CALLS, "no socket") == answers
        storage.write("token", "kept")
        assert ["token"] == storage.names()
