"""Where tokenkeep keeps its files: configuration, data and state directories of the user.

On Linux the XDG rules are applied here, because importing `platformdirs` costs more than a whole
cold read; a test holds both against each other. Elsewhere `platformdirs` answers. Nothing here
touches the disk.
"""

from __future__ import annotations

import os
import sys

_APP = "tokenkeep"


def config_directory() -> str:
    """Where `config.toml` lies."""
    return _directory("XDG_CONFIG_HOME", ".config", "user_config_dir")


def data_directory() -> str:
    """Where the default vault lies."""
    return _directory("XDG_DATA_HOME", os.path.join(".local", "share"), "user_data_dir")


def state_directory() -> str:
    """Where session logs and fences lie."""
    return _directory("XDG_STATE_HOME", os.path.join(".local", "state"), "user_state_dir")


def _directory(variable: str, below_home: str, elsewhere: str) -> str:
    if sys.platform != "linux":
        import platformdirs

        answer: str = getattr(platformdirs, elsewhere)(_APP, appauthor=False)
        return answer
    chosen = os.environ.get(variable, "")
    if not os.path.isabs(chosen):  # the XDG specification: a relative path is to be ignored
        chosen = os.path.join(os.path.expanduser("~"), below_home)
    return os.path.join(chosen, _APP)
