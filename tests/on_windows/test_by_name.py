"""Credential Manager asked for by its name, as a person does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tokenkeep import SecureStorage, WindowsOptions, WindowsPersistence
from tokenkeep.errors import ValueTooLarge

APP = "org.example.by-name"


@pytest.fixture(autouse=True)
def emptied(home: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setenv("TOKENKEEP_APP", APP)
    monkeypatch.setenv("TOKENKEEP_STORE", "windows-credentials")
    SecureStorage(APP, WindowsOptions()).delete_all()
    yield
    SecureStorage(APP, WindowsOptions()).delete_all()


def run(*arguments: str, stdin: bytes = b"", expected: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "tokenkeep.cli", *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
    )
    assert expected == done.returncode, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8")


def test_command_keeps_gives_lists_and_deletes() -> None:
    """What one process kept, another gives; and the library finds it too."""
    run("set", "API_KEY", stdin=b"kept")
    assert "kept" == run("get", "API_KEY").rstrip("\r\n")
    assert "API_KEY" in run("list")
    value = SecureStorage(APP, WindowsOptions()).read("API_KEY")
    assert value is not None
    assert "kept" == value.reveal()
    run("delete", "API_KEY")
    assert "API_KEY" not in run("list")


def test_doctor_names_it_and_says_that_it_can_be_used() -> None:
    """Of every store by name, this one is what was asked for."""
    said = json.loads(run("doctor", "--json"))
    assert "windows-credentials" == said["store"]
    assert "login" == said["protection"]
    uses = {each["store"]: each["use"] for each in said["candidates"]}
    assert ["windows-credentials"] == [store for store, use in uses.items() if use == "used"]


@pytest.mark.parametrize("persistence", WindowsPersistence)
def test_every_persistence_is_taken(persistence: WindowsPersistence) -> None:
    """An item written with one is replaced by the next, and is one item."""
    storage = SecureStorage(APP, WindowsOptions(persistence))
    storage.write("token", persistence.name)
    value = SecureStorage(APP, WindowsOptions()).read("token")
    assert value is not None
    assert persistence.name == value.reveal()
    assert ["token"] == storage.names()


def test_value_too_large_sends_to_a_vault() -> None:
    """Wine would take it; Windows does not."""
    with pytest.raises(ValueTooLarge) as caught:
        SecureStorage(APP, WindowsOptions()).write("token", "x" * 2561)
    assert "tokenkeep vault create" in str(caught.value.hint)
