"""Ctrl-C at any line of a call: whoever asks next, from any thread, is served."""

from __future__ import annotations

import dis
import functools
import gc
import linecache
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from support.sessions import Place
from tokenkeep import Session
from tokenkeep.testing.authorization_server import AuthorizationServer

_ROOMS = ("/tokenkeep/session/", "/tokenkeep/tokens/", "/tokenkeep/fence.py")
#: What the end of a `with` block does not begin with, which is a line of its own for a tracer.
_BEGINNINGS = ("LOAD_FAST", "LOAD_GLOBAL", "LOAD_DEREF")


class Interrupt:
    """Raises KeyboardInterrupt at the `number`th line that this thread runs of what sessions do.

    But where none can come, as Python looks for signals at calls and jumps: at a `try:`, and
    between a `with` block and its end.
    """

    def __init__(self, number: int) -> None:
        self.left = number
        self._thread = threading.get_ident()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        name = frame.f_code.co_filename.replace("\\", "/")
        is_ours = any(room in name for room in _ROOMS) and frame.f_code.co_name != "__del__"
        return self._line if is_ours else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line" and self._can_come(frame):
            self.left -= 1
            if not self.left:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._line

    def _can_come(self, frame: FrameType) -> bool:
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        operation = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        return line != "try:" and (
            not line.startswith("with ") or operation.startswith(_BEGINNINGS)
        )


def interrupted(call: Callable[[], object], number: int) -> bool:
    """Whether the call was interrupted at its line of this number, or had fewer."""
    interrupt = Interrupt(number)
    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    gc.collect()
    return interrupt.left == 0


def served_elsewhere(place: Place, session: Session, server: AuthorizationServer) -> list[str]:
    """The states of this session and of another one, once another thread has used both."""
    states: list[str] = []

    def use() -> None:
        for each in (session, place.session()):
            if each.restore().value == "signed out":
                each.begin(server.login("notes"))
            each.access_token(timeout=5.0)
            states.append(each.state.value)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(10)
    return states


@pytest.mark.parametrize(
    ("name", "stride"), [("refresh", 1), ("clear", 1), ("begin", 9), ("logout", 9)]
)
def test_an_interrupted_call_locks_nobody_out(
    place: Place, server: AuthorizationServer, name: str, stride: int
) -> None:
    """Neither the fence nor the flight is left to somebody who is not there any more."""
    gc.freeze()  # each of hundreds of collections looks at what is new since
    number, at_least = 1, {"refresh": 20, "clear": 50, "begin": 200, "logout": 200}[name]
    while True:
        session = place.signed_in(server)
        session._known.held = None
        calls: dict[str, Callable[[], object]] = {
            "refresh": session.refresh_in_flight,
            "clear": place.tokens().clear_session,
            "begin": functools.partial(session.begin, server.login("notes")),
            "logout": session.logout,
        }
        was_interrupted = interrupted(calls[name], number)
        states = served_elsewhere(place, session, server)
        assert ["active", "active"] == states, f"after an interrupt at line {number}"
        if not was_interrupted:
            break
        number += stride
    assert number > at_least
