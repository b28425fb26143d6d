"""Runs the tests that need a virtual machine, each file in a process of its own.

A virtual machine cannot be started twice, takes over signals and has threads of its own, which the
forking tests beside this one would meet.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.java import jdk

HERE = Path(__file__).resolve().parent
#: Each file, and how many tests it has at least: a file that collects nothing proves nothing.
FILES = {
    "jvm_chaquopy": 125,
    "jvm_contract": 90,
    "jvm_failures": 350,
    "jvm_machine": 1,
    "jvm_migration": 20,
    "jvm_options": 35,
    "jvm_presence": 40,
}


def test_every_file_is_run() -> None:
    """A new file beside this one has to be named here."""
    assert sorted(FILES) == sorted(file.stem for file in HERE.glob("jvm_*.py"))


@pytest.mark.requires("java")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(FILES))
def test_on_a_virtual_machine(name: str, lab_classes: Path) -> None:
    """Every test of the file passes and none is left out."""
    environment = {
        **os.environ,
        "JAVA_HOME": str(jdk()),
        "ANDROID_LAB_CLASSES": str(lab_classes),
    }
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / f"{name}.py")],
        cwd=HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert answer.returncode == 0, answer.stdout[-8000:] + answer.stderr[-2000:]
    summary = answer.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", summary)
    assert passed is not None, summary
    assert "skipped" not in summary
    assert int(passed[1]) >= FILES[name]
