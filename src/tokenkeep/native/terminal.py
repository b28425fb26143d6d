"""A line that a person types at a terminal without seeing it, ended by a deadline.

However this ends, by Ctrl-C, Ctrl-Z or the end of the process too, the terminal is as it was
before, and what was typed is returned or wiped.
"""

from __future__ import annotations

import os
import sys
from _thread import TIMEOUT_MAX, allocate_lock

from tokenkeep.errors import StoreTimeout
from tokenkeep.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tokenkeep.item import Call

#: Seconds of one wait: then a deadline is noticed, and a terminal that shows what is typed.
_TICK = 0.1
#: Seconds between two looks for a key on Windows: nobody notices less.
_KEY_PAUSE = 0.02
#: No terminal gives a longer line (Linux: N_TTY_BUF_SIZE).
_LINE_BYTES = 4096
#: What ends or stops a process without a word to it, unless it asks to be told.
_SIGNALS = ("SIGTSTP", "SIGTERM", "SIGHUP", "SIGQUIT")


def line_of_keys(is_waiting: Callable[[], bool], next_key: Callable[[], str], call: Call) -> Secret:
    """The line that Windows' console gives key by key, as UTF-8.

    Args:
        is_waiting: whether there is a key.
        next_key: takes it, one unit of UTF-16.

    Raises:
        StoreTimeout: the deadline has passed.
        KeyboardInterrupt: the key was Ctrl-C.
    """
    units = bytearray()
    try:
        while True:
            key = ""  # this frame may be in a traceback
            while not is_waiting():
                _check(call)
                call.clock.sleep(_KEY_PAUSE)
            key = next_key()
            if key in "\r\n":
                # A half of a pair alone is no text; it is kept as what it is, and never an error
                # that would carry the rest.
                text = units.decode("utf-16-le", "surrogatepass")
                return Secret(text.encode("utf-8", "surrogatepass"))
            if key == "\x03":
                raise KeyboardInterrupt
            if key == "\b":
                del units[-2:]
            else:
                units += key.encode("utf-16-le", "surrogatepass")
    finally:
        _wipe(units)


def _check(call: Call) -> None:
    if call.remaining() == 0.0:
        raise StoreTimeout("nobody answered in time")


def _wipe(buffer: bytearray) -> None:
    buffer[:] = bytes(len(buffer))


if sys.platform == "win32":

    def hidden_line(question: str, call: Call, reading: int, writing: int) -> Secret | None:
        """As elsewhere; asks on the console, whatever the descriptors are."""
        import msvcrt

        for character in question:
            msvcrt.putwch(character)
        try:
            return line_of_keys(msvcrt.kbhit, msvcrt.getwch, call)
        finally:
            msvcrt.putwch("\r")
            msvcrt.putwch("\n")

else:
    import select
    import signal
    import termios
    from contextlib import suppress

    #: A process has one terminal: of two questions at once, each would take the other's silence for
    #: how the terminal was before.
    _turn = allocate_lock()

    def hidden_line(question: str, call: Call, reading: int, writing: int) -> Secret | None:
        """The line without its end; None if the input ended before anything was typed.

        Args:
            call: its deadline ends the wait; what was typed by then is dropped.
            reading, writing: the terminal's descriptors.

        Raises:
            StoreTimeout: the deadline has passed.
            OSError: the terminal cannot be used.
        """
        turn, remaining = _turn, call.remaining()
        if not turn.acquire(timeout=-1 if remaining is None else min(remaining, TIMEOUT_MAX)):
            raise StoreTimeout("another question was open all the time")
        try:
            with _Silence(reading, lambda text: _say(writing, text, call), question) as silence:
                return _line(reading, call, silence)
        except termios.error as exc:
            code, said = exc.args
        finally:
            turn.release()
        raise OSError(code, said)

    class _Silence:
        """A terminal that shows nothing of what is typed, for a `with` block.

        Args:
            say: shows a text on it.
            question: shown at once, and again where the process was stopped meanwhile.
        """

        __slots__ = ("_before", "_fd", "_question", "_say", "_taken")

        def __init__(self, fd: int, say: Callable[[str], None], question: str) -> None:
            self._fd = fd
            self._say = say
            self._question = question
            self._before = termios.tcgetattr(fd)
            self._taken: list[int] = []

        def __enter__(self) -> _Silence:
            try:
                self._take_signals()
                self._begin()
            except BaseException:
                self.__exit__()
                raise
            return self

        def __exit__(self, *_exc: object) -> None:
            try:
                self._end()
            finally:
                for number in self._taken:
                    signal.signal(number, signal.SIG_DFL)
            with suppress(OSError, StoreTimeout):  # the answer is what counts
                self._say("\n")

        def renew(self) -> None:
            """Asks anew where somebody let the terminal show again what is typed.

            A shell does, once it has stopped us; where this is not the main thread, we are told of
            nothing.
            """
            if termios.tcgetattr(self._fd)[3] & termios.ECHO:
                self._begin()

        def _begin(self) -> None:
            silent = [*self._before]
            silent[0] |= termios.ICRNL
            silent[3] = (silent[3] | termios.ICANON | termios.ISIG) & ~termios.ECHO
            # Neither waits until everything written has been shown, which Ctrl-S can put off for
            # ever. Flushed: what was typed before the question is not an answer to it.
            termios.tcsetattr(self._fd, termios.TCSANOW, silent)
            termios.tcflush(self._fd, termios.TCIFLUSH)
            self._say(self._question)

        def _end(self) -> None:
            # Else the shell would get, and show, what was typed too late.
            termios.tcflush(self._fd, termios.TCIFLUSH)
            termios.tcsetattr(self._fd, termios.TCSANOW, self._before)

        def _take_signals(self) -> None:
            for name in _SIGNALS:
                number = getattr(signal, name)
                # What the application handles is its own; only its main thread can be told.
                if signal.getsignal(number) is not signal.SIG_DFL:
                    continue
                try:
                    signal.signal(number, self._on_signal)
                except ValueError:
                    return
                self._taken.append(number)

        def _on_signal(self, number: int, _frame: FrameType | None) -> None:
            self._end()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)  # ends here, or goes on when somebody lets it
            signal.signal(number, self._on_signal)
            self._begin()

    def _line(fd: int, call: Call, silence: _Silence) -> Secret | None:
        line, piece = bytearray(), bytearray(_LINE_BYTES)
        try:
            while True:
                _check(call)
                remaining = call.remaining()
                if not _has_input(fd, _TICK if remaining is None else min(_TICK, remaining)):
                    silence.renew()
                    continue
                try:
                    size = os.readv(fd, [piece])
                except BlockingIOError:  # somebody else took it
                    continue
                line += memoryview(piece)[:size]
                end = line.find(b"\n")
                if end >= 0:
                    del line[end:]
                elif size:
                    continue
                elif not line:
                    return None
                return Secret(line)
        finally:
            _wipe(line)
            _wipe(piece)

    def _has_input(fd: int, seconds: float) -> bool:
        if sys.platform == "darwin":  # whose `poll` knows no terminals (poll(2), "BUGS")
            return bool(select.select([fd], [], [], seconds)[0])
        poll = select.poll()  # where `select` ends at descriptor 1023
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(int(seconds * 1000)))

    def _say(fd: int, text: str, call: Call) -> None:
        view = memoryview(text.encode("utf-8", "backslashreplace"))
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:  # a terminal that shows nothing now, as after Ctrl-S
                _check(call)
                call.clock.sleep(_TICK)

    def _anew_in_child() -> None:
        global _turn
        _turn = allocate_lock()  # whoever had the turn may not exist in the child

    os.register_at_fork(after_in_child=_anew_in_child)
