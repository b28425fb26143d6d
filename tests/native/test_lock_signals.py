"""What a desktop says when something was unlocked is heard, and what it says of locking is not."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.bus import Bus
from support.waiting import eventually
from tokenkeep.errors import StoreError, StoreUnavailable
from tokenkeep.item import Call
from tokenkeep.native.lock_signals import LockSignals, is_hint

pytestmark = pytest.mark.requires("logind mock")

LOGIN = "org.freedesktop.login1"
MANAGER = "/org/freedesktop/login1"
MOCK = "org.freedesktop.DBus.Mock"
SAVER = "org.gnome.ScreenSaver"
SAVER_PATH = "/org/gnome/ScreenSaver"
LOGIN_SESSION = f"{MANAGER}/session/c1"
#: Long for a hint, so that a busy machine does not fail the test; a hint takes milliseconds.
HINT, SILENCE = 5.0, 0.15


@pytest.fixture(scope="module")
def buses() -> Iterator[tuple[Bus, Bus]]:
    """A session bus with a screen saver and a system bus with logind, both acted."""
    python = "/usr/bin/python3"  # Debian's, which dbusmock belongs to
    with Bus() as session, Bus() as system:
        env = {"DBUS_SYSTEM_BUS_ADDRESS": system.address}
        mock = (python, "-m", "dbusmock")
        system.spawn(*mock, "--system", "--template", "logind", env=env)
        session.spawn(*mock, "--session", "--template", "gnome_screensaver")
        # Two services that the template does not play.
        saver = ("org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver")
        session.spawn(*mock, "--session", *saver, saver[0])
        kwallet = ("org.kde.kwalletd5", "/modules/kwalletd5", "org.kde.KWallet")
        session.spawn(*mock, "--session", *kwallet)
        for name in (SAVER, saver[0], kwallet[0]):
            session.wait_for(name)
        system.wait_for(LOGIN)
        mocked = (LOGIN, MANAGER)
        system.call(*mocked, f"{MOCK}.AddSeat", "s", "seat0")
        system.call(*mocked, f"{MOCK}.AddUser", "usb", 500, "joe", True)
        system.call(*mocked, f"{MOCK}.AddSession", "ssusb", "c1", "seat0", 500, "joe", True)
        yield session, system


@pytest.fixture
def signals(buses: tuple[Bus, Bus], monkeypatch: pytest.MonkeyPatch) -> Iterator[LockSignals]:
    session, system = buses
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", system.address)
    listening = LockSignals(session.address, Call())
    yield listening
    listening.close()


def emit(bus: Bus, name: str, path: str, said: str, signature: str = "", *body: Any) -> None:
    """Has a mock send a signal, by the interface's and the member's name."""
    interface, _, member = said.rpartition(".")
    method = f"{MOCK}.EmitSignal"
    bus.call(name, path, method, "sssav", interface, member, signature,
             [*zip(signature, body, strict=True)])  # fmt: skip


Told = Callable[[Bus, Bus], None]
HINTS: dict[str, Told] = {
    "the login session is unlocked": lambda session, system: emit(
        system, LOGIN, LOGIN_SESSION, f"{LOGIN}.Session.Unlock"
    ),
    "the session's hint says unlocked": lambda session, system: system.call(
        LOGIN, LOGIN_SESSION, f"{MOCK}.UpdateProperties", "sa{sv}", f"{LOGIN}.Session",
        {"LockedHint": ("b", False)},
    ),
    "the machine woke up": lambda session, system: emit(
        system, LOGIN, MANAGER, f"{LOGIN}.Manager.PrepareForSleep", "b", False
    ),
    "GNOME's screen saver ended": lambda session, system: emit(
        session, SAVER, SAVER_PATH, f"{SAVER}.ActiveChanged", "b", False
    ),
    "another screen saver ended": lambda session, system: emit(
        session, "org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver",
        "org.freedesktop.ScreenSaver.ActiveChanged", "b", False,
    ),
    "KWallet opened a wallet": lambda session, system: emit(
        session, "org.kde.kwalletd5", "/modules/kwalletd5", "org.kde.KWallet.walletOpened",
        "s", "kdewallet",
    ),
}  # fmt: skip
NO_HINTS: dict[str, Told] = {
    "the login session is locked": lambda session, system: emit(
        system, LOGIN, LOGIN_SESSION, f"{LOGIN}.Session.Lock"
    ),
    "the session's hint says locked": lambda session, system: system.call(
        LOGIN, LOGIN_SESSION, f"{MOCK}.UpdateProperties", "sa{sv}", f"{LOGIN}.Session",
        {"LockedHint": ("b", True)},
    ),
    "the machine goes to sleep": lambda session, system: emit(
        system, LOGIN, MANAGER, f"{LOGIN}.Manager.PrepareForSleep", "b", True
    ),
    "the screen saver began": lambda session, system: emit(
        session, SAVER, SAVER_PATH, f"{SAVER}.ActiveChanged", "b", True
    ),
    "another property of the session changed": lambda session, system: system.call(
        LOGIN, LOGIN_SESSION, f"{MOCK}.UpdateProperties", "sa{sv}", f"{LOGIN}.Session",
        {"Active": ("b", False)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_ends_the_wait(hint: str, signals: LockSignals, buses: tuple[Bus, Bus]) -> None:
    """Also one that came before anybody waited; and it is told once."""
    HINTS[hint](*buses)
    began = time.monotonic()
    assert signals.wait(HINT) is True
    assert time.monotonic() - began < HINT
    assert signals.wait(SILENCE) is False


def test_a_wait_of_a_month_begins(signals: LockSignals, buses: tuple[Bus, Bus]) -> None:
    """`poll` counts milliseconds in 31 bits; a hint ends a longer wait all the same."""
    hint = threading.Timer(0.3, next(iter(HINTS.values())), buses)
    hint.start()
    try:
        assert signals.wait(3_000_000.0) is True
    finally:
        hint.join()


@pytest.mark.parametrize("word", NO_HINTS)
def test_what_is_said_of_locking_is_no_hint(
    word: str, signals: LockSignals, buses: tuple[Bus, Bus]
) -> None:
    """Nobody looks at a store because it was just locked."""
    NO_HINTS[word](*buses)
    assert signals.wait(SILENCE) is False


def test_a_daemon_that_comes_is_a_hint(signals: LockSignals, buses: tuple[Bus, Bus]) -> None:
    """Whoever takes the name of the Secret Service may be unlocked."""
    session, _system = buses
    name = "org.freedesktop.secrets"
    daemon = session.spawn("/usr/bin/python3", "-m", "dbusmock", "--session", name, "/", "a.b")
    assert signals.wait(HINT) is True
    session.end(daemon)
    assert signals.wait(HINT) is True


def test_no_system_bus_is_no_obstacle(
    buses: tuple[Bus, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the session bus alone tells; without one there is nothing to listen to."""
    session, _system = buses
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nothing/here")
    signals = LockSignals(session.address, Call())
    HINTS["GNOME's screen saver ended"](*buses)
    assert signals.wait(HINT) is True
    signals.close()
    with pytest.raises(StoreUnavailable):
        LockSignals("unix:path=/nothing/here", Call())


def test_a_bus_that_dies_or_freezes_ends_no_wait_early_and_hangs_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Silence is waited out: whoever waits goes on looking, at its own pace."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nothing/here")
    with Bus() as bus:
        signals = LockSignals(bus.address, Call())
        bus.kill()
        eventually(lambda: bus.daemon.poll() is not None, "the bus lives")
        for _ in range(2):
            began = time.monotonic()
            assert signals.wait(0.2) is False
            assert 0.2 <= time.monotonic() - began < 1.0
        signals.close()
        bus.restart()
        bus.daemon.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(StoreError):
            LockSignals(bus.address, Call(0.3))
        assert time.monotonic() - began < 1.5


class Said:
    """A signal by its parts."""

    def __init__(self, member: str, interface: str, path: str, body: tuple[Any, ...]) -> None:
        self.member, self.interface, self.path, self.body = member, interface, path, body


@pytest.mark.parametrize("body", [(), ("x",), ("x", 7, []), ("x", {"LockedHint": 7}, [])])
def test_signal_of_another_shape_is_no_hint(body: tuple[Any, ...]) -> None:
    """Anybody on the system bus may send one: it ends nobody's waiting with an error."""
    path = "/org/freedesktop/login1/session/c1"
    properties = "org.freedesktop.DBus.Properties"
    said = Said("PropertiesChanged", properties, path, body)
    assert is_hint(said) is False  # type: ignore[arg-type]
