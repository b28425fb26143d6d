"""Nothing hangs: whatever a keyring does, every public call ends by its deadline, rightly.

One table: situations, each with what every call answers there, on each of the three daemons. After
each situation the keyring comes back, and what was kept is there: nothing was erased.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from secret_service.daemons import NAMES, running
from support.desktop import in_environment
from support.keyring_daemon import KeyringDaemon
from support.screen import screen
from tokenkeep import Interaction, SecureStorage
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore, probe
from tokenkeep.cli.main import run
from tokenkeep.errors import TokenkeepError
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret

SERVICE = "org.example.notes"
RECORD = ItemName(SERVICE, "alice", SESSION)
KEPT = {"api_key": b"s3cret", "alice": b"record"}
#: Seconds that each call into the store may take.
TIMEOUT = 0.3
#: Seconds beyond its deadline that a call may take on a machine that has other things to do.
MARGIN = 1.5
#: `doctor` looks at every store of the platform first, so many seconds long.
LOOK = 2.0

#: Every public call, by the name it has in the table, with the deadlines it has one after another.
CALLS: dict[str, tuple[Callable[[SecureStorage], object], float]] = {
    "read": (lambda storage: storage.read("api_key"), TIMEOUT),
    "read of what is not there": (lambda storage: storage.read("nothing"), TIMEOUT),
    "write": (lambda storage: storage.write("new", "value"), TIMEOUT),
    "overwrite": (lambda storage: storage.write("api_key", "other"), TIMEOUT),
    "delete": (lambda storage: storage.delete("api_key"), TIMEOUT),
    "names": (lambda storage: storage.names(), TIMEOUT),
    "contains": (lambda storage: storage.contains("api_key"), TIMEOUT),
    "read_all": (lambda storage: storage.read_all(), TIMEOUT),
    "delete_all": (lambda storage: storage.delete_all(), TIMEOUT),
    "reset": (lambda storage: storage.reset(), TIMEOUT),
    "listen": (lambda storage: storage.listen(print), TIMEOUT),
    "check": (lambda storage: storage.check().state, TIMEOUT),
    "wait_until_unlocked": (lambda storage: storage.wait_until_unlocked(TIMEOUT), TIMEOUT),
    "facts": (lambda storage: storage.facts.backend, 0.0),
    "probe": (lambda storage: probe(SecretServiceOptions(), Call(TIMEOUT)), TIMEOUT),
    "doctor": (lambda storage: _doctor(), LOOK + 3 * TIMEOUT),
}
#: What answers the same in every situation.
_ALWAYS = {"facts": "secret-service"}


@dataclass(frozen=True)
class Situation:
    """One row: how it comes about, and what the calls answer.

    Args:
        error: the error of every call that needs the items.
        others: what the other calls answer.
        not_on: the daemons on which it cannot be, each with the reason.
        needs: what it requires besides the daemon.
        activates: whether the bus starts programs by itself, such as gnome-keyring's prompter.
    """

    begin: Callable[[KeyringDaemon], None]
    end: Callable[[KeyringDaemon], None]
    error: str
    others: dict[str, object]
    interaction: str = Interaction.NEVER
    not_on: dict[str, str] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    has_collection: bool = True
    activates: bool = False


def expected(situation: Situation) -> dict[str, object]:
    """A row's cells: one for each call."""
    return {name: {**_ALWAYS, **situation.others}.get(name, situation.error) for name in CALLS}


LOCKED = {"check": "locked", "wait_until_unlocked": False, "probe": None, "doctor": 4}  # fmt: skip
AWAY = {"check": "unavailable", "doctor": 6}
SILENT = {"check": "timed out", "doctor": 4}


def _unlock(daemon: KeyringDaemon) -> None:
    # A prompt that is open keeps KWallet and KeePassXC from being unlocked in another way.
    daemon.restart()


def _kill_bus(daemon: KeyringDaemon) -> None:
    daemon.bus.kill()


def _restart_bus(daemon: KeyringDaemon) -> None:
    daemon.bus.restart()
    daemon.restart()


def _freeze_bus(daemon: KeyringDaemon) -> None:
    daemon.bus.disconnect()
    daemon.bus.daemon.send_signal(signal.SIGSTOP)


def _thaw_bus(daemon: KeyringDaemon) -> None:
    daemon.bus.daemon.send_signal(signal.SIGCONT)


def _hide_bus(daemon: KeyringDaemon) -> None:
    os.environ.pop("DBUS_SESSION_BUS_ADDRESS")
    os.environ["XDG_RUNTIME_DIR"] = str(daemon.bus.home / "nothing here")


def _nothing(daemon: KeyringDaemon) -> None:
    pass


_UNREACHED = "no daemon is reached: what is asked and answered is the same on each"
_NO_OTHER = "nothing starts it again but its own desktop: see the row above"

SITUATIONS = {
    "locked, and the prompt is not answered": Situation(
        lambda daemon: daemon.lock(),
        _unlock,
        "StoreTimeout",
        {**LOCKED, "check": "timed out"},
        interaction=Interaction.ALLOWED,
        needs={"gnome-keyring": "screen"},
        activates=True,
    ),
    "locked, and the prompt cannot be shown": Situation(
        lambda daemon: daemon.lock(),
        _unlock,
        "InteractionDenied",
        {**LOCKED, "check": "denied"},
        interaction=Interaction.ALLOWED,
        not_on={
            "kwallet": "its prompt without a screen waits unseen: see the row above",
            "keepassxc": "its prompt without a screen waits unseen: see the row above",
        },
        activates=True,
    ),
    "locked, without a screen, and no prompt allowed": Situation(
        lambda daemon: daemon.lock(), _unlock, "StoreLocked", LOCKED
    ),
    "the daemon is frozen": Situation(
        lambda daemon: daemon.freeze(), lambda daemon: daemon.thaw(), "StoreTimeout", SILENT
    ),
    "the daemon was killed": Situation(
        lambda daemon: daemon.kill(), lambda daemon: daemon.restart(), "StoreUnavailable", AWAY
    ),
    "the daemon was killed, and is started when it is asked": Situation(
        lambda daemon: daemon.kill(),
        _restart_bus,
        "StoreLocked",
        LOCKED,
        not_on={"kwallet": _NO_OTHER, "keepassxc": _NO_OTHER},
        activates=True,
    ),
    "the bus is dead": Situation(_kill_bus, _restart_bus, "StoreUnavailable", AWAY),
    "the bus is frozen": Situation(
        _freeze_bus,
        _thaw_bus,
        "StoreTimeout",
        SILENT,
        not_on={"kwallet": _UNREACHED, "keepassxc": _UNREACHED},
    ),
    "there is no bus": Situation(_hide_bus, _nothing, "StoreUnavailable", AWAY),
    "there is no default collection": Situation(
        _nothing, _nothing, "StoreUnavailable", AWAY, has_collection=False
    ),
}


def _cells() -> Iterator[Any]:
    for row, situation in SITUATIONS.items():
        for name in NAMES:
            if name not in situation.not_on:
                needed = [name, *filter(None, [situation.needs.get(name)])]
                yield pytest.param(
                    row, name, marks=pytest.mark.requires(*needed), id=f"{row}-{name}"
                )


@pytest.mark.parametrize(("row", "name"), list(_cells()))
def test_every_call_ends_by_its_deadline_with_the_right_error(
    row: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each cell of a row, and then: what was kept is there, and nothing else."""
    situation = SITUATIONS[row]
    has_screen = "screen" in situation.needs.values() and name in situation.needs
    with contextlib.ExitStack() as stack:
        env = {"DISPLAY": stack.enter_context(screen())} if has_screen else {}
        daemon = stack.enter_context(
            running(
                name,
                has_collection=situation.has_collection,
                activates=situation.activates,
                env=env,
            )
        )
        if situation.has_collection:
            _keep()
            daemon.save()
        with in_environment(daemon.bus):
            situation.begin(daemon)
            try:
                answers, late = _answers(situation, tmp_path)
            finally:
                situation.end(daemon)
        assert {} == late
        assert expected(situation) == answers
        with in_environment(daemon.bus):
            assert (KEPT if situation.has_collection else {}) == _kept(daemon, situation)


def _keep() -> None:
    with SecureStorage(SERVICE, SecretServiceOptions(), timeout=10.0) as storage:
        storage.write("api_key", "s3cret")
        storage.store.write(RECORD, Secret("record"), storage.call())


def _kept(daemon: KeyringDaemon, situation: Situation) -> dict[str, bytes]:
    if not situation.has_collection:
        service, root = "org.freedesktop.secrets", "/org/freedesktop/secrets"
        method = "org.freedesktop.Secret.Collection.SearchItems"
        for each in daemon.bus.get(service, root, "org.freedesktop.Secret.Service", "Collections"):
            assert ([],) == daemon.bus.call(service, each, method, "a{ss}", {})
        return {}
    store = SecretServiceStore()
    call = Call(20.0)
    try:
        values = {item.name: store.read(item, call) for item in store.names(SERVICE, call)}
        return {name: value.reveal_bytes() for name, value in values.items() if value is not None}
    finally:
        store.close()


def _answers(situation: Situation, tmp_path: Path) -> tuple[dict[str, object], dict[str, float]]:
    """What each call answers or raises, and those that took too long."""
    answers: dict[str, object] = {}
    late: dict[str, float] = {}
    with SecureStorage(
        SERVICE,
        SecretServiceOptions(),
        timeout=TIMEOUT,
        interaction=situation.interaction,
        state_directory=str(tmp_path),
    ) as storage:
        for name, (call, seconds) in CALLS.items():
            began = time.monotonic()
            try:
                answers[name] = call(storage)
            except TokenkeepError as exc:
                answers[name] = type(exc).__name__
            took = time.monotonic() - began
            if took > seconds + MARGIN:
                late[name] = took
    return answers, late


def _doctor() -> int:
    words = [f"--app={SERVICE}", "--store=secret-service", f"--timeout={TIMEOUT}", "doctor"]
    return run(words)
