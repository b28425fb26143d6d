"""Windows' own CPython in Wine: what Windows does with the library, as far as Wine does the same.

Invariants: one common prefix under `.venv/wine`, made once, there as a whole or not at all; its
server is started before the first program, so that no program's pipes stay open in it, and ended
after the last; its registry is copied only while no server runs, which saves it when it ends; all
of a program's streams are pipes, for without them this Python does not start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.forwarder import forwarder

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
PLACE = REPOSITORY / ".venv" / "wine"
_PREFIX = PLACE / "prefix"
_REGISTRY = ("system.reg", "user.reg", "userdef.reg")
_PYTHON = PLACE / "python"
_LOADER, _SERVER = Path("/usr/lib/wine/wine64"), Path("/usr/lib/wine/wineserver64")
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
        self,
        *arguments: str,
        stdin: bytes = b"",
        timeout: float = 60.0,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs Windows' Python, which imports tokenkeep from where this process has it.

        Args:
            env: variables besides the usual ones.

        Raises:
            subprocess.TimeoutExpired: it did not end; it was killed.
        """
        return subprocess.run(
            _python(*arguments),
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env={**_environment(), **(env or {})},
        )


class WineApart:
    """A prefix with a server of its own, which may stand still and be killed.

    Its drive C: is the common prefix's, its registry a copy.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._env = _environment(prefix)

    def start(self) -> None:
        """Starts the server and what Windows always runs."""
        _start(self._env)

    def program(self, *arguments: str) -> subprocess.Popen[str]:
        """Windows' Python, running; its streams are pipes."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            _python(*arguments), stdin=pipe, stdout=pipe, stderr=pipe, env=self._env, text=True
        )

    def signal(self, number: signal.Signals) -> None:
        """Sends the server a signal: SIGSTOP, SIGCONT, SIGKILL."""
        for pid, name in self._processes():
            if name.startswith("wineserver"):
                os.kill(pid, number)

    def stop(self) -> None:
        """Ends the server, which keeps what its programs kept."""
        _run(_SERVER, "-k", self._env)

    def end(self) -> None:
        """Ends every process of the prefix: those of a killed server wait for it for ever."""
        for pid, _name in self._processes():
            os.kill(pid, signal.SIGKILL)

    def _processes(self) -> Iterator[tuple[int, str]]:
        wanted = f"WINEPREFIX={self._prefix}".encode()
        for each in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (each / "environ").read_bytes().split(b"\0"):
                    yield int(each.name), (each / "comm").read_text()
            except OSError:
                continue  # gone, or not ours


def windows_path(path: Path) -> str:
    """What a program in Wine calls a path of this system."""
    return "Z:" + str(path).replace("/", "\\")


@contextmanager
def started() -> Generator[Wine, None, None]:
    """Wine for as long as it lasts. Whoever comes meanwhile waits."""
    with _alone():
        try:
            _start(_environment())
            yield Wine()
        finally:
            _run(_SERVER, "-k", _environment())


@contextmanager
def started_apart(folder: Path) -> Generator[WineApart, None, None]:
    """A prefix in a new, empty folder; nothing of it runs afterwards."""
    with _alone():
        for name in (*_REGISTRY, ".update-timestamp"):
            shutil.copy2(_PREFIX / name, folder)
        (folder / "drive_c").symlink_to(_PREFIX / "drive_c")
        drives = folder / "dosdevices"
        drives.mkdir()
        (drives / "c:").symlink_to("../drive_c")
        (drives / "z:").symlink_to("/")
        apart = WineApart(folder)
        try:
            apart.start()
            yield apart
        finally:
            apart.end()


@contextmanager
def _alone() -> Generator[None, None, None]:
    """The whole prefix, with no server and nobody else using it."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with open(PLACE / ".users", "w") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        # Programs and their server take turns: on one processor none has to wake another one up,
        # which takes a virtual machine longer than what the turn is for.
        processors = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(processors)})
        try:
            _run(_SERVER, "-k", _environment())  # of a run that was killed
            if not _PREFIX.exists():
                _make_prefix()
            _tell_search_path()
            yield
        finally:
            os.sched_setaffinity(0, processors)


def _make_prefix() -> None:
    """The prefix with the one library that this Wine lacks, renamed once its registry is saved."""
    making = PLACE / "prefix.making"
    env = _environment(making)
    if making.exists():
        _run(_SERVER, "-k", env)
        shutil.rmtree(making)
    making.mkdir()
    _run(_LOADER, "wineboot", env)
    library = making / "drive_c" / "windows" / "system32" / "bcryptprimitives.dll"
    library.write_bytes(forwarder(library.name, {"ProcessPrng": "advapi32.SystemFunction036"}))
    # The server ends by itself soon after its last program: only then has it saved its registry.
    _run(_SERVER, "-w", env)
    missing = [name for name in _REGISTRY if not (making / name).exists()]
    assert not missing, f"wine did not save {missing}"
    making.rename(_PREFIX)


def _tell_search_path() -> None:
    """One file alone says what is imported from where: the environment's variables do not count."""
    import tokenkeep

    package = Path(tokenkeep.__file__).resolve().parents[1]
    folders = [windows_path(each) for each in (PLACE / "site", package, TESTS)]
    search = "\n".join(["python311.zip", ".", *folders, ""])
    place = _PYTHON / "python311._pth"
    if place.read_text(encoding="utf-8") != search:
        place.write_text(search, encoding="utf-8")


def _start(env: dict[str, str]) -> None:
    """The server, and what Windows always runs."""
    _run(_SERVER, "-p", env)
    _run(_LOADER, "wineboot", env)


def _environment(prefix: Path = _PREFIX) -> dict[str, str]:
    """Ours, without what would lead Windows' Python astray or change how the tests run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "TOKENKEEP_")) and name != "CI"
    }
    kept["WINEPREFIX"] = str(prefix)
    kept["WINEDEBUG"] = "-all"
    kept["WINEDLLOVERRIDES"] = "mscoree=;mshtml=;winemenubuilder.exe="
    return kept


def _python(*arguments: str) -> list[str]:
    pycache = f"pycache_prefix={windows_path(PLACE / 'pycache')}"
    return [str(_LOADER), str(_PYTHON / "python.exe"), "-X", "utf8", "-X", pycache, *arguments]


def _run(program: Path, argument: str, env: dict[str, str]) -> None:
    nothing = subprocess.DEVNULL
    subprocess.run(
        [str(program), argument],
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
        env=env,
        timeout=_START_SECONDS,
    )
