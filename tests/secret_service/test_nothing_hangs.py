"""Nothing hangs: whatever a keyring does, every public call ends by its deadline, rightly.

One table: situations, each with what every call answers there, on each of the three daemons. After
each situation the keyring comes back, and what was kept is there: nothing was erased.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from secret_service.daemons import NAMES, running
from support.desktop import in_environment
from support.keyring_daemon import KeyringDaemon
from support.overload import lost, taken
from support.screen import screen
from tokenkeep import (
    AsyncSecureStorage,
    Interaction,
    Provider,
    SecureStorage,
    Session,
    TokenStorage,
)
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
#: Seconds beyond its deadline that a call may take for what it does itself: start a thread, raise
#: an error, write a report. What the machine kept from this process meanwhile, as Linux counts it,
#: comes on top: two processors may have ten programs to run.
MARGIN = 0.3
#: `doctor` looks at every store of the platform first, so many seconds long.
LOOK = 2.0

#: Every public call, by the name it has in the table, with the deadlines it has one after another;
#: and the verbs of the command, which no terminal asks to prompt.
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
    # From an event loop: all at once, each on a thread of its own.
    "AsyncSecureStorage": (lambda storage: asyncio.run(_async_calls(storage)), TIMEOUT),
    "TokenStorage.read_refresh_token": (
        lambda storage: tokens(storage).read_refresh_token(),
        TIMEOUT,
    ),
    "TokenStorage.save_refresh_token": (
        lambda storage: tokens(storage, "bob").save_refresh_token("t"),
        TIMEOUT,
    ),
    "TokenStorage.clear_session": (lambda storage: tokens(storage, "bob").clear_session(), TIMEOUT),
    "Session.restore": (lambda storage: in_session(storage, _restored), TIMEOUT),
    "Session.access_token": (lambda storage: in_session(storage, Session.access_token), TIMEOUT),
    "Session.accounts": (lambda storage: in_session(storage, Session.accounts), TIMEOUT),
    "Session.begin": (lambda storage: in_session(storage, _begun), 2 * TIMEOUT),
    "Session.logout": (lambda storage: in_session(storage, _signed_out), 3 * TIMEOUT),
    "get": (lambda storage: command("get", "api_key"), TIMEOUT),
    "set": (lambda storage: command("set", "new"), TIMEOUT),
    "list": (lambda storage: command("list"), TIMEOUT),
    "status": (lambda storage: command("status", "--account=alice"), TIMEOUT),
    "doctor": (lambda storage: _doctor(), LOOK + TIMEOUT),
}
#: What answers the same in every situation: a session is over, or lives in memory, whatever the
#: store says.
_ALWAYS = {
    "facts": "secret-service",
    "TokenStorage.clear_session": False,
    "Session.begin": "MEMORY_ONLY",
    "Session.logout": {"end": "done", "erase": "failed", "revoke": "failed"},
}


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


def _verbs(code: int, state: str) -> dict[str, object]:
    return {**dict.fromkeys(("get", "set", "list", "status"), code), "doctor": (code, state)}


LOCKED: dict[str, object] = {
    "check": "locked",
    "wait_until_unlocked": False,
    "probe": None,
    "Session.restore": "LOCKED",
    **_verbs(4, "locked"),
}
AWAY: dict[str, object] = {"check": "unavailable", **_verbs(6, "unavailable")}
SILENT: dict[str, object] = {"check": "timed out", **_verbs(4, "timed out")}


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
        {**LOCKED, "check": "timed out", "Session.restore": "StoreTimeout"},
        interaction=Interaction.ALLOWED,
        needs={"gnome-keyring": "screen"},
        activates=True,
    ),
    "locked, and the prompt cannot be shown": Situation(
        lambda daemon: daemon.lock(),
        _unlock,
        "InteractionDenied",
        {**LOCKED, "check": "denied", "Session.restore": "InteractionDenied"},
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
    row: str, name: str, tmp_path: Path
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
            began, before = time.monotonic(), taken()
            try:
                answers[name] = call(storage)
            except TokenkeepError as exc:
                answers[name] = type(exc).__name__
            took = time.monotonic() - began
            if took > seconds + MARGIN + lost(before, taken()):
                late[name] = took
    return answers, late


async def _async_calls(storage: SecureStorage) -> object:
    async with AsyncSecureStorage(
        SERVICE, storage.store, timeout=TIMEOUT, interaction=storage.interaction
    ) as faced:
        calls = faced.read("api_key"), faced.write("new", "v"), faced.names(), faced.delete("a")
        answers = await asyncio.gather(*calls, return_exceptions=True)
    (answer,) = {type(each).__name__ for each in answers}
    return answer


def tokens(storage: SecureStorage, account: str = "alice") -> TokenStorage:
    return TokenStorage(storage, account=account)


def in_session(storage: SecureStorage, call: Callable[[Session], object]) -> object:
    """What a new session answers; nothing that it does here needs its provider."""
    provider = Provider("https://issuer.invalid", client_id="notes")
    session = Session(provider, tokens(storage))
    try:
        return call(session)
    finally:
        session.close()


def _restored(session: Session) -> object:
    return session.restore().name


def _begun(session: Session) -> object:
    session.begin({"access_token": "a", "token_type": "Bearer", "refresh_token": "r"})
    return session.state.name


def _signed_out(session: Session) -> object:
    report = session.logout()
    return {step.name: step.outcome for step in report.steps if step.outcome != "not needed"}


def command(*words: str) -> int:
    """The exit code of a command."""
    return run([f"--app={SERVICE}", "--store=secret-service", f"--timeout={TIMEOUT}", *words])


def _doctor() -> tuple[int, str]:
    """The exit code, and the word that tells locked, denied and late apart, which have the same."""
    before = os.dup(1)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 1)
        try:
            code = command("--json", "doctor")
        finally:
            os.dup2(before, 1)
            os.close(before)
        said.seek(0)
        return code, json.load(said)["state"]
