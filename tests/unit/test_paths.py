"""The user's directories: by hand on Linux, and the same as `platformdirs` says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import platformdirs
import pytest

from tokenkeep import paths
from tokenkeep.errors import StoreUnavailable

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


@pytest.mark.requires("POSIX paths")
@pytest.mark.parametrize("said", ["relative", "~", None])
@pytest.mark.parametrize(("ours", "_theirs", "variable"), PAIRS)
def test_no_home_directory_is_an_error(
    ours: object,
    _theirs: object,
    variable: str,
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container whose user nobody has heard of: nothing lies where we happen to run."""
    monkeypatch.delenv(variable)
    if said is None:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("pwd.getpwuid", dict[int, str]().__getitem__)
    else:
        monkeypatch.setenv("HOME", said)
    with pytest.raises(StoreUnavailable) as caught:
        ours()  # type: ignore[operator]
    assert "export HOME=DIRECTORY" == caught.value.hint
    monkeypatch.setenv(variable, "/somewhere/else")
    if sys.platform == "linux":
        assert "/somewhere/else/tokenkeep" == ours()  # type: ignore[operator]
