"""Windows' own CPython in Wine: what Windows does with the library, as far as Wine does the same.

Invariants: one prefix under `.venv/wine`, made once; its server is started before the first
program, so that no program's pipes stay open in it, and ended by the last user of the prefix; all
of a program's streams are pipes, for without them this Python does not start.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from support.forwarder import forwarder

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
PLACE = REPOSITORY / ".venv" / "wine"
_PREFIX = PLACE / "prefix"
_PYTHON = PLACE / "python"
_LOADER, _SERVER = Path("/usr/lib/wine/wine64"), Path("/usr/lib/wine/wineserver64")
_SYSTEM = _PREFIX / "drive_c" / "windows" / "system32"
#: Seconds: a new prefix takes 15 on a busy machine.
_START_SECONDS = 150


def missing_wine() -> str | None:
    """Why Windows' Python cannot run here."""
    if not (_LOADER.exists() and _SERVER.exists()):
        return "Wine is not installed (Debian: wine64)"
    if not (PLACE / ".installed").exists():
        return "Windows' Python is not installed (scripts/test installs it)"
    return None


class Wine:
    """A started prefix, in which programs run."""

    def python(
        self, *arguments: str, stdin: bytes = b"", timeout: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs Windows' Python, which imports tokenkeep from where this process has it.

        Raises:
            subprocess.TimeoutExpired: it did not end; it was killed.
        """
        command = [str(_LOADER), str(_PYTHON / "python.exe"), "-X", "utf8"]
        command += ["-X", f"pycache_prefix={windows_path(PLACE / 'pycache')}", *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, timeout=timeout, env=_environment()
        )


def windows_path(path: Path) -> str:
    """What a program in Wine calls a path of this system."""
    return "Z:" + str(path).replace("/", "\\")


@contextmanager
def started() -> Generator[Wine, None, None]:
    """Wine for as long as it lasts. Several processes may be in here at once."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with open(PLACE / ".users", "w") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        _make_prefix()
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield Wine()
        finally:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # somebody else still runs something in it
            else:
                _run(_SERVER, "-k")


def _make_prefix() -> None:
    """The prefix, the one library that this Wine lacks, and its server running."""
    _run(_SERVER, "-p")
    _run(_LOADER, "wineboot")
    library = _SYSTEM / "bcryptprimitives.dll"
    if not library.exists():
        functions = {"ProcessPrng": "advapi32.SystemFunction036"}
        library.write_bytes(forwarder(library.name, functions))
    # This file alone says what is imported from where: the environment's variables do not count.
    import tokenkeep

    package = Path(tokenkeep.__file__).resolve().parents[1]
    folders = [windows_path(each) for each in (PLACE / "site", package, TESTS)]
    search = "\n".join(["python311.zip", ".", *folders, ""])
    place = _PYTHON / "python311._pth"
    if place.read_text(encoding="utf-8") != search:
        place.write_text(search, encoding="utf-8")


def _environment() -> dict[str, str]:
    """Ours, without what would lead Windows' Python astray or change how the tests run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "TOKENKEEP_")) and name != "CI"
    }
    kept["WINEPREFIX"] = str(_PREFIX)
    kept["WINEDEBUG"] = "-all"
    kept["WINEDLLOVERRIDES"] = "mscoree=;mshtml=;winemenubuilder.exe="
    return kept


def _run(program: Path, argument: str) -> None:
    nothing = subprocess.DEVNULL
    subprocess.run(
        [str(program), argument],
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
        env=_environment(),
        timeout=_START_SECONDS,
    )
