"""The stores that are compared: where each is installed, and how its whole-process read is run."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from desktop import Desktop
from environments import clean, program_of, python_of
from measure import PeerFailed, last_line, run
from workers import HERE, Worker

SERVICE = "org.example.bench"
_STARTED = time.monotonic()


@dataclass(frozen=True)
class Place:
    """A peer's own directory, and the variables of a process that keeps its things there."""

    path: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Peer:
    """A store.

    Attributes:
        adapter: its module in `peers`.
        imports: what an application imports to use it.
        command: the arguments of a whole-process read of a name, and how to describe it.
        prepare: keeps a value in the way in which `command` will find it; None: by the adapter.
    """

    title: str
    environment: str
    adapter: str
    imports: str
    command: Callable[[Place, str], Sequence[str]]
    through: str
    needs_desktop: bool = False
    prepare: Callable[[Place, str, str], None] | None = None

    def worker(self, place: Place) -> Worker:
        """A process with the store; it is not yet open."""
        return Worker(self.environment, self.adapter, place.path, place.variables)

    @contextmanager
    def place(self) -> Iterator[Place]:
        """An empty store's home, gone afterwards; with an unlocked keyring daemon if needed.

        Raises:
            PeerFailed: There can be no such daemon here.
        """
        with tempfile.TemporaryDirectory(prefix="tokenkeep-bench-") as path:
            if not self.needs_desktop:
                yield Place(path, clean(path))
                return
            with Desktop(path) as desktop:
                yield Place(path, clean(path, desktop.variables))


def _adapter_as_program(peer: str, environment: str) -> Callable[[Place, str], Sequence[str]]:
    program = str(HERE / "peers" / f"{peer}.py")
    return lambda place, name: [python_of(environment), program, place.path, name]


def _tokenkeep_get(place: Place, name: str) -> Sequence[str]:
    return [program_of("tokenkeep", "tokenkeep"), "--app", SERVICE, "get", name]


def _tokenkeep_set(place: Place, name: str, value: str) -> None:
    """As a person would: make the vault that `config.toml` then names, and put the value in."""
    tokenkeep = program_of("tokenkeep", "tokenkeep")
    for arguments, given in (
        (["vault", "create"], ""),
        (["--app", SERVICE, "set", name], value + "\n"),
    ):
        done = run([tokenkeep, *arguments], place.variables, given)
        if done.exit_code != 0:
            raise PeerFailed(f"exit {done.exit_code}: {last_line(done.errors)}")


def _keyring_get(place: Place, name: str) -> Sequence[str]:
    return [program_of("keyring", "keyring"), "get", SERVICE, name]


def _keyring_get_plaintext(place: Place, name: str) -> Sequence[str]:
    backend = "keyrings.alt.file.PlaintextKeyring"
    return [program_of("keyrings.alt", "keyring"), "-b", backend, "get", SERVICE, name]


TOKENKEEP = Peer(
    "tokenkeep",
    "tokenkeep",
    "tokenkeep_vault",
    "import tokenkeep",
    _tokenkeep_get,
    "tokenkeep get",
    prepare=_tokenkeep_set,
)
KEYRING = Peer(
    "keyring, gnome-keyring",
    "keyring",
    "secret_service",
    "import keyring",
    _keyring_get,
    "keyring get; the daemon's own CPU not counted",
    needs_desktop=True,
)
PEERS = (
    TOKENKEEP,
    KEYRING,
    Peer(
        "keyrings.alt, plaintext",
        "keyrings.alt",
        "alt_plaintext",
        "import keyrings.alt.file",
        _keyring_get_plaintext,
        "keyring -b ... get",
    ),
    Peer(
        "keyrings.alt, encrypted",
        "keyrings.alt",
        "alt_encrypted",
        "import keyrings.alt.file",
        _adapter_as_program("alt_encrypted", "keyrings.alt"),
        "a script: its command line asks a person for the passphrase",
    ),
    Peer(
        "keyrings.cryptfile",
        "keyrings.cryptfile",
        "cryptfile",
        "import keyrings.cryptfile.cryptfile",
        _adapter_as_program("cryptfile", "keyrings.cryptfile"),
        "a script: its command line asks a person for the passphrase",
    ),
    Peer(
        "msal-extensions, file",
        "msal-extensions",
        "msal_cache",
        "import msal_extensions",
        _adapter_as_program("msal_cache", "msal-extensions"),
        "a script: there is no command line; not encrypted",
    ),
)
#: Not a peer but a yardstick: a bare SQLite commit, by the interpreter of tokenkeep's environment.
SQLITE = Peer(
    "bare SQLite",
    "tokenkeep",
    "bare_sqlite",
    "import sqlite3",
    _adapter_as_program("bare_sqlite", "tokenkeep"),
    "",
)
SQLITE_ORDINARY = dataclasses.replace(
    SQLITE, title="bare SQLite, ordinary table", adapter="bare_sqlite_ordinary"
)


def say(text: str) -> None:
    """Progress, beside the table."""
    print(f"  {time.monotonic() - _STARTED:5.0f} s  {text}", file=sys.stderr, flush=True)
