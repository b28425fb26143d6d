"""A hidden line on a real pseudo-terminal: what is given, what is shown, and how it ends."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from support.captured import captured, raised_in_library
from support.children import Child
from support.waiting import eventually
from tokenkeep.errors import StoreTimeout
from tokenkeep.item import Call
from tokenkeep.native.terminal import hidden_line, line_of_keys
from tokenkeep.secret import Secret
from tokenkeep.testing.clock import FakeClock

on_a_terminal = pytest.mark.requires("terminal")
if sys.platform != "win32":
    import pty
    import termios
    import tty


class Desk:
    """A terminal, a person at it, and threads that ask them."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self.person, self.fd = pty.openpty()
        # A description of our own, as a program has that opens the terminal by its name.
        self.own = os.open(os.ttyname(self.fd), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.screen = b""

    def asks(self, seconds: float | None = 20.0, question: str = "? ") -> Future[Secret | None]:
        """Asks on a thread."""
        return self._pool.submit(hidden_line, question, Call(seconds), self.own, self.own)

    def sees(self, text: bytes) -> None:
        """Waits for a text on the screen, after what was seen before."""
        eventually(lambda: text in self.look())
        self.screen = self.screen.partition(text)[2]

    def look(self) -> bytes:
        while select.select([self.person], [], [], 0)[0]:
            self.screen += os.read(self.person, 4096)
        return self.screen

    def types(self, data: bytes) -> None:
        os.write(self.person, data)

    def mode(self) -> object:
        return termios.tcgetattr(self.fd)

    def left(self) -> bytes:
        """What the next program would get of what was typed."""
        return os.read(self.fd, 4096) if select.select([self.fd], [], [], 0.2)[0] else b""


@pytest.fixture
def desk() -> Iterator[Desk]:
    with ThreadPoolExecutor(2) as pool:
        found = Desk(pool)
        before = found.mode()
        yield found
        assert before == found.mode(), "the terminal is as it was"
    for fd in {found.person, found.fd, found.own}:
        os.close(fd)


@on_a_terminal
@pytest.mark.parametrize("line", [b"correct horse", b"", "größe".encode(), b"\xff\xfe", b"x" * 999])
def test_the_line_is_given_and_not_shown(desk: Desk, line: bytes) -> None:
    """As it was typed, without its end, also where it is no text; what comes later is dropped."""
    asked = desk.asks()
    desk.sees(b"? ")
    desk.types(line + b"\n")
    assert Secret(line) == asked.result(10)
    assert b"\r\n" == desk.look()
    assert b"" == desk.left()


@on_a_terminal
def test_what_was_typed_before_the_question_is_no_answer(desk: Desk) -> None:
    """A person who typed ahead meant something else."""
    desk.types(b"ahead\n")
    asked = desk.asks()
    desk.sees(b"? ")
    desk.types(b"answer\n")
    assert Secret("answer") == asked.result(10)


@on_a_terminal
@pytest.mark.parametrize("typed", [b"", b"half of it"])
def test_the_deadline_ends_it_and_drops_what_was_typed(desk: Desk, typed: bytes) -> None:
    """Neither the error nor the next program has it."""
    began = time.monotonic()
    asked = desk.asks(0.5)
    desk.sees(b"? ")
    desk.types(typed)
    with pytest.raises(StoreTimeout) as caught:
        asked.result(10)
    assert 0.4 < time.monotonic() - began < 3
    assert "half" not in captured(caught.value)
    assert b"" == desk.left()
    assert b"half" not in desk.look()


@on_a_terminal
@pytest.mark.parametrize(("typed", "given"), [(b"\x04", None), (b"half\x04\x04", Secret("half"))])
def test_the_end_of_input_is_no_empty_line(desk: Desk, typed: bytes, given: Secret | None) -> None:
    """Ctrl-D gives nothing, or what stands there."""
    asked = desk.asks()
    desk.sees(b"? ")
    desk.types(typed)
    assert given == asked.result(10)


@on_a_terminal
def test_a_terminal_that_somebody_draws_on_gives_a_line_too(desk: Desk) -> None:
    """It gives keys, and Enter as a carriage return: for the time of a question it does not."""
    cooked = termios.tcgetattr(desk.fd)
    tty.setraw(desk.fd)
    raw = desk.mode()
    asked = desk.asks()
    desk.sees(b"? ")
    desk.types(b"slip\x15answer\r")
    assert Secret("answer") == asked.result(10)
    assert raw == desk.mode()
    termios.tcsetattr(desk.fd, termios.TCSANOW, cooked)


@on_a_terminal
def test_two_questions_take_turns(desk: Desk) -> None:
    """Else the second would leave the terminal as silent as it found it."""
    first = desk.asks()
    desk.sees(b"? ")
    second = desk.asks(question="! ")
    with pytest.raises(StoreTimeout, match="another question"):
        hidden_line("- ", Call(0.3), desk.own, desk.own)
    desk.types(b"one\n")
    assert Secret("one") == first.result(10)
    desk.sees(b"! ")
    desk.types(b"two\n")
    assert Secret("two") == second.result(10)
    assert b"-" not in desk.look()


def ending(desk: Desk) -> str:
    """What ends a question that nobody answers."""
    with pytest.raises(StoreTimeout) as caught:
        hidden_line("child? ", Call(0.5), desk.own, desk.own)
    return str(caught.value)


@on_a_terminal
@pytest.mark.requires("fork")
def test_a_child_forked_during_a_question_asks_its_own(desk: Desk) -> None:
    """The thread that has the turn does not exist in it."""
    asked = desk.asks()
    desk.sees(b"? ")
    with Child(lambda: ending(desk)) as child:
        assert "nobody answered in time" == child.result()
    desk.types(b"answer\n")
    assert Secret("answer") == asked.result(10)


@on_a_terminal
def test_a_screen_that_stands_still_does_not_hold_it_up(desk: Desk) -> None:
    """Ctrl-S stops what is written, for as long as the person likes."""
    termios.tcflow(desk.fd, termios.TCOOFF)
    began = time.monotonic()
    with pytest.raises(StoreTimeout):
        desk.asks(0.5).result(10)
    assert time.monotonic() - began < 3
    termios.tcflow(desk.fd, termios.TCOON)


@on_a_terminal
def test_a_terminal_that_shows_again_is_silenced_again(desk: Desk) -> None:
    """A shell that had stopped us has let it: the question comes anew, and the answer is hidden."""
    shows = termios.tcgetattr(desk.fd)
    asked = desk.asks()
    desk.sees(b"? ")
    termios.tcsetattr(desk.fd, termios.TCSANOW, shows)
    desk.sees(b"? ")
    desk.types(b"answer\n")
    assert Secret("answer") == asked.result(10)
    assert b"answer" not in desk.look()


@on_a_terminal
def test_what_is_no_terminal_is_an_error() -> None:
    """Of the operating system's kind, whatever found it."""
    reading, writing = os.pipe()
    with pytest.raises(OSError, match="ioctl"):
        hidden_line("? ", Call(1.0), reading, writing)
    os.close(reading)
    os.close(writing)


@on_a_terminal
def test_a_terminal_that_goes_away_ends_it(desk: Desk) -> None:
    """At once, and not as an empty line."""
    controller, fd = pty.openpty()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(hidden_line, "? ", Call(20.0), fd, fd)
        eventually(lambda: bool(select.select([controller], [], [], 0)[0]))
        os.close(controller)
        problem = asked.exception(10)
        assert isinstance(problem, OSError) or asked.result() is None
    os.close(fd)


class Keys:
    """Windows' keyboard: gives what was typed, and then no key any more."""

    def __init__(self, typed: str) -> None:
        self._units = typed.encode("utf-16-le", "surrogatepass")

    def is_waiting(self) -> bool:
        return bool(self._units)

    def next_key(self) -> str:
        unit, self._units = self._units[:2], self._units[2:]
        return unit.decode("utf-16-le", "surrogatepass")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("correct horse\rmore", b"correct horse"),
        ("\n", b""),
        ("slip\b\b\b\b\b\banswer\r", b"answer"),
        ("größe 😀\r", "größe 😀".encode()),
        ("\ud83d\r", b"\xed\xa0\xbd"),
    ],
)
def test_windows_keys_make_a_line(typed: str, line: bytes) -> None:
    """As UTF-8; a half of a pair alone is no text, and no error either."""
    keys = Keys(typed)
    assert Secret(line) == line_of_keys(keys.is_waiting, keys.next_key, Call(5.0))


@pytest.mark.parametrize(("end", "error"), [("", StoreTimeout), ("\x03", KeyboardInterrupt)])
def test_windows_keys_end_without_a_trace(end: str, error: type[BaseException]) -> None:
    """By the deadline or Ctrl-C; no frame has what was typed."""
    keys = Keys("ÄÖÜ" + end)
    with pytest.raises(error) as caught:
        line_of_keys(keys.is_waiting, keys.next_key, Call(5.0, clock=FakeClock()))
    assert raised_in_library(caught.value)
    shown = captured(caught.value)
    for letter, unit in (("Ä", "\\xc4"), ("Ö", "\\xd6"), ("Ü", "\\xdc")):
        assert letter not in shown
        assert unit not in shown
