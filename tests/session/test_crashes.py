"""A kill before any step of the real code leaves what the model says it leaves.

The real login, refresh, logout, restore and rename run in a child whose store, transport, log and
fence report every step by the model's name; the child is killed with SIGKILL before the n-th, for
every n. What the next start says is held against the model, killed at the same step.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from session import model, programs
from support.children import Child
from support.sessions import Place, Recording, refresh_token
from tokenkeep import Session, State
from tokenkeep.errors import LoginRequired, SessionUncertain
from tokenkeep.oauth.transport import Httpx2Transport
from tokenkeep.testing.authorization_server import AuthorizationServer
from tokenkeep.tokens.storage import TokenStorage

pytestmark = pytest.mark.requires("fork")

VERDICTS = {
    State.SIGNED_OUT: "signed out",
    State.ACTIVE: "active",
    State.UNCERTAIN: "uncertain",
}


@pytest.fixture
def place(tmp_path: Path, server: AuthorizationServer) -> Place:
    return Place(tmp_path, server.issuer)


class Steps:
    """Counts the steps of a session and ends the process before the n-th."""

    def __init__(self, trace: Path, kill_before: int | None) -> None:
        self._trace = trace
        self._kill_before = kill_before
        self._count = 0

    def __call__(self, name: str) -> None:
        self._count += 1
        if self._count == self._kill_before:
            os.kill(os.getpid(), signal.SIGKILL)
        with self._trace.open("a") as file:
            file.write(f"{name}\n")


class Transport:
    def __init__(self, before: Callable[[str], None]) -> None:
        self._inner = Httpx2Transport()
        self._before = before

    def send(self, request: Any, timeout: float) -> Any:
        if request.url.endswith("/token"):
            self._before("wire.redeem")
        elif request.url.endswith("/revoke"):
            self._before("wire.revoke")
        return self._inner.send(request, timeout)

    def close(self) -> None:
        self._inner.close()


class RecordingHold(Recording):
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()


class RecordingFence(Recording):
    def acquire(self, *arguments: Any) -> Any:
        self._before("fence.enter")
        hold = self._inner.acquire(*arguments)
        return None if hold is None else RecordingHold(hold, LEAVE, self._before)


LEAVE = {"release": "fence.leave"}
STORE = {
    "read": "store.read",
    "write": "store.write",
    "delete": "store.delete",
    "replace": "store.replace",
}
LOG = {"read": "log.read", "begin": "log.begin", "adopt": "log.adopt", "end": "log.end"}


def watched(place: Place, before: Callable[[str], None]) -> tuple[TokenStorage, Transport]:
    """The account's storage with every seam reporting."""
    tokens = place.tokens(fresh_install="keep")
    parts: Any = tokens.kept
    parts.storage._store = Recording(tokens.storage.store, STORE, before)
    parts.log = Recording(tokens.kept.log, LOG, before)
    parts.fence = RecordingFence(tokens.kept.fence, {}, before)
    return tokens, Transport(before)


Ready = Callable[[], None]


def refresh(session: Session, response: dict[str, object], ready: Ready) -> None:
    session.restore()
    ready()
    session.access_token()


def logout(session: Session, response: dict[str, object], ready: Ready) -> None:
    ready()
    session.logout()


def login(session: Session, response: dict[str, object], ready: Ready) -> None:
    ready()
    session.begin(response)


def restore(session: Session, response: dict[str, object], ready: Ready) -> None:
    ready()
    session.restore()


OPERATIONS = {"refresh": refresh, "logout": logout, "login": login, "restore": restore}


def play(
    place: Place, server: AuthorizationServer, operation: str, kill_before: int | None
) -> list[str]:
    """Runs the operation in a child; the steps it took."""
    trace = place.directory / f"trace-{kill_before}"
    if operation == "restore":  # of a record that an installation left which is gone
        Path(place.tokens().kept.log.path).unlink()
    response = {k: v for k, v in server.login("notes").items() if k != "id_token"}

    def work() -> None:
        recording: list[Callable[[str], None]] = []
        tokens, transport = watched(place, lambda name: recording[0](name) if recording else None)
        session = place.session(tokens=tokens, transport=transport)
        steps = Steps(trace, kill_before)
        OPERATIONS[operation](session, response, lambda: recording.append(steps))

    with Child(work) as child:
        if kill_before is None:
            child.result()
        elif child.wait() == 0:
            return []  # it was through before that step
    return trace.read_text().split() if trace.exists() else []


#: Steps that change something; the rest is looking.
EFFECTS = {
    "log.begin",
    "log.adopt",
    "log.end",
    "store.write",
    "store.replace",
    "store.delete",
    "wire.redeem",
    "wire.revoke",
}


def effects(steps: list[str]) -> list[str]:
    return [step for step in steps if step in EFFECTS]


def predicted(operation: str, effects_done: int) -> tuple[list[str], model.World]:
    """The model's run of one operation, killed after so many effects; and all its effects."""
    exploration = model.Exploration(programs.Rules(keeps=True))
    process = model.Local((), operation, (None,))
    world = model.World((process,), crashes=1)
    if operation == "restore":
        world = world._replace(log=programs.MISSING)
    seen: list[str] = []
    stopped: model.World | None = None
    while True:
        step = exploration.following(world.processes[0])
        if isinstance(step, str):
            break
        if step.name in EFFECTS and len(seen) == effects_done and stopped is None:
            stopped = model.killed(world, 0)
        log = world.log
        _, world, answer = next(exploration.play(world, 0, step, ()))
        world = model.answered(world, 0, answer, log)
        if step.name in EFFECTS:
            seen.append(step.name)
    return seen, world if stopped is None else stopped


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_real_code_takes_the_model_s_steps(
    operation: str, place: Place, server: AuthorizationServer
) -> None:
    """The effects of an undisturbed run, in order, are the model's."""
    place.signed_in(server).close()
    real = play(place, server, operation, None)
    assert predicted(operation, 99)[0] == effects(real)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_looks_stand_around_every_effect_as_in_the_model(
    operation: str, place: Place, server: AuthorizationServer
) -> None:
    """Inside the fence: the log before the wire, before the write, and after it."""
    place.signed_in(server).close()
    real = play(place, server, operation, None)
    inside = real[real.index("fence.enter") : real.index("fence.leave")]
    if operation == "refresh":
        inside = [step for step in inside if step in EFFECTS or step == "log.read"]
        assert [
            "log.read",
            "store.replace",
            "log.read",
            "wire.redeem",
            "log.read",
            "store.replace",
            "log.read",
        ] == inside
    elif operation == "login":
        # Ahead of both: whose record lies there.
        looked = ["store.read", "log.begin", "store.read", "store.write", "log.read"]
        assert looked == inside[1:]
    elif operation == "restore":
        assert ["store.read", "log.read"] * 2 == [each for each in inside[1:] if "read" in each]
    else:
        assert "log.end" == effects(real)[0]
        assert "wire.revoke" == real[-1]


@pytest.mark.load
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_before_any_step_leaves_what_the_model_says(
    operation: str, tmp_path: Path, server: AuthorizationServer
) -> None:
    killed_at = 0
    for number in range(1, 60):
        directory = tmp_path / str(number)
        directory.mkdir()
        place = Place(directory, server.issuer)
        place.signed_in(server).close()
        before = refresh_token(place)
        steps = play(place, server, operation, number)
        if number > 1 and not steps:
            break
        assert number - 1 == len(steps)
        _, world = predicted(operation, len(effects(steps)))
        session = place.session()
        started = VERDICTS[session.restore()]
        assert model.verdict(world) == started, (number, steps)
        assert place.tokens().kept.fence.holder() is None, "the fence vanishes with its holder"
        check_the_way_on(session, place, server, started, before)
        killed_at = number
    else:
        raise AssertionError("the operation never came to its end")
    assert killed_at >= 6


def check_the_way_on(
    session: Session, place: Place, server: AuthorizationServer, started: str, before: str
) -> None:
    """Whatever was said at the start is true: nothing is sent twice, and signing in mends all."""
    reuse = server.reuse_detected
    if started == "active":
        session.access_token(min_ttl=10**6)
    elif started == "uncertain":
        with pytest.raises(SessionUncertain):
            session.access_token()
        session.begin(server.login("notes"))
        assert State.ACTIVE is session.state
    else:
        with pytest.raises(LoginRequired):
            session.access_token()
        session.begin(server.login("notes"))
        session.access_token(min_ttl=10**6)
    assert reuse == server.reuse_detected, "a spent token was sent"
    session.close()


@pytest.mark.load
def test_a_rename_killed_before_any_step_is_resumed(
    tmp_path: Path, server: AuthorizationServer
) -> None:
    for number in range(1, 40):
        directory = tmp_path / str(number)
        directory.mkdir()
        place = Place(directory, server.issuer)
        place.signed_in(server, tokens=place.tokens(name="old")).close()
        trace = directory / "trace"

        def work(place: Place = place, trace: Path = trace, number: int = number) -> None:
            steps = Steps(trace, number)
            tokens, _ = watched(place, steps)
            again = place.tokens(name="new", previous_name="old")
            tokens.kept._name, tokens.kept._previous = again.kept._name, again.kept._previous
            tokens.kept.settle()

        with Child(work) as child:
            code = child.wait()
        tokens = place.tokens(name="new", previous_name="old")
        session = place.session(tokens=tokens)
        assert State.ACTIVE is session.restore(), number
        assert [
            name.name
            for name in tokens.storage.store.names("org.example.notes", tokens.storage.call())
        ] == ["new"]
        session.access_token(min_ttl=10**6)
        session.close()
        if code == 0:
            break
    else:
        raise AssertionError("the rename never came to its end")
    assert number >= 6
