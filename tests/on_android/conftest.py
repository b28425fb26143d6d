"""The lab's classes, compiled once for a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.java import compile_lab


@pytest.fixture(scope="session")
def lab_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled classes; the test says `requires("java")` too."""
    place = tmp_path_factory.mktemp("android-classes")
    compile_lab(place)
    return place
