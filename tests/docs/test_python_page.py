"""docs/reference/python-api.md has every public name, and every call of the public classes."""

from __future__ import annotations

import ast
import dataclasses
import re
from importlib import import_module

import pytest

import tokenkeep
from docs.test_pages import FENCED, PAGES
from support.services import REPOSITORY
from tokenkeep.database import DatabaseKey
from tokenkeep.migrate.migration import Migration
from tokenkeep.presence.gate import PresenceGate
from tokenkeep.session.session import Session
from tokenkeep.storage import SecureStorage
from tokenkeep.store import StoreFacts
from tokenkeep.tokens.storage import TokenStorage

PAGE = (REPOSITORY / "docs/reference/python-api.md").read_text(encoding="utf-8")
#: What begins with a name in bold, by that name.
ENTRIES = {
    part.removeprefix("**`").split("(")[0]: part
    for part in re.split(r"^(?=\*\*`|## )", PAGE, flags=re.MULTILINE)
}
#: Documented on pages of their own.
ELSEWHERE = ("tokenkeep.errors", "tokenkeep.testing")
CLASSES = (SecureStorage, TokenStorage, Session, PresenceGate, DatabaseKey, Migration)
#: What makes a module's class a way to prove presence, or a place to move secrets from.
PLACES = {"presence": {"verify"}, "migrate": {"identity", "names", "read", "remove"}}


def words_in(text: str) -> set[str]:
    """Every word that is marked as code."""
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}


def imported_by_examples() -> set[str]:
    """What the examples of all pages import from tokenkeep."""
    return {
        name.name
        for page in PAGES
        for language, block in FENCED.findall(page.read_text(encoding="utf-8"))
        if language == "python"
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[0] == "tokenkeep"
        and not (node.module or "").startswith(ELSEWHERE)
        for name in node.names
    }


def test_every_public_name_is_on_the_page() -> None:
    """What an application can import from tokenkeep is described where it looks."""
    assert len(tokenkeep.__all__) > 30
    assert [] == sorted(set(tokenkeep.__all__) - words_in(PAGE))


def test_every_fact_of_a_store_is_on_the_page() -> None:
    """What an application may ask a store about itself."""
    facts = {field.name for field in dataclasses.fields(StoreFacts)}
    entry = next(part for name, part in ENTRIES.items() if name.startswith("StoreFacts"))
    assert [] == sorted(facts - words_in(entry))


def test_every_name_that_an_example_imports_is_on_the_page() -> None:
    """Also the names of modules below, which nothing exports but the examples."""
    names = imported_by_examples()
    assert {"PresenceGate", "every", "Migration", "rename"} <= names
    assert [] == sorted(names - words_in(PAGE))


@pytest.mark.parametrize("each", CLASSES, ids=lambda each: each.__name__)
def test_every_call_of_a_class_is_on_the_page(each: type) -> None:
    """A method that is missing from its class's table is not found by anybody."""
    calls = {name for name, what in vars(each).items() if name[0] != "_" and callable(what)}
    assert len(calls) > 2
    assert [] == sorted(calls - words_in(ENTRIES[each.__name__]))


@pytest.mark.parametrize("package", sorted(PLACES))
def test_every_verifier_and_every_source_is_on_the_page(package: str) -> None:
    """One for each file of these folders, by the module that it is imported from."""
    found = [
        f"{path.stem}.{name}"
        for path in sorted((REPOSITORY / "src/tokenkeep" / package).glob("*.py"))
        for name, what in vars(import_module(f"tokenkeep.{package}.{path.stem}")).items()
        if isinstance(what, type)
        and what.__module__ == f"tokenkeep.{package}.{path.stem}"
        and PLACES[package] <= vars(what).keys()
        and not getattr(what, "_is_protocol", False)
    ]
    assert len(found) > 5
    # Made by functions, `flutter_linux` and `flutter_windows`; and by `rename`.
    made = {"flutter.FlutterMap", "renamed.OlderNames"}
    assert [] == [name for name in found if name not in made and f"`{name}(" not in PAGE]
