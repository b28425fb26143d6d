"""Fingers at the real fprintd, and questions of the real polkitd, on a private system bus."""

from __future__ import annotations

import getpass
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest

from support.system_bus import ACTION, Agent, SystemBus
from tokenkeep.errors import (
    NotEnrolled,
    PresenceDenied,
    PresenceError,
    PresenceUnavailable,
    UnsupportedOption,
)
from tokenkeep.item import Call
from tokenkeep.presence import fprintd
from tokenkeep.presence.fprintd import Fprintd
from tokenkeep.presence.polkit import Polkit


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[SystemBus]:
    with SystemBus() as started:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", started.address)
        yield started


@pytest.fixture
def reader(bus: SystemBus) -> SystemBus:
    bus.start_fingerprints()
    bus.enrol("mine", getpass.getuser())
    return bus


def scanning(reader: SystemBus, *commands: str) -> threading.Thread:
    """Somebody who uses the reader while it waits for them."""

    def act() -> None:
        for command in commands:
            time.sleep(0.3)
            reader.tell_reader(command)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.requires("fprintd")
def test_the_enrolled_finger_confirms(reader: SystemBus) -> None:
    """Also after a scan that was too short; the reader is free again afterwards."""
    for commands in (("SCAN mine",), ("RETRY 1", "SCAN mine")):
        person = scanning(reader, *commands)
        Fprintd().verify("x", Call(10))
        person.join()


@pytest.mark.requires("fprintd")
def test_the_environment_does_not_say_whose_finger_it_is(
    reader: SystemBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's own counts, as the bus knows it."""
    monkeypatch.setenv("LOGNAME", "somebody-else")
    person = scanning(reader, "SCAN mine")
    Fprintd().verify("x", Call(10))
    person.join()


@pytest.mark.requires("fprintd")
def test_another_finger_is_refused(reader: SystemBus) -> None:
    """Failed, and the next attempt may succeed."""
    person = scanning(reader, "SCAN somebody-else")
    with pytest.raises(PresenceDenied) as caught:
        Fprintd().verify("x", Call(10))
    person.join()
    assert "failed" == caught.value.reason
    person = scanning(reader, "SCAN mine")
    Fprintd().verify("x", Call(10))
    person.join()


@pytest.mark.requires("fprintd")
def test_no_finger_ends_at_the_deadline(reader: SystemBus) -> None:
    """And leaves the reader free."""
    started = time.monotonic()
    with pytest.raises(PresenceDenied) as caught:
        Fprintd().verify("x", Call(0.5))
    assert "timed out" == caught.value.reason
    assert time.monotonic() - started < 5
    person = scanning(reader, "SCAN mine")
    Fprintd().verify("x", Call(10))
    person.join()


@pytest.mark.requires("fprintd")
def test_no_enrolled_finger_is_told(bus: SystemBus) -> None:
    """Nobody is asked."""
    bus.start_fingerprints()
    with pytest.raises(NotEnrolled):
        Fprintd().verify("x", Call(10))


@pytest.mark.requires("fprintd")
def test_a_refused_reader_is_unavailable(reader: SystemBus) -> None:
    """polkit says that this program may not use it."""
    reader.allow(False)
    with pytest.raises(PresenceUnavailable):
        Fprintd().verify("x", Call(10))


def test_every_error_of_fprintd_is_one_of_ours() -> None:
    """Each with words for the person."""
    assert 9 <= len([name for name in fprintd.ERRORS if "Fprint" in name])
    for kind, message in fprintd.ERRORS.values():
        assert issubclass(kind, PresenceError)
        assert message


@pytest.mark.requires("fprintd")
@pytest.mark.parametrize("verify", [Fprintd().verify, Polkit(ACTION).verify])
def test_a_bus_without_the_service_is_unavailable(
    bus: SystemBus, verify: Callable[[str, Call], None]
) -> None:
    """Neither denied nor enrolled nowhere."""
    with pytest.raises(PresenceUnavailable):
        verify("x", Call(10))


@pytest.mark.parametrize("verify", [Fprintd().verify, Polkit(ACTION).verify])
def test_no_bus_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, verify: Callable[[str, Call], None]
) -> None:
    """As on a server, or in a container."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(PresenceUnavailable):
        verify("x", Call(5))


def as_ordinary_user(
    check: Callable[[], None],
    meanwhile: Callable[[int], AbstractContextManager[object]] = lambda _pid: nullcontext(),
) -> str:
    """The name of what `check` raised in a child that gave up being root; "" if it returned.

    What is made `meanwhile` for the child's process is there before the check.
    """
    read, write = os.pipe()
    wait, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(go)
            os.read(wait, 1)
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            check()
        except BaseException as exc:
            os.write(write, type(exc).__name__.encode() + f": {exc}".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.close(wait)
    with os.fdopen(read, "rb") as pipe, os.fdopen(go, "wb") as begin:
        try:
            with meanwhile(pid):
                begin.close()
                return pipe.read().decode()
        finally:
            begin.close()
            os.waitpid(pid, 0)


@pytest.mark.requires("polkit")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("polkit.Result.YES", ""),
        ("polkit.Result.NO", "PresenceDenied"),
        ("polkit.Result.AUTH_SELF", "PresenceUnavailable"),
    ],
)
def test_what_polkit_says(bus: SystemBus, answer: str, expected: str) -> None:
    """Allowed; refused; it would ask, and there is no agent to do it."""
    bus.start_polkit(f"""polkit.addRule(function(action, subject) {{
        if (action.id == "{ACTION}") return {answer};
    }});""")
    import tokenkeep.native.dbus.connection  # noqa: F401 - the child may not be able to read it

    said = as_ordinary_user(lambda: Polkit(ACTION).verify("x", Call(10)))
    assert expected == said.partition(":")[0], said


@pytest.mark.requires("polkit")
@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ("confirm", ""),
        ("dismiss", "PresenceDenied: cancelled"),
        ("fail", "PresenceDenied: failed"),
        ("wait", "PresenceDenied: timed out"),
    ],
)
def test_what_the_person_tells_the_agent(bus: SystemBus, does: str, expected: str) -> None:
    """Dismissed, failed and not answered are three; no question stays on the screen."""
    bus.start_polkit()
    import tokenkeep.native.dbus.connection  # noqa: F401 - the child may not be able to read it

    agents: list[Agent] = []

    def agent(process: int) -> Agent:
        agents.append(Agent(bus, process, does))
        return agents[0]

    def verify() -> None:
        reason = ""
        try:
            Polkit(ACTION).verify("x", Call(1.0 if does == "wait" else 10.0))
        except PresenceDenied as exc:
            reason = exc.reason
        if reason:
            raise PresenceDenied(reason)

    assert expected == as_ordinary_user(verify, agent)
    assert [(ACTION, "Authentication is needed to show a secret")] == agents[0].asked
    assert (does == "wait") == agents[0].was_cancelled.wait(2.0 if does == "wait" else 0.0)


@pytest.mark.requires("polkit")
def test_an_action_that_polkit_does_not_know_is_unavailable(bus: SystemBus) -> None:
    """The application's policy file was not installed."""
    bus.start_polkit()
    import tokenkeep.native.dbus.connection  # noqa: F401

    said = as_ordinary_user(lambda: Polkit("org.example.unknown").verify("x", Call(10)))
    assert said.startswith("PresenceUnavailable"), said


@pytest.mark.parametrize("action", ["", "a b", "a/b", "é"])
def test_what_cannot_be_an_action_is_refused(action: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(UnsupportedOption):
        Polkit(action)
