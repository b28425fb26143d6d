"""The stage: a directory that is removed at the end, and a home in it for every child.

Nothing of the user's is read or written: the children get an environment made from scratch, and
the story does not begin unless their directories lie on the stage.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from typing import Self

from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.cli.demo.children import Child, Ran
from tokenkeep.cli.demo.server import MODULE, Server
from tokenkeep.cli.demo.telling import Telling
from tokenkeep.errors import UnsupportedOption
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.sessionlog import SessionLog
from tokenkeep.vault.key_file import KeyFile

APP = "org.example.demo"
#: What a child needs of the surroundings to run at all; everything else is made here.
_INHERITED = (
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("PYTHONHOME", "PYTHONUTF8", "SYSTEMROOT"),
)
_FOLDERS = {
    "HOME": "home",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "data",
    "XDG_STATE_HOME": "state",
    "XDG_CACHE_HOME": "cache",
}
_PLACES = (
    "import json; from tokenkeep import config, paths;"
    "print(json.dumps([config.default_vault_path(), config.default_key_path(),"
    " paths.state_directory()]))"
)


class Stage:
    """The directory, the server and the commands of one performance; use it as a context.

    Args:
        telling: told of every command.
        keeps: leave the directory behind.

    Attributes:
        directory: everything the children write lies below it.
        vault, key, state: where the children's vault, key file and session logs are.
        server: the authorization server.
    """

    def __init__(self, telling: Telling, *, keeps: bool = False) -> None:
        self.directory = os.path.realpath(tempfile.mkdtemp(prefix="tokenkeep-demo-"))
        self._telling = telling
        self._keeps = keeps
        self._children: list[Child] = []
        self._command = _command()
        self.env = _environment(self.directory)

    def __enter__(self) -> Self:
        try:
            for folder in _FOLDERS.values():
                os.mkdir(os.path.join(self.directory, folder), 0o700)
            told = self.start_python("-c", _PLACES).finish()
            self.vault, self.key, self.state = json.loads(told.stdout)
            for place in (self.vault, self.key, self.state):
                if not place.startswith(self.directory + os.sep):
                    raise UnsupportedOption(
                        "the demo cannot keep out of your own directories on this system"
                    )
            self.server = Server(self.env, self.directory)
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        try:
            self.server.close()
        finally:
            self._clear()

    def run(self, *words: str, quiet: bool = False) -> Ran:
        """Runs one `tokenkeep` command to its end and tells of it; `quiet` only runs it."""
        child = self.start(*words)
        ran = child.finish()
        if not quiet:
            self.told(words, ran)
        return ran

    def start(self, *words: str) -> Child:
        """Starts a `tokenkeep` command as a process of its own."""
        return self._started([*self._command, *words])

    def start_python(self, *words: str, talks: bool = False) -> Child:
        """Starts a Python program."""
        return self._started([sys.executable, *words], talks=talks)

    def told(self, words: tuple[str, ...], ran: Ran) -> None:
        """Tells of a command that ended: what it said on stderr, which is never secret."""
        said = [line for line in ran.stderr.split("\n") if line]
        exit_code = [f"exit {ran.exit_code}"] if ran.exit_code else []
        self._telling.command(" ".join(("tokenkeep", *words)), *said, *exit_code)

    def has_record(self, account: str) -> bool:
        """Whether the vault holds a session record of the account, dead or alive."""
        store = VaultStore(VaultOptions(self.vault, KeyFile(self.key), create=False))
        try:
            return store.read(ItemName(APP, account, SESSION), Call()) is not None
        finally:
            store.close()

    def count_at_fence(self, account: str, pids: list[int]) -> int | None:
        """How many of the processes stand at the account's fence; None where nobody can tell."""
        fence = SessionLog(self.state, APP, account).fence_path
        if not os.path.isdir("/proc/self/fd"):
            return None
        return sum(fence in _open_files(pid) for pid in pids)

    def _started(self, words: list[str], *, talks: bool = False) -> Child:
        child = Child(words, self.env, self.directory, talks=talks)
        self._children.append(child)
        return child

    def _clear(self) -> None:
        # A second Ctrl-C must not leave processes and files behind.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for child in self._children:
                if child.is_running:
                    child.kill()
            if not self._keeps:
                shutil.rmtree(self.directory, ignore_errors=True)
        finally:
            signal.signal(signal.SIGINT, before)


def _command() -> list[str]:
    """This very command: the installed script if it is one, else the module."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "tokenkeep" and os.access(script, os.X_OK):
        return [script]
    return [sys.executable, "-m", "tokenkeep.cli"]


def _environment(directory: str) -> dict[str, str]:
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    env |= {name: os.path.join(directory, folder) for name, folder in _FOLDERS.items()}
    env["TOKENKEEP_APP"] = APP
    env["BROWSER"] = f"{shlex.quote(sys.executable)} -m {MODULE}.browser %s"
    # Where tokenkeep was imported from here, it is imported from there.
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if any(places):
        env["PYTHONPATH"] = os.pathsep.join(os.path.abspath(each) for each in places if each)
    return env


def _open_files(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    found: set[str] = set()
    try:
        names = os.listdir(folder)
    except OSError:
        return found  # it ended
    for name in names:
        try:
            found.add(os.readlink(os.path.join(folder, name)))
        except OSError:
            continue  # it closed the file while we looked
    return found
