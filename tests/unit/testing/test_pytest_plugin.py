"""The fixtures for application authors, as an application would use them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest
from tokenkeep.errors import StoreFull
from tokenkeep.testing import Fails


def test_storage(tokenkeep_storage, tokenkeep_clock, tmp_path):
    tokenkeep_storage.write("api_key", "s3cret")
    assert tokenkeep_storage.read("api_key").reveal() == "s3cret"
    assert tokenkeep_storage.clock is tokenkeep_clock
    assert tokenkeep_storage.state_directory.startswith(str(tmp_path))


def test_each_test_begins_empty(tokenkeep_storage):
    assert tokenkeep_storage.names() == []


def test_full_disk(tokenkeep_storage, tokenkeep_faulty):
    tokenkeep_faulty.faults["write"] = Fails(StoreFull)
    with pytest.raises(StoreFull):
        tokenkeep_storage.write("api_key", "s3cret")


def test_server(tokenkeep_authorization_server):
    assert tokenkeep_authorization_server.issuer.startswith("http://127.0.0.1:")
"""


def test_application_uses_the_fixtures(tmp_path: Path) -> None:
    """Where tokenkeep is installed, pytest has its fixtures."""
    (tmp_path / "test_app.py").write_text(TESTS)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "4 passed" in run.stdout, run.stdout + run.stderr


def test_importing_the_plugin_is_cheap() -> None:
    """It loads neither the library's heavy parts nor Hypothesis nor the server."""
    code = (
        "import pytest, sys; before = set(sys.modules); import tokenkeep.testing.pytest_plugin;"
        "more = set(sys.modules) - before;"
        "assert {'tokenkeep', 'tokenkeep.testing', 'tokenkeep.testing.pytest_plugin'} == more, more"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_names_of_the_package_are_found_when_used() -> None:
    """`from tokenkeep.testing import ...` works for every public name, and for no other."""
    import tokenkeep.testing as testing

    for name in testing.__all__:
        assert getattr(testing, name) is not None
    assert not hasattr(testing, "nothing")
