"""Where tokenkeep keeps its files, and on which platform: the user's directories there.

On Linux the XDG rules are applied here, because importing `platformdirs` costs more than a whole
cold read; a test holds both against each other. Elsewhere `platformdirs` answers, on Android too,
where its answers are what the shipped backup rules leave out. Nothing here touches the disk. Where
the user has no home directory each of the directories raises `StoreUnavailable`.
"""

from __future__ import annotations

import os
import sys

_APP = "tokenkeep"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
#: Windows takes these for devices, whatever follows the first dot.
_DEVICES = frozenset(
    (
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10)),
    )
)


def platform() -> str:
    """The platform as the stores know it: linux, android, darwin, ios, win32, or another's name."""
    # Before Python 3.13 an Android is "linux" to Python.
    if sys.platform == "linux" and (
        hasattr(sys, "getandroidapilevel") or "ANDROID_ARGUMENT" in os.environ
    ):
        return "android"
    return sys.platform


def config_directory() -> str:
    """Where `config.toml` lies."""
    return _directory("XDG_CONFIG_HOME", ".config", "user_config_dir")


def data_directory() -> str:
    """Where the default vault lies."""
    return _directory("XDG_DATA_HOME", os.path.join(".local", "share"), "user_data_dir")


def state_directory() -> str:
    """Where session logs and fences lie."""
    return _directory("XDG_STATE_HOME", os.path.join(".local", "state"), "user_state_dir")


def is_plain(service: str) -> bool:
    """Whether a service can be a folder's name on every system as it is.

    A reverse-domain id can. Not so what has separators, dots at the end (which Windows ignores), a
    reserved name, or capitals, which some file systems do not tell apart.
    """
    return (
        len(service) <= 100
        and not set(service) - _PLAIN
        and service[0] not in ".-"
        and service[-1] not in ".-"
        and service.partition(".")[0] not in _DEVICES
    )


def _directory(variable: str, below_home: str, elsewhere: str) -> str:
    if platform() != "linux":
        import platformdirs

        answer: str = getattr(platformdirs, elsewhere)(_APP, appauthor=False)
    else:
        chosen = os.environ.get(variable, "")
        if not os.path.isabs(chosen):  # the XDG specification: a relative path is to be ignored
            chosen = os.path.join(os.path.expanduser("~"), below_home)
        answer = os.path.join(chosen, _APP)
    if not os.path.isabs(answer):
        from tokenkeep.errors import StoreUnavailable

        # A relative path would make the directory that we happen to run in decide what is trusted.
        raise StoreUnavailable(
            "this user has no home directory to keep files in", hint="export HOME=DIRECTORY"
        )
    return answer
