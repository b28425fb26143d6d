"""A gate whose passphrase is asked for on a real pseudo-terminal, however the question ends."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.requires("terminal")
terminal = pytest.importorskip("support.terminal", exc_type=ImportError)

#: As a shell takes it.
PYTHON = shlex.quote(sys.executable)
QUESTION = "passphrase to show the PIN: "
#: Reads an item behind a gate, and prints what came of it with everything that a crash reporter
#: would keep. Its arguments: the seconds that the person has, how often, and on which thread.
PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from tokenkeep import MemoryStore, SecureStorage
from tokenkeep.crypto import Argon2Profile
from tokenkeep.presence.gate import PresenceGate
from tokenkeep.presence.terminal import TerminalPassphrase
from support.captured import captured

passphrase = TerminalPassphrase(
    SecureStorage("org.example.presence", MemoryStore(), state_directory="state"),
    profile=Argon2Profile(memory_kib=64, passes=1, lanes=1),
)
passphrase.enrol("größe")
storage = SecureStorage("org.example.notes", MemoryStore(), state_directory="state")
storage.write("pin", "1234")
gate = PresenceGate(storage, passphrase, reason="show the PIN", timeout=float(sys.argv[1]))

def read():
    try:
        return gate.read("pin").reveal()
    except BaseException as exc:
        open("kept", "a").write(captured(exc))
        return f"{type(exc).__name__} {getattr(exc, 'reason', exc)}"

for _ in range(int(sys.argv[2])):
    if sys.argv[3] == "main":
        print("got", read())
    else:
        with ThreadPoolExecutor(1) as pool:
            print("got", pool.submit(read).result())
"""


class Desk:
    """A home with the program in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "program.py").write_text(PROGRAM, encoding="utf-8")
        self.environment = {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        }

    def asks(
        self, seconds: float = 20, times: int = 1, thread: str = "main"
    ) -> terminal.AtTerminal:
        return self.runs(sys.executable, "program.py", str(seconds), str(times), thread)

    def runs(self, *command: str, **variables: str) -> terminal.AtTerminal:
        return terminal.AtTerminal(command, self.home, {**self.environment, **variables})

    def kept(self) -> str:
        """What a crash reporter would have."""
        return (self.home / "kept").read_text(encoding="utf-8")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_passphrase_confirms_and_is_not_shown(desk: Desk) -> None:
    """The terminal shows again what is typed afterwards."""
    with desk.asks() as person:
        person.sees(QUESTION)
        assert not person.echoes()
        person.types("größe\n")
        person.sees("got 1234")
        assert person.echoes()
        assert 0 == person.code()
    assert "gr" not in person.screen


@pytest.mark.parametrize("thread", ["main", "another"])
def test_nobody_at_the_terminal_is_told_in_time(desk: Desk, thread: str) -> None:
    """The gate is free for the next question, and nobody has guessed: six times is no lockout."""
    with desk.asks(0.4, 7, thread) as person:
        for _ in range(6):
            person.sees(QUESTION)
            person.types("secret half")
            person.sees("got PresenceDenied timed out", 5)
        person.sees(QUESTION)
        person.types("größe\n")
        person.sees("got 1234")
        assert 0 == person.code()
    assert "half" not in person.screen + desk.kept()


def test_bytes_that_are_no_text_are_a_wrong_passphrase(desk: Desk) -> None:
    """Not an error of a codec, which would carry them; they count as any guess does."""
    with desk.asks(times=5) as person:
        for _ in range(4):
            person.sees(QUESTION)
            person.types(b"secret \xff\xfe\n")
            person.sees("got PresenceDenied failed")
        person.sees("got PresenceLockedOut")
        assert 0 == person.code()
    assert "secret" not in person.screen + desk.kept()
    assert "0xff" not in person.screen + desk.kept(), "as a codec's error says it; a salt does not"


def test_a_terminal_of_another_encoding_gives_the_same_passphrase(desk: Desk) -> None:
    """What it gives is text, as what was enrolled is."""
    latin = (
        "import locale, runpy, sys;"
        "locale.getpreferredencoding = lambda _set: 'iso-8859-1';"
        "sys.argv = ['program.py', '20', '1', 'main']; runpy.run_path('program.py')"
    )
    with desk.runs(sys.executable, "-c", latin) as person:
        person.sees(QUESTION)
        person.types("größe\n".encode("iso-8859-1"))
        person.sees("got 1234")


@pytest.mark.parametrize(("thread", "key"), [("main", b"\x03"), ("main", b"\x04"), ("t", b"\x04")])
def test_cancelling_is_told_as_such(desk: Desk, thread: str, key: bytes) -> None:
    """Ctrl-C and Ctrl-D, after half of a passphrase or none, are no guess."""
    halves = [b"", b"secret half"] if key == b"\x03" else [b""]
    with desk.asks(times=6 * len(halves), thread=thread) as person:
        for half in halves * 6:
            person.sees(QUESTION)
            person.types(half + key)
            person.sees("got PresenceDenied cancelled")
        assert 0 == person.code()
        assert person.echoes()
    assert "half" not in person.screen + desk.kept()


@pytest.mark.requires("/proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_process_that_is_ended_leaves_the_terminal_as_it_was(desk: Desk, number: int) -> None:
    """And ends by the signal, as if there had been no question."""
    script = f"{PYTHON} program.py 20 1 main; echo ended $?; stty -a"
    with desk.runs("sh", "-c", script) as person:
        person.sees(QUESTION)
        (child,) = children_of(person.process.pid)
        os.kill(child, number)
        person.sees(f"ended {128 + number}")
        person.sees(" echo ")
        assert 0 == person.code()


@pytest.mark.requires("/proc")
@pytest.mark.parametrize("thread", ["main", "another"])
def test_a_question_that_was_stopped_goes_on_hidden(desk: Desk, thread: str) -> None:
    """Ctrl-Z gives the terminal back to the shell; `fg` asks anew, and does not show the answer."""
    stopped = "stty -a" if thread == "main" else "stty echo"  # the shell's own doing elsewhere
    script = f"set -m; {PYTHON} program.py 20 1 {thread}; echo stopped; {stopped}; fg"
    with desk.runs("sh", "-c", script) as person:
        person.sees(QUESTION)
        person.types("secret half\x1a")
        person.sees("stopped")
        if thread == "main":
            person.sees(" echo ")
        person.sees(QUESTION)
        assert not person.echoes()
        person.types("größe\n")
        person.sees("got 1234")
        assert 0 == person.code()
        assert person.echoes()
    assert "half" not in person.screen
    assert "gr" not in person.screen.rpartition("program.py")[2]


def children_of(pid: int) -> list[int]:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if found:
            return [int(each) for each in found]
        time.sleep(0.01)
    raise AssertionError("it has no child")
