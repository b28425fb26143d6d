"""Passphrases that are typed, wherever that ends, and items behind a gate that stays shut."""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leaks.cases import SECRET, Case
from leaks.cases_storage import BAD_VALUES, FAULTS
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.crypto import Argon2Profile
from tokenkeep.errors import (
    NotEnrolled,
    PresenceDenied,
    PresenceLockedOut,
    PresenceUnavailable,
)
from tokenkeep.item import Call
from tokenkeep.native.terminal import hidden_line, line_of_keys
from tokenkeep.presence.gate import PresenceGate, at_start
from tokenkeep.presence.terminal import TerminalPassphrase
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fault, FaultyStore

CHEAP = Argon2Profile(memory_kib=64, passes=1, lanes=1)
VERBS = ("read", "write", "delete", "names", "contains")


class Desk:
    """Where passphrases are enrolled and typed, and a gate behind them."""

    def __init__(self, directory: Path) -> None:
        self.store = FaultyStore(MemoryStore())
        self.clock = FakeClock()
        self.storage = SecureStorage(
            "org.example.leaks",
            self.store,
            clock=self.clock,
            state_directory=str(directory / "state"),
        )

    def passphrase(self, ask: Callable[[str], Any]) -> TerminalPassphrase:
        return TerminalPassphrase(self.storage, ask=ask, profile=CHEAP)

    def verify(self, enrolled: str, ask: Callable[[str], Any], times: int = 1) -> None:
        """Asks for what was enrolled; all but the last of several times may fail."""
        self.passphrase(ask).enrol(enrolled)
        for _ in range(times - 1):
            try:
                self.passphrase(ask).verify("x", Call(60.0, clock=self.clock))
            except PresenceDenied:
                continue
        self.passphrase(ask).verify("x", Call(60.0, clock=self.clock))


def typed(what: object, enrolled: str = "other", times: int = 1) -> Callable[[Path], object]:
    """Somebody types this, or ends the question so."""

    def ask(_question: str) -> object:
        if isinstance(what, BaseException):
            raise what
        return what

    return lambda directory: Desk(directory).verify(enrolled, ask, times)


def while_asking(act: Callable[[Desk], object]) -> Callable[[Path], object]:
    """The right passphrase is typed, and something else happens meanwhile."""

    def run(directory: Path) -> None:
        desk = Desk(directory)

        def ask(_question: str) -> str:
            act(desk)
            return SECRET

        desk.verify(SECRET, ask)

    return run


def failing_store(fault: Fault) -> Callable[[Path], object]:
    return while_asking(lambda desk: setattr(desk.store, "faults", dict.fromkeys(VERBS, fault)))


def enrolled(what: Any, fault: Fault | None = None) -> Callable[[Path], object]:
    def run(directory: Path) -> None:
        desk = Desk(directory)
        desk.store.faults = {} if fault is None else dict.fromkeys(VERBS, fault)
        desk.passphrase(lambda _question: "").enrol(what)

    return run


def at_a_terminal(
    act: Callable[[Callable[[], int]], object], seconds: float
) -> Callable[[Path], object]:
    """Half of the passphrase is typed at a real terminal; then `act` lets it end.

    The hidden question ends with whatever it ends with; `TerminalPassphrase` has it from there.
    """

    def run(directory: Path) -> None:
        import pty

        controller, fd = pty.openpty()

        def type_half() -> int:
            while b"?" not in os.read(controller, 4096):
                pass
            os.write(controller, SECRET.encode())
            time.sleep(0.05)
            return controller

        helper = threading.Thread(target=act, args=(type_half,))
        helper.start()
        try:
            Desk(directory).verify("other", lambda _question: _hidden_or_raise(fd, seconds))
        finally:
            helper.join(10)
            os.close(fd)

    return run


def _hidden_or_raise(fd: int, seconds: float) -> Secret:
    found = hidden_line("? ", Call(seconds), fd, fd)
    if found is None:
        raise EOFError
    return found


def interrupted(type_half: Callable[[], int]) -> None:
    controller = type_half()
    _thread.interrupt_main()
    time.sleep(0.5)
    os.close(controller)


def hung_up(type_half: Callable[[], int]) -> None:
    os.close(type_half())


def too_late(type_half: Callable[[], int]) -> None:
    controller = type_half()
    time.sleep(1.0)
    os.close(controller)


def no_text(type_half: Callable[[], int]) -> None:
    controller = type_half()
    os.write(controller, b"\xff\xfe\n")
    time.sleep(0.5)
    os.close(controller)


def key_by_key(_directory: Path) -> object:
    keys = list(SECRET)
    return line_of_keys(lambda: bool(keys), lambda: keys.pop(0), Call(5.0, clock=FakeClock()))


class Answering:
    """A way to prove presence that always ends in one way."""

    name = "answering"

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem

    def verify(self, reason: str, call: Call) -> None:
        if self.problem is not None:
            raise self.problem


def write(value: Any) -> Callable[[PresenceGate], object]:
    return lambda gate: gate.write("two", value)


READS: dict[str, Callable[[PresenceGate], object]] = {
    "read": lambda gate: gate.read("one"),
    "read_all": lambda gate: gate.read_all(),
    "require": lambda gate: gate.require(),
}
PROBLEMS: dict[str, Exception] = {
    "cancelled": PresenceDenied(reason="cancelled"),
    "failed": PresenceDenied(reason="failed"),
    "unavailable": PresenceUnavailable("no reader"),
    "not enrolled": NotEnrolled("no finger"),
    "locked out": PresenceLockedOut(retry_after=30.0),
    "a bug": RuntimeError("a bug"),
}


def gated(
    act: Callable[[PresenceGate], object],
    problem: Exception | None = None,
    fault: Fault | None = None,
) -> Callable[[Path], object]:
    """What a gate does before an item, after somebody has proved to be there once."""

    def run(directory: Path) -> object:
        desk, person = Desk(directory), Answering()
        gate = PresenceGate(desk.storage, person, at_start)
        gate.write("one", SECRET)
        gate.read("one")
        if problem is not None:
            gate.forget()
            person.problem = problem
        desk.store.faults = {} if fault is None else dict.fromkeys(VERBS, fault)
        return act(gate)

    return run


CASES = [
    Case("typed passphrase that is wrong", typed(SECRET)),
    Case("typed passphrase that is wrong, as a secret", typed(Secret(SECRET))),
    Case("typed passphrase that is no text", typed(SECRET.encode() + b"\xff\xfe")),
    Case("typed passphrase where another is enrolled", typed("other", enrolled=SECRET)),
    Case("typed passphrase once too often", typed(SECRET, times=5)),
    Case("typed passphrase that is cancelled", typed(KeyboardInterrupt(), enrolled=SECRET)),
    Case("typed passphrase that ends", typed(EOFError(), enrolled=SECRET)),
    Case("typed passphrase without a terminal", typed(PresenceUnavailable("no"), enrolled=SECRET)),
    *(
        Case(f"typed passphrase of {why}", typed(value))
        for why, value in BAD_VALUES.items()
        if not why.startswith("too large")
    ),
    Case("typed passphrase too late", while_asking(lambda desk: desk.clock.advance(100.0))),
    Case(
        "typed passphrase and another enrolled meanwhile",
        while_asking(lambda desk: desk.passphrase(str).enrol("other")),
    ),
    Case(
        "typed passphrase and the item damaged meanwhile",
        while_asking(lambda desk: desk.storage.write("presence passphrase", SECRET)),
    ),
    *(Case(f"typed passphrase: {fault}", failing_store(FAULTS[fault])) for fault in FAULTS),
    *(
        Case(f"enrol {why} as a passphrase", enrolled(value))
        for why, value in BAD_VALUES.items()
        if not why.startswith("too large")
    ),
    *(
        Case(f"enrol a passphrase: {fault}", enrolled(SECRET, FAULTS[fault]))
        for fault in FAULTS
        if fault != "lost answer"
    ),
    Case("typed key by key and not in time", key_by_key),
    *(
        Case(f"gate {name}: {why}", gated(read, problem))
        for name, read in READS.items()
        for why, problem in PROBLEMS.items()
    ),
    *(
        Case(f"gate {name} after a proof: {fault}", gated(READS[name], fault=FAULTS[fault]))
        for name in ("read", "read_all")
        for fault in FAULTS
    ),
    *(Case(f"gate write: {fault}", gated(write(SECRET), fault=FAULTS[fault])) for fault in FAULTS),
    *(
        Case(f"gate write {why}", gated(write(value)))
        for why, value in BAD_VALUES.items()
        if why != "too large for the store"
    ),
]
if sys.platform != "win32":
    CASES += [
        Case(f"typed at a terminal: {act.__name__}", at_a_terminal(act, seconds))
        for act, seconds in ((interrupted, 20), (hung_up, 20), (no_text, 20), (too_late, 0.5))
    ]
