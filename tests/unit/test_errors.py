"""Every error says what to do, has a stable code, and stands where the drawn tree says."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
from pathlib import Path

import pytest

import tokenkeep
from tokenkeep import errors
from tokenkeep.errors import TokenkeepError

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, TokenkeepError)
]
TEMPORARY = {"StoreLocked", "StoreTimeout", "PresenceLockedOut", "RefreshUnavailable"}


def make(kind: type[TokenkeepError], message: str = "", hint: str | None = None) -> TokenkeepError:
    if kind is errors.MissingExtra:
        return errors.MissingExtra(message, extra="oauth", hint=hint)
    return kind(message, hint=hint)


@pytest.mark.parametrize("kind", CLASSES)
def test_says_in_one_sentence_what_to_do(kind: type[TokenkeepError]) -> None:
    """The docstring's first line is a sentence, and its own."""
    first = (kind.__dict__["__doc__"] or "").strip().splitlines()[0]
    assert first.endswith(".")


def test_codes_are_stable_words_and_unique() -> None:
    """Programs match on them."""
    codes = [kind.code for kind in CLASSES]
    assert sorted(set(codes)) == sorted(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", CLASSES)
def test_message_and_hint_are_kept(kind: type[TokenkeepError]) -> None:
    """Without a message the code speaks; a hint is optional."""
    assert "what happened" == str(make(kind, "what happened"))
    assert "run this" == make(kind, hint="run this").hint
    assert str(make(kind))
    if kind is not errors.MissingExtra:
        assert make(kind).hint is None


def test_temporary_errors_are_the_documented_ones() -> None:
    """Time, a lock or a network mends these and no others."""
    assert TEMPORARY == {kind.__name__ for kind in CLASSES if kind.is_temporary}


def test_tree_is_the_drawn_one() -> None:
    """The picture at the top of the file is the tree."""
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([│├└─ ]*)([A-Z]\w+)(\s+temporary)?$", line)
        if match is None or (not match[1] and match[2] != "TokenkeepError"):
            continue
        depth = len(match[1]) // 4
        above[depth:] = [match[2]]
        drawn[match[2]] = above[depth - 1] if depth else "Exception"
        assert bool(match[3]) == (match[2] in TEMPORARY)
    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES}


def test_login_required_has_a_reason() -> None:
    """The reason is "absent" unless told; the message names it."""
    assert "absent" == errors.LoginRequired().reason
    error = errors.LoginRequired(reason="reused")
    assert "reused" == error.reason
    assert "reused" in str(error)


def test_refresh_unavailable_names_the_holder_and_the_wait() -> None:
    """Both are optional."""
    error = errors.RefreshUnavailable("busy", retry_after=3.0, holder="pid 1")
    assert (3.0, "pid 1") == (error.retry_after, error.holder)
    assert (None, None) == (
        errors.RefreshUnavailable().retry_after,
        errors.RefreshUnavailable().holder,
    )


def test_missing_extra_hints_at_the_install_command() -> None:
    """The hint can be pasted."""
    error = errors.MissingExtra(extra="oauth")
    assert "pip install 'tokenkeep[oauth]'" == error.hint


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_cross_processes(kind: type[TokenkeepError]) -> None:
    """An error pickles, as `concurrent.futures` and pytest-xdist need, and keeps its hint."""
    again = pickle.loads(pickle.dumps(make(kind, "what happened", "run this")))
    assert kind is type(again)
    assert ("what happened", "run this") == (str(again), again.hint)


def test_what_an_error_carries_crosses_too() -> None:
    """Reason, wait, holder, provider's word and extra."""
    carried = [
        errors.LoginRequired(reason="reused"),
        errors.RefreshUnavailable("busy", retry_after=3.0, holder="pid 1"),
        errors.ProviderRefused("no", error="invalid_client"),
        errors.MissingExtra(extra="oauth"),
    ]
    assert [vars(error) for error in carried] == [
        vars(pickle.loads(pickle.dumps(error))) for error in carried
    ]


def test_whoever_cannot_sign_in_is_told_what_to_do() -> None:
    """Every place that raises it gives a hint."""
    bare, count = [], 0
    for path in sorted(Path(tokenkeep.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "LoginFailed":
                count += 1
                if "hint" not in {word.arg for word in node.keywords}:
                    bare.append(f"{path.name}:{node.lineno}")
    assert [] == bare
    assert count > 8
