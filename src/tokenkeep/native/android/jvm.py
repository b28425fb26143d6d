"""The one bridge to Java: Chaquopy's `java` module or pyjnius, whichever this application has.

Load a class, call it, catch its throwables: class names and codes are kept of them, no messages,
which may hold what was being encrypted. Every call has its deadline.

pyjnius keeps the object of a call in a place that all threads share (kivy/pyjnius issue 563). Our
own calls take turns; and for the application's threads, which know nothing of that, no Python runs
between looking a method up and calling it: Java's methods are called on plain names, which keep the
object alive, with plain names and constants. A test holds this folder to it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from tokenkeep.errors import MissingExtra, StoreError, StoreTimeout, StoreUnavailable
from tokenkeep.item import Call
from tokenkeep.native.android.codes import TEXTS, Thrown
from tokenkeep.native.bounded import bounded

T = TypeVar("T")

#: As `android.security.KeyStoreException.toString` prints its codes since Android 13.
_CODES = re.compile(r"\(public error code: (-?\d+) internal Keystore code: (-?\d+)\)")
#: As Android 12's hidden class of the same name does in its message, for some codes.
_INTERNAL = re.compile(r"internal Keystore code: (-?\d+)")
#: As it was before them: a text of Android's, or the number that has none.
_UNCODED = re.compile(r"android\.security\.KeyStoreException: (?:(-?\d{1,5})|([^\n]+?))\s*")
_CLASS = re.compile(r"[A-Za-z_][\w.$]*")


class JavaThrown(Exception):
    """A Java throwable, as far as it is kept; never leaves this package's callers."""

    def __init__(self, thrown: Thrown) -> None:
        super().__init__(str(thrown))
        self.thrown = thrown


class Bridge(Protocol):
    """What the two libraries have in common, by the names we use."""

    def load(self, name: str) -> Any:
        """A Java class: call it to construct, take static members from it; `Outer$Inner` works."""
        ...

    def cast(self, name: str, value: Any) -> Any:
        """The same object as one of that class: pyjnius knows only a method's declared type."""
        ...

    def thrown(self, exc: BaseException) -> Thrown | None:
        """What is kept of a throwable; None if this is another exception."""
        ...

    def context(self) -> Any:
        """The application's `android.content.Context`, an activity's where there is one.

        Raises:
            StoreUnavailable: this program is no part of an Android application.
        """
        ...

    def leave_thread(self) -> None:
        """Lets go of the thread, which is about to end and was not Java's."""
        ...


def bridge() -> Bridge:
    """The library that this application has; Chaquopy's where there are both.

    Raises:
        MissingExtra: neither is there.
        StoreUnavailable: there is no Java, or this is a forked child of a process that had it.
    """
    global _found
    if _found is None:
        _found = (os.getpid(), _look())
    pid, found = _found
    if pid != os.getpid():
        raise StoreUnavailable(
            "Java does not survive a fork", hint="start another process instead of forking"
        )
    return found


#: The process's one virtual machine: the process it lives in, and the way to it.
_found: tuple[int, Bridge] | None = None
#: Held during each call; a forked child never comes so far as to wait for it.
_turn = threading.Lock()


def run(call: Call, doing: str, function: Callable[[Bridge], T]) -> T:
    """What the function returns, within the call's deadline.

    Raises:
        JavaThrown: Java threw something.
        StoreTimeout: the deadline has passed; what the function does is done all the same.
        MissingExtra, StoreUnavailable: as `bridge`.
    """
    way, caller = bridge(), threading.get_ident()

    def work() -> T:
        try:
            return _in_turn(way, call, doing, function)
        finally:
            # Android ends a process whose thread goes without telling the virtual machine.
            if threading.get_ident() != caller:
                way.leave_thread()

    return bounded(call, work, doing)


def run_here(call: Call, doing: str, function: Callable[[Bridge], T]) -> T:
    """As `run`, on the caller's own thread: for what returns at once.

    A thread that Java did not start finds Android's classes, and not the application's.
    """
    call.check(doing)
    return _in_turn(bridge(), call, doing, function)


def _in_turn(way: Bridge, call: Call, doing: str, function: Callable[[Bridge], T]) -> T:
    left, thrown = call.remaining(), None
    if not _turn.acquire(timeout=-1 if left is None else min(left, threading.TIMEOUT_MAX)):
        raise StoreTimeout(f"{doing} did not get its turn in time")
    try:
        return function(way)
    except Exception as exc:
        thrown = way.thrown(exc)
        if thrown is None:
            raise
    finally:
        _turn.release()
    raise JavaThrown(thrown)  # outside: no message of Java's stays in the chain


def as_bytes(array: Any) -> bytes:
    """A Java byte[], whose bytes are signed, as bytes."""
    return bytes(each & 0xFF for each in array)


def thrown_of(texts: list[str]) -> Thrown:
    """What is kept of a chain of throwables.

    Args:
        texts: each one's `toString()`, outermost first: its class name before everything else.
    """
    classes, public, internal, is_full = [], None, None, False
    for text in texts:
        name = _CLASS.match(text)
        if name is None:
            continue
        classes.append(name.group())
        codes, inner = _CODES.search(text), _INTERNAL.search(text)
        uncoded = _UNCODED.fullmatch(text)
        if internal is not None:
            pass  # the outermost counts
        elif codes is not None:
            public, internal = int(codes[1]), int(codes[2])
        elif inner is not None:
            internal = int(inner[1])
        elif uncoded is not None:
            internal = TEXTS.get(uncoded[2]) if uncoded[1] is None else int(uncoded[1])
        is_full = is_full or "ENOSPC" in text or "No space left" in text
    return Thrown(tuple(classes), public, internal, is_full)


class _Chaquopy:
    """The module `java`, which Chaquopy's runtime brings; BeeWare's Android template is that."""

    def __init__(self) -> None:
        import java  # type: ignore[import-not-found, import-untyped, unused-ignore]

        self._java: Any = java
        self._throwable: Any = java.jclass("java.lang.Throwable")

    def load(self, name: str) -> Any:
        return self._java.jclass(name)

    def cast(self, name: str, value: Any) -> Any:
        return self._java.cast(self._java.jclass(name), value)

    def thrown(self, exc: BaseException) -> Thrown | None:
        if not isinstance(exc, self._throwable):
            return None
        texts: list[str] = []
        cause: Any = exc
        while cause is not None and len(texts) < 20:
            texts.append(str(cause.toString()))
            cause = cause.getCause()
        return thrown_of(texts)

    def context(self) -> Any:
        platform = self.load("com.chaquo.python.Python").getPlatform()
        return platform.getApplication()

    def leave_thread(self) -> None:
        """Chaquopy lets go of the threads of `threading` by itself."""


class _Pyjnius:
    """pyjnius, which python-for-android builds into an application."""

    #: Where python-for-android keeps the running activity or service.
    _HOLDERS = (
        ("org.kivy.android.PythonActivity", "mActivity"),
        ("org.kivy.android.PythonService", "mService"),
    )

    def __init__(self) -> None:
        import jnius  # type: ignore[import-untyped, unused-ignore]

        self._jnius: Any = jnius

    def load(self, name: str) -> Any:
        return self._jnius.autoclass(name)

    def cast(self, name: str, value: Any) -> Any:
        return self._jnius.cast(name, value)

    def thrown(self, exc: BaseException) -> Thrown | None:
        if not isinstance(exc, self._jnius.JavaException):
            return None
        problem: Any = exc
        classname = str(problem.classname or "java.lang.Throwable")
        # The list has each throwable's toString() first and after every "Caused by:".
        lines = [str(line) for line in problem.stacktrace or ()]
        texts = [classname]
        if lines:
            texts = [lines[0]] if lines[0].startswith(classname) else [classname, lines[0]]
        texts += [line for before, line in pairwise(lines) if before == "Caused by:"]
        return thrown_of(texts)

    def context(self) -> Any:
        for name, field in self._HOLDERS:
            try:
                found = getattr(self.load(name), field)
            except self._jnius.JavaException:
                continue
            if found is not None:
                return found
        raise StoreUnavailable(
            "no Android application is running in this process",
            hint="use the android store inside an application",
        )

    def leave_thread(self) -> None:
        self._jnius.detach()


def _look() -> Bridge:
    found: Bridge | None = None
    problem: StoreError | None = None
    try:
        found = _Chaquopy()
    except (ImportError, AttributeError):
        pass  # AttributeError: some other module has that name
    if found is None:
        try:
            found = _Pyjnius()
        except ImportError:
            pass
        except Exception as exc:  # pyjnius looks for a virtual machine when it is imported
            problem = StoreUnavailable(
                f"pyjnius finds no Java ({type(exc).__name__})",
                hint="use the android store inside an application",
            )
    if found is None:
        raise problem or MissingExtra(
            "neither Chaquopy's java module nor pyjnius is here",
            extra="android",
            hint="with python-for-android, add pyjnius to the application's requirements",
        )
    return found
