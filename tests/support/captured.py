"""What a crash reporter would keep of an exception: texts and the locals of every frame."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from urllib.parse import quote_plus

TESTS = Path(__file__).resolve().parents[1]


def captured(exc: BaseException | None, seen: set[int] | None = None) -> str:
    """Everything that `traceback.TracebackException(exc, capture_locals=True)` would show.

    The frames of the tests themselves are left out: a test knows the secrets.
    """
    seen = set() if seen is None else seen
    if exc is None or id(exc) in seen:
        return ""
    seen.add(id(exc))
    shown = [str(exc), repr(exc), repr(vars(exc)), *_locals_of(exc.__traceback__)]
    shown += [captured(exc.__cause__, seen), captured(exc.__context__, seen)]
    shown += [*getattr(exc, "__notes__", ())]
    return "\n".join(shown)


def assert_nothing_leaks(exc: BaseException, *secrets: str) -> None:
    """No secret, as it is or as a form has it, is anywhere in the exception."""
    shown = captured(exc)
    for secret in secrets:
        assert secret, "an empty secret is in everything"
        assert secret not in shown
        assert quote_plus(secret) not in shown


def raised_in_library(exc: BaseException) -> bool:
    """Whether there is a library frame to look at; without one the leak check proves nothing."""
    return any("tokenkeep" in name for name in _files_of(exc.__traceback__))


def _locals_of(traceback: types.TracebackType | None) -> list[str]:
    shown: list[str] = []
    while traceback is not None:
        frame = traceback.tb_frame
        if TESTS not in Path(frame.f_code.co_filename).parents:
            shown += [f"{name}={_repr(value)}" for name, value in frame.f_locals.items()]
        traceback = traceback.tb_next
    return shown


def _files_of(traceback: types.TracebackType | None) -> list[str]:
    files: list[str] = []
    while traceback is not None:
        files.append(traceback.tb_frame.f_code.co_filename)
        traceback = traceback.tb_next
    return [file for file in files if TESTS not in Path(file).parents]


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<unprintable {type(value).__name__} in {sys.platform}>"
