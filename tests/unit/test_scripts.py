"""The scripts that a newcomer runs first."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.services import REPOSITORY

SCRIPTS = ("scripts/demo", "scripts/test", "scripts/bench", ".ci/run")
pytestmark = pytest.mark.requires("shell")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The scripts alone, in a path with a space."""
    place = tmp_path / "a clone"
    for name in ("scripts", ".ci"):
        shutil.copytree(REPOSITORY / name, place / name)
    return place


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with the least that a system has, and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "dirname", "basename", "cat", "date", "id", "sed"):
        (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    return folder


def run(script: Path, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *arguments],
        cwd="/",
        env={"PATH": str(path), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def install_fake(folder: Path, name: str, body: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_executable_posix_shell(name: str) -> None:
    """No bash, no make: the system's own sh reads it."""
    script = REPOSITORY / name
    assert script.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    assert 0o111 == script.stat().st_mode & 0o111
    checked = subprocess.run(["sh", "-n", script], capture_output=True, text=True, timeout=60)
    assert (0, "") == (checked.returncode, checked.stderr)


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_python_the_remedy_is_named(name: str, clone: Path, tools: Path) -> None:
    """Where there is no Python, the message names the command that installs one."""
    result = run(clone / name, tools)
    assert 1 == result.returncode
    assert "error: Python 3.11 or newer is needed" in result.stderr
    assert "hint: apt-get install python3 python3-venv" in result.stderr
    assert not (clone / ".venv").exists()


def test_an_old_python_is_not_used(clone: Path, tools: Path) -> None:
    """A Python below 3.11 counts as none."""
    install_fake(tools, "python3", "exit 1")
    assert "Python 3.11 or newer" in run(clone / "scripts/demo", tools).stderr


def test_a_python_without_venv_names_the_package(clone: Path, tools: Path) -> None:
    """Debian keeps ensurepip in a package of its own; the message names it."""
    install_fake(tools, "python3.11", "case $2 in *ensurepip*) exit 1 ;; esac")
    result = run(clone / "scripts/demo", tools)
    assert 1 == result.returncode
    assert "hint: apt-get install python3.11-venv" in result.stderr


def test_a_foreign_folder_in_place_of_the_environment_is_left_alone(
    clone: Path, tools: Path
) -> None:
    """Only an environment is ever cleared."""
    install_fake(tools, "python3", "exit 0")
    (clone / ".venv").mkdir()
    (clone / ".venv" / "thesis.txt").write_text("mine")
    result = run(clone / "scripts/demo", tools)
    assert 1 == result.returncode
    assert "is no virtual environment" in result.stderr
    assert "mine" == (clone / ".venv" / "thesis.txt").read_text()


def test_help_needs_nothing(clone: Path, tools: Path) -> None:
    """The options can be read before anything is installed."""
    result = run(clone / "scripts/test", tools, "--help")
    assert 0 == result.returncode
    assert "--fuzz" in result.stdout
    assert "set -eu" not in result.stdout


@pytest.mark.parametrize("name", [*SCRIPTS, "scripts/lib.sh", "pyproject.toml"])
def test_no_address_of_a_registry_is_needed(name: str) -> None:
    """Where packages come from is the machine's own configuration."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert not re.search(r"--(extra-)?index-url|--registry|https?://", text)
