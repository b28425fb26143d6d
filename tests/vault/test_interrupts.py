"""Ctrl-C at every moment at which CPython lets one come: nobody is kept out afterwards."""

from __future__ import annotations

import dis
import functools
import gc
import os
import sqlite3
import subprocess
import sys
import threading
from _thread import interrupt_main
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from tokenkeep.backends.vault import VaultStore
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault import vault
from tokenkeep.vault.lockfile import LockFile
from tokenkeep.vault.sqlite import stop_at
from vault.places import PATIENCE, SERVICE, call, item, open_store, value

#: Behind these, and at the beginning of a function, CPython looks for signals.
LOOKS = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}
#: Whose moments are tried: all of the vault's code.
ROOM = os.path.dirname(vault.__file__)
#: Seconds after which somebody who waits for another thread's lock is taken to wait for ever.
SHORT = 2.0

VERBS: dict[str, Callable[[VaultStore], object]] = {
    "read": lambda store: store.read(item("a"), call()),
    "contains": lambda store: store.contains(item("a"), call()),
    "names": lambda store: store.names(SERVICE, call()),
    "write": lambda store: store.write(item("a"), Secret("1"), call()),
    "write anew": lambda store: store.write(item("c"), Secret("1"), call()),
    "replace": lambda store: store.replace(item("a"), Secret("0"), Secret("1"), call()),
    "delete": lambda store: store.delete(item("b"), call()),
    "erase": lambda store: store.erase("org.example.other", call()),
    "close": lambda store: store.close(),
}


CASES = [
    *((verb, "open") for verb in VERBS),
    *((verb, "closed") for verb in ("read", "write", "erase")),
]


# A file whose opening was interrupted closes itself, and warns of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("verb", "state"), CASES)
def test_interrupt_at_any_moment_leaves_no_lock(verb: str, state: str, tmp_path: Path) -> None:
    """Another thread reads and writes at once, and so does another process; items are whole."""
    store, rival = open_store(tmp_path), LockFile(os.fspath(tmp_path / "vault"))
    moments = 0
    while True:
        for name in ("a", "b"):
            store.write(item(name), Secret("0"), call())
        store.delete(item("c"), call())
        if state == "closed":
            store.close()
        if not interrupted(lambda: VERBS[verb](store), moments):
            break
        assert rival.try_lock(), moments
        rival.unlock()
        assert [] == problems_of_another_thread(store), moments
        assert value(open_store(tmp_path), "a") in ("0", "1"), moments
        moments += 1
    rival.close()
    store.close()
    gc.collect()  # what closes itself does it here, and not in a test where no warning is expected
    assert moments > 5


def test_interrupt_during_a_long_query_is_not_the_end_of_its_time() -> None:
    """SQLite asks for the time meanwhile: a Ctrl-C that came by then is raised, as what it is."""
    connection = sqlite3.connect(":memory:")
    connection.create_function("interrupt", 0, interrupt_main)
    stop_at(connection, call())
    with pytest.raises(KeyboardInterrupt):
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            " SELECT sum(i + coalesce(interrupt(), 0)) FROM n"
        ).fetchall()
    connection.close()


@pytest.mark.requires("fork")
def test_interrupt_during_a_fork_leaves_no_lock(tmp_path: Path) -> None:
    """What runs behind the fork is interrupted: the vault is usable in the parent and the child."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS, os.fspath(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))},
        check=False,
    )
    assert (0, "0\n0\n") == (done.returncode, done.stdout), done.stderr


FORKS = f"""
import logging, os, sys
from _thread import interrupt_main
from pathlib import Path
os.register_at_fork(after_in_parent=interrupt_main, after_in_child=interrupt_main)
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from vault.places import item, open_store
store = open_store(Path(sys.argv[1]))
for moment in ("before", "after"):
    store.write(item("a"), Secret(moment), Call({SHORT}))
    assert store.read(item("a"), Call({SHORT})).reveal() == moment
    if moment == "before":
        child = os.fork()
if child == 0:
    print(0, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(0)
"""


def problems_of_another_thread(store: VaultStore) -> list[BaseException]:
    """What keeps another thread from reading and writing."""
    problems: list[BaseException] = []

    def use() -> None:
        try:
            store.read(item("a"), Call(SHORT))
            store.write(item("d"), Secret("d"), Call(SHORT))
        except BaseException as exc:
            problems.append(exc)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    return problems


def interrupted(act: Callable[[], object], moment: int) -> bool:
    """Whether a Ctrl-C came at the so manieth moment at which it can come in the vault's code."""
    left = moment
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., object] | None:
        nonlocal left
        is_moment = event == "call"
        if is_moment:
            if not frame.f_code.co_filename.startswith(ROOM):
                return None
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
        elif event == "opcode":
            is_moment = (last.get(frame, -1), frame.f_lasti) in moments_of(frame.f_code)
            last[frame] = frame.f_lasti
        if is_moment:
            left -= 1
            if left == -1:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        last.clear()
    return False


@functools.cache
def moments_of(code: CodeType) -> set[tuple[int, int]]:
    """Instructions that look for signals, with the next one, where the same handlers await both.

    What is raised here is raised in front of the next one, and not at the end of the one before.
    """
    found = dis.Bytecode(code)
    after: dict[int, int] = {}
    handlers = {each.offset: handler(found, each.offset) for each in found}
    offsets = list(handlers)
    for each, following in zip(found, offsets[1:], strict=False):
        if each.opname in LOOKS:
            after[each.offset] = following
    return {pair for pair in after.items() if handlers[pair[0]] == handlers[pair[1]]}


def handler(code: dis.Bytecode, offset: int) -> int:
    """Where an exception at an instruction leads to; -1 if out of the function."""
    entries: list[Any] = code.exception_entries  # type: ignore[attr-defined]
    return max((each.target for each in entries if each.start <= offset < each.end), default=-1)
