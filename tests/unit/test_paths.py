"""The user's directories: by hand on Linux, and the same as `platformdirs` says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import platformdirs
import pytest

from tokenkeep import paths

PAIRS = [
    (paths.config_directory, platformdirs.user_config_dir, "XDG_CONFIG_HOME"),
    (paths.data_directory, platformdirs.user_data_dir, "XDG_DATA_HOME"),
    (paths.state_directory, platformdirs.user_state_dir, "XDG_STATE_HOME"),
]


@pytest.mark.parametrize(("ours", "theirs", "variable"), PAIRS)
@pytest.mark.parametrize("value", [None, "", "/somewhere/else", "relative/path", "/a/../b", "~/x"])
def test_same_as_platformdirs(
    ours: object,
    theirs: object,
    variable: str,
    value: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the variable says; a relative path is ignored, as the XDG specification asks."""
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    expected = theirs("tokenkeep", appauthor=False)  # type: ignore[operator]
    if value in ("relative/path", "~/x") and sys.platform == "linux":
        monkeypatch.delenv(variable)
        expected = theirs("tokenkeep", appauthor=False)  # type: ignore[operator]
        monkeypatch.setenv(variable, value or "")
    assert expected == ours()  # type: ignore[operator]


@pytest.mark.parametrize(("ours", "_theirs", "_variable"), PAIRS)
def test_nothing_is_created(ours: object, _theirs: object, _variable: str, home: Path) -> None:
    """Asking where leaves the disk alone."""
    before = sorted(home.rglob("*"))
    path = ours()  # type: ignore[operator]
    assert os.path.isabs(path)
    assert before == sorted(home.rglob("*"))
