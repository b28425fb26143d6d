"""No failing call leaves a secret in its exception, in a library frame, in a log or in a file."""

from __future__ import annotations

import importlib
import logging
import os
import traceback
from pathlib import Path

import pytest

from leaks.cases import FORMS, SECRET, Case, found_in
from support.captured import captured, raised_in_library

HERE = Path(__file__).parent
CASES: list[Case] = [
    case
    for module in sorted(HERE.glob("cases_*.py"))
    for case in importlib.import_module(f"leaks.{module.stem}").CASES
]
TESTS = HERE.parent


def failure_of(case: Case, directory: Path) -> BaseException:
    try:
        case.run(directory)
    except Exception as exc:
        return exc
    raise AssertionError(f"{case.name} did not fail, so that nothing was checked")


def rendered(exc: BaseException) -> str:
    """What a crash reporter prints, without the frames of the tests, which know the secret."""
    shown: list[str] = []
    pending: list[traceback.TracebackException | None] = [
        traceback.TracebackException.from_exception(exc, capture_locals=True)
    ]
    while pending:
        part = pending.pop()
        if part is None:
            continue
        frames = [frame for frame in part.stack if TESTS not in Path(frame.filename).parents]
        shown += [f"{frame} {frame.line} {frame.locals}" for frame in frames]
        shown += part.format_exception_only()
        pending += [part.__cause__, part.__context__, *(part.exceptions or ())]
    return "\n".join(shown)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_failing_call_leaves_no_secret(
    case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Locals of every frame, the chain, messages, attributes, logs at DEBUG, output and files."""
    with caplog.at_level(logging.DEBUG):
        failure = failure_of(case, tmp_path)
    # The case itself is broken.
    assert not isinstance(failure, AssertionError | AttributeError | NameError)
    assert [] == found_in(rendered(failure))
    assert [] == found_in(captured(failure))
    assert [] == found_in(caplog.text)
    assert [] == found_in("".join(capfd.readouterr()))
    if not case.writes_plain:
        for folder, _folders, files in os.walk(tmp_path):
            for name in files:
                assert SECRET.encode() not in (Path(folder) / name).read_bytes()
                assert SECRET not in name


def test_there_are_cases_of_every_kind() -> None:
    """An empty list would pass."""
    assert len(CASES) > 200
    assert len({case.name for case in CASES}) == len(CASES)
    for part in (
        "read", "write", "delete_all", "vault", "async", "passphrase", "pickle", "gate", "terminal",
    ):  # fmt: skip
        assert any(part in case.name for case in CASES)
    assert any(case.name.startswith("database key rekey") for case in CASES)


def leaking(where: str) -> None:
    """Library code as it must not be; compiled under a name outside the tests."""
    code = {
        "local": "token = secret\nraise ValueError('no')",
        "bytes in a list": "tokens = [secret.encode()]\nraise ValueError('no')",
        "message": "raise ValueError('bad token ' + secret)",
        "attribute": "e = ValueError('no')\ne.token = secret\ndel secret\nraise e",
        "cause": "e = ValueError(secret)\ndel secret\nraise ValueError('no') from e",
        "context": (
            "def f():\n"
            "    try:\n        raise KeyError(secret)\n"
            "    except KeyError:\n        raise ValueError('no') from None\n"
            "f()"
        ),
        "base64": "import base64\nkept = base64.b64encode(b'x' + secret.encode())\nraise KeyError",
        "hexadecimal": "kept = secret.encode().hex()\ndel secret\nraise KeyError",
    }[where]
    exec(compile(code, "/site-packages/tokenkeep/leaky.py", "exec"), {"secret": SECRET})


@pytest.mark.parametrize(
    "where",
    [
        "local", "bytes in a list", "message", "attribute", "cause", "context", "base64",
        "hexadecimal",
    ],
)  # fmt: skip
def test_a_leak_would_be_found(where: str, tmp_path: Path) -> None:
    """The gate works: each way of leaking is seen by one of the two looks."""
    failure = failure_of(Case(where, lambda _directory: leaking(where)), tmp_path)
    assert raised_in_library(failure)
    assert found_in(rendered(failure) + captured(failure))


def test_the_forms_are_found() -> None:
    """Also in the middle of something larger."""
    import base64

    for shift in range(3):
        assert found_in(base64.b64encode(b"p" * shift + SECRET.encode() + b"tail").decode())
    assert found_in((b"\x01" + SECRET.encode()).hex())
    assert [] == found_in("nothing here")
    assert all(len(form) > 12 for form in FORMS)
