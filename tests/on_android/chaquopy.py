"""An imitation of Chaquopy's `java` module over pyjnius, as far as the bridge uses it.

After Chaquopy's documentation ("Python API"): `jclass` by full name, throwables that are Python
exceptions with Java's methods, bytes for byte[], arrays that are sequences of signed numbers. It
cannot prove that Chaquopy does so; it proves that the bridge's other half is no dead code.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class Throwable(Exception):
    """java.lang.Throwable: the chain's texts, outermost first."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(texts[0])
        self._texts = texts

    def toString(self) -> str:  # noqa: N802 - Java's name
        return self._texts[0]

    def getCause(self) -> Throwable | None:  # noqa: N802
        return Throwable(self._texts[1:]) if self._texts[1:] else None


class _Object:
    """A Java object: each call goes to pyjnius, each throwable comes back as Chaquopy's."""

    def __init__(self, it: Any) -> None:
        self._it = it

    def __getattr__(self, name: str) -> Any:
        found = _guarded(lambda: getattr(self._it, name))
        if not callable(found) or hasattr(found, "getClass"):
            return _wrapped(found)

        def call(*arguments: Any) -> Any:
            plain = [_plain(each) for each in arguments]
            return _wrapped(_guarded(lambda: getattr(self._it, name)(*plain)))

        return call

    def __call__(self, *arguments: Any) -> Any:
        plain = [_plain(each) for each in arguments]
        return _wrapped(_guarded(lambda: self._it(*plain)))


class _Python:
    """com.chaquo.python.Python."""

    @classmethod
    def getPlatform(cls) -> Any:  # noqa: N802
        return cls()

    def getApplication(self) -> Any:  # noqa: N802
        return jclass("org.kivy.android.PythonActivity").mActivity


def jclass(name: str) -> Any:
    """`java.jclass`."""
    if name == "java.lang.Throwable":
        return Throwable
    if name == "com.chaquo.python.Python":
        return _Python
    from jnius import autoclass

    return _Object(_guarded(lambda: autoclass(name)))


def cast(cls: Any, obj: Any) -> Any:
    """`java.cast`."""
    from jnius import cast as cast_it

    return _Object(cast_it(cls._it, obj._it))


def install() -> None:
    """Makes `import java` find the imitation, before anybody has looked for a bridge."""
    module: Any = ModuleType("java")
    module.jclass, module.cast = jclass, cast
    sys.modules["java"] = module


def _plain(value: Any) -> Any:
    return value._it if isinstance(value, _Object) else value


def _wrapped(value: Any) -> Any:
    from jnius import JavaClass

    return _Object(value) if isinstance(value, JavaClass) else value


def _guarded(function: Any) -> Any:
    from jnius import JavaException

    texts: list[str] = []
    try:
        return function()
    except JavaException as exc:
        lines = [str(line) for line in exc.stacktrace or ()]
        texts = [lines[0]] if lines else [str(exc.classname)]
        texts += [lines[at + 1] for at, line in enumerate(lines) if line == "Caused by:"]
    raise Throwable(texts)
