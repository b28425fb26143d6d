"""The real things a test may need, how to find each, and what to say where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from support.java import missing_java

REPOSITORY = Path(__file__).resolve().parents[2]
OIDC_PROVIDER = REPOSITORY / ".venv" / "oidc-provider" / "node_modules"
PYOBJC_METADATA = REPOSITORY / ".venv" / "pyobjc-metadata"

#: oidc-provider uses `URL.parse` and `require` of modules: Node 20.19 has both.
LEAST_NODE = (20, 19)


@cache
def node_executable() -> Path | None:
    """A Node new enough for oidc-provider: the environment's own, else the machine's."""
    own = REPOSITORY / ".venv" / "node"
    for candidate in (str(own) if own.exists() else None, shutil.which("node")):
        if candidate is not None and _node_version(candidate) >= LEAST_NODE:
            return Path(candidate)
    return None


def _node_version(executable: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run(
            [executable, "--version"], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(int(part) for part in answer.stdout.strip().lstrip("v").split(".")[:2])


def _missing_node() -> str | None:
    if node_executable() is None:
        return "Node 20.19 or newer is not installed (scripts/test installs it)"
    if not (OIDC_PROVIDER / "oidc-provider" / "package.json").exists():
        return "the npm package oidc-provider is not installed (scripts/test installs it)"
    return None


def _missing_fork() -> str | None:
    return None if hasattr(os, "fork") else "this system has no fork"


def _missing_posix_files() -> str | None:
    if sys.platform != "win32":
        return None
    return (
        "Windows has no permission bits and no O_NOFOLLOW, and keeps open files from being removed"
    )


def _missing_posix_paths() -> str | None:
    return None if sys.platform != "win32" else "Windows' paths have drives and backslashes"


def _missing_key_file_default() -> str | None:
    if sys.platform != "win32":
        return None
    return "a vault of Windows opens by DPAPI where no key is named: test_windows_default.py"


def _missing_proc() -> str | None:
    return None if sys.platform == "linux" else "this system has no /proc"


def _missing_fine_clocks() -> str | None:
    return None if sys.platform != "win32" else "Windows' clocks advance by 1/64 of a second"


def _missing_terminal() -> str | None:
    return None if sys.platform != "win32" else "this system has no pseudo-terminals"


def _missing_shell() -> str | None:
    return None if os.path.exists("/bin/sh") else "this system has no POSIX shell"


def _missing_shells() -> str | None:
    return _missing_programs("bash zsh fish", "bash", "zsh", "fish")


def _missing_other_user() -> str | None:
    if not hasattr(os, "geteuid"):
        return "this system has no numeric users"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "running as root without setpriv to become an ordinary user"
    return None


def _missing_full_disk() -> str | None:
    if not sys.platform.startswith("linux"):
        return "a small file system can be made on Linux only"
    if os.geteuid() != 0 and _user_namespace_denied():
        return "neither root nor a user namespace to mount a small file system in"
    return None


@cache
def _user_namespace_denied() -> bool:
    if shutil.which("unshare") is None:
        return True
    answer = subprocess.run(["unshare", "-rm", "true"], capture_output=True, timeout=20)
    return answer.returncode != 0


def _missing_kernel_keyring() -> str | None:
    from support.keyrings import missing_kernel_keyring

    return missing_kernel_keyring()


def _missing_swtpm() -> str | None:
    missing = [each for each in ("swtpm", "tpm2_pcrextend") if shutil.which(each) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: swtpm swtpm-tools tpm2-tools)"
    return None


def _missing_systemd_creds() -> str | None:
    if shutil.which("systemd-creds") is None:
        return "systemd-creds is not installed (Debian: systemd)"
    return None if os.geteuid() == 0 else "only root may use systemd's host key"


def _missing_programs(packages: str, *programs: str) -> str | None:
    missing = [each for each in programs if shutil.which(each) is None]
    return f"{', '.join(missing)} not installed (Debian: {packages})" if missing else None


def _missing_gnome_keyring() -> str | None:
    return _missing_programs("gnome-keyring dbus", "gnome-keyring-daemon", "dbus-daemon")


def _missing_secret_tool() -> str | None:
    if find_spec("keyring") is None:
        return "python-keyring is not installed (scripts/test installs it)"
    return _missing_programs("libsecret-tools", "secret-tool")


def _missing_kwallet() -> str | None:
    return _missing_programs(
        "libkf5wallet-bin libqca-qt5-2-plugins dbus", "kwalletd5", "dbus-daemon"
    )


def _missing_keepassxc() -> str | None:
    if find_spec("pykeepass") is None:
        return "pykeepass, which makes the database, is not installed (scripts/test installs it)"
    return _missing_programs("keepassxc dbus", "keepassxc", "dbus-daemon")


def _missing_screen() -> str | None:
    return _missing_programs("xvfb xdotool", "Xvfb", "xdotool")


@cache
def _missing_logind_mock() -> str | None:
    # Debian's own: the package on PyPI has to be built against libdbus.
    command = ["/usr/bin/python3", "-c", "import dbusmock"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "dbusmock is not installed (Debian: python3-dbusmock)"
    return _missing_programs("dbus", "dbus-daemon")


def _missing_fprintd() -> str | None:
    if not os.path.exists("/usr/libexec/fprintd"):
        return "fprintd is not installed (Debian: fprintd)"
    return _missing_logind_mock()


def _missing_polkit() -> str | None:
    if not os.path.exists("/usr/lib/polkit-1/polkitd"):
        return "polkitd is not installed (Debian: polkitd)"
    if os.geteuid() != 0:
        return "only root can give polkitd rules of the test's own"
    return _missing_programs("dbus util-linux", "dbus-daemon", "unshare")


def _missing_wine() -> str | None:
    if sys.platform == "win32":
        return "this is Windows, or already Wine"
    from support.wine import missing_wine

    return missing_wine()


def _missing_python_keyring() -> str | None:
    if find_spec("keyring") is None:
        return "python-keyring is not installed (scripts/test installs it)"
    return None


def _missing_pyobjc_metadata() -> str | None:
    if not (PYOBJC_METADATA / "Security" / "_metadata.py").exists():
        return "pyobjc's metadata is not installed (scripts/test installs it)"
    return None


def _missing_c_compiler() -> str | None:
    if sys.platform == "win32" or not (shutil.which("cc") or shutil.which("gcc")):
        return "no C compiler for a shared library (Debian: gcc libc6-dev)"
    return None


#: name -> why it is missing here, or None if it is there.
SERVICES: dict[str, Callable[[], str | None]] = {
    "node": _missing_node,
    "fork": _missing_fork,
    "POSIX files": _missing_posix_files,
    "POSIX paths": _missing_posix_paths,
    "key-file default": _missing_key_file_default,
    "/proc": _missing_proc,
    "fine clocks": _missing_fine_clocks,
    "terminal": _missing_terminal,
    "shell": _missing_shell,
    "shells": _missing_shells,
    "ordinary user": _missing_other_user,
    "full disk": _missing_full_disk,
    "swtpm": _missing_swtpm,
    "systemd-creds": _missing_systemd_creds,
    "kernel keyring": _missing_kernel_keyring,
    "gnome-keyring": _missing_gnome_keyring,
    "secret-tool": _missing_secret_tool,
    "kwallet": _missing_kwallet,
    "keepassxc": _missing_keepassxc,
    "screen": _missing_screen,
    "fprintd": _missing_fprintd,
    "polkit": _missing_polkit,
    "logind mock": _missing_logind_mock,
    "java": missing_java,
    "c compiler": _missing_c_compiler,
    "python-keyring": _missing_python_keyring,
    "pyobjc metadata": _missing_pyobjc_metadata,
    "wine": _missing_wine,
}
