"""One virtual environment for each peer below `.bench`, so that none sees another's packages."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench"

#: What is installed where. Peers have a version, so that two runs compare the same thing.
REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "tokenkeep": (f"{ROOT}[cli,oauth,async,secret-service]",),
    "keyring": ("keyring==25.7.0",),
    "keyrings.alt": ("keyrings.alt==5.0.2", "keyring==25.7.0", "pycryptodome"),
    "keyrings.cryptfile": ("keyrings.cryptfile==1.3.9", "keyring==25.7.0"),
    "msal-extensions": ("msal-extensions==1.3.1", "msal==1.39.0"),
    "Authlib": ("Authlib==1.9.9", "requests"),
    "requests-oauthlib": ("requests-oauthlib==2.0.0",),
    "google-auth": ("google-auth==2.62.2", "requests"),
}


class NotInstalled(Exception):
    """An environment could not be made; the message is pip's last line."""


def python_of(name: str) -> str:
    """The interpreter of an environment."""
    return program_of(name, "python")


def program_of(name: str, program: str) -> str:
    """A command of an environment."""
    return str(HOME / name / "bin" / program)


def ensure(name: str) -> None:
    """Make an environment, or make it anew when what it should hold has changed.

    Raises:
        NotInstalled: It could not be made.
    """
    place = HOME / name
    wanted = "\n".join((sys.version, str(place), *REQUIREMENTS[name]))
    if name == "tokenkeep":
        wanted += "\n" + _digest_of_source()
    stamp = place / ".installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"  making .bench/{name}", file=sys.stderr, flush=True)
    try:
        venv.create(place, clear=True, symlinks=True)
        # Not editable: what an application installs is what is measured.
        pip = [sys.executable, "-m", "pip", "--python", python_of(name), "install", "--quiet"]
        done = subprocess.run(
            [*pip, "--disable-pip-version-check", *REQUIREMENTS[name]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise NotInstalled(f"{type(exc).__name__} while making its environment") from exc
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise NotInstalled(f"pip: {lines[-1][:120]}")
    stamp.write_text(wanted)


def versions(name: str) -> str:
    """The first named package's version as installed."""
    package = "tokenkeep" if name == "tokenkeep" else REQUIREMENTS[name][0].partition("==")[0]
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([python_of(name), "-c", code], capture_output=True, text=True)
    return f"{package} {done.stdout.strip()}"


def clean(place: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a process whose home and XDG directories lie below `place`."""
    for folder in ("home", "data", "config", "state", "cache", "runtime"):
        os.makedirs(os.path.join(place, folder), mode=0o700, exist_ok=True)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": os.path.join(place, "home"),
        "XDG_DATA_HOME": os.path.join(place, "data"),
        "XDG_CONFIG_HOME": os.path.join(place, "config"),
        "XDG_STATE_HOME": os.path.join(place, "state"),
        "XDG_CACHE_HOME": os.path.join(place, "cache"),
        "XDG_RUNTIME_DIR": os.path.join(place, "runtime"),
        **(more or {}),
    }


def _digest_of_source() -> str:
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    for path in sorted((ROOT / "src").rglob("*.py")):
        digest.update(str(path).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
