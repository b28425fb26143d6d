"""No window where nobody sits: the command shows the keyring's prompt on a terminal only.

On a real screen, with a keyring that is locked or was never made. A prompt of gnome-keyring's stays
until it is answered, so that one look after each command sees whether it showed one.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.person import Person as PersonAtTerminal
from cli.shell import Shell
from secret_service.daemons import running
from support.gnome_keyring import PASSWORD, GnomeKeyring
from support.screen import Person, screen
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore
from tokenkeep.errors import StoreError
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.select import candidates, open_store

pytestmark = pytest.mark.requires("gnome-keyring", "screen", "terminal")

APP = "org.example.notes"
NAME = ItemName(APP, "token")
#: Seconds for one call into the store: less than a person needs.
TIMEOUT = 1.0
#: Every verb that opens the store, as it is given, with what it finds on stdin.
VERBS: dict[str, tuple[list[str], str]] = {
    "get": (["get", "token"], ""),
    "set": (["set", "other"], "value"),
    "delete": (["delete", "token"], ""),
    "list": (["list"], ""),
    "clear": (["clear", "--yes"], ""),
    "doctor": (["doctor"], ""),
    "status": (["status"], ""),
    "token": (["token"], ""),
    "accounts": (["accounts"], ""),
    "logout": (["logout"], ""),
    "login": (["login", "--issuer", "https://issuer.example", "--client-id", "notes"], ""),
    "import keyring": (["import", "keyring", "https://example.org/"], ""),
    "import store": (["import", "store", "secret-service", "--from-app", "org.other"], ""),
    "vault create": (["vault", "create", "--store-item", "secret-service"], ""),
}
#: What looks at the stores before one is chosen.
LOOKS: dict[str, Callable[[], object]] = {
    "candidates": lambda: candidates([]),
    "candidates that were asked for": lambda: candidates([SecretServiceOptions()]),
    "open_store": lambda: open_store([]),
}


class Desk:
    """A screen with a keyring on it, and a shell beside."""

    def __init__(self, keyring: GnomeKeyring, person: Person, shell: Shell) -> None:
        self.keyring = keyring
        self.person = person
        self.shell = shell

    def has_prompted(self) -> bool:
        """Whether a prompt stands on the screen, or its program was started for one."""
        prompter = "org.gnome.keyring.SystemPrompter"
        return self.keyring.bus.has(prompter) or self.person.sees_a_window()


@contextlib.contextmanager
def desk(home: Path, *, has_collection: bool = True) -> Iterator[Desk]:
    with contextlib.ExitStack() as stack:
        display = stack.enter_context(screen())
        env = {"DISPLAY": display}
        keyring = stack.enter_context(
            running("gnome-keyring", has_collection=has_collection, activates=True, env=env)
        )
        assert isinstance(keyring, GnomeKeyring)
        if has_collection:
            store = SecretServiceStore()
            store.write(NAME, Secret("kept"), Call(10.0))
            store.close()
            keyring.lock()
        yield Desk(keyring, Person(display), Shell(home))


def without_a_terminal(verb: str) -> subprocess.CompletedProcess[str]:
    words, given = VERBS[verb]
    command = [sys.executable, "-m", "tokenkeep.cli", f"--app={APP}", f"--timeout={TIMEOUT}"]
    return subprocess.run(
        [*command, *words], input=given, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("has_collection", [True, False], ids=["locked", "never made"])
def test_nothing_is_shown_without_a_terminal(home: Path, has_collection: bool) -> None:
    """No verb shows the keyring's window to whoever else sits there, nor does any look for stores.

    One desk for all of them: the first window that is seen names what showed it.
    """
    with desk(home, has_collection=has_collection) as here:
        for name, look in LOOKS.items():
            with contextlib.suppress(StoreError):
                look()
            assert not here.has_prompted(), name
        for verb in VERBS:
            answer = without_a_terminal(verb)
            assert not here.has_prompted(), verb
            assert "unexpected" not in answer.stderr, (verb, answer.stderr)
        assert "kept" == _kept(here) if has_collection else True


def _kept(here: Desk) -> str | None:
    here.keyring.unlock()
    store = SecretServiceStore()
    try:
        value = store.read(NAME, Call(10.0))
        return None if value is None else value.reveal()
    finally:
        store.close()


def test_doctor_shows_nothing_at_a_terminal(home: Path) -> None:
    """It looks: a locked keyring is what it says, not what it changes."""
    with (
        desk(home) as here,
        PersonAtTerminal(here.shell, f"--app={APP}", "--json", "doctor") as person,
    ):
        assert 4 == person.code()
        assert '"state": "locked"' in person.screen
        assert not here.has_prompted()


def test_person_at_a_terminal_has_time_to_type(home: Path) -> None:
    """The prompt is theirs, and `--timeout` counts what the keyring takes, not what they take."""
    with (
        desk(home) as here,
        PersonAtTerminal(
            here.shell, f"--app={APP}", f"--timeout={TIMEOUT}", "get", "token"
        ) as person,
    ):
        began = time.monotonic()
        here.person.looks()
        time.sleep(max(0.0, began + 2 * TIMEOUT - time.monotonic()))
        assert person.process.poll() is None
        here.person.types(PASSWORD.decode())
        person.sees("kept")
        assert 0 == person.code()
        here.person.sees_it_close()


def test_import_from_keyring_waits_for_a_person_as_long_as_for_one_of_ours(home: Path) -> None:
    """python-keyring shows the prompt there, and its items move when it was answered."""
    with desk(home) as here:
        made = here.shell.tokenkeep("vault", "create")
        assert 0 == made.code, made.err
        words = [f"--app={APP}", "--store=vault", f"--timeout={TIMEOUT}", "import", "keyring", APP]
        backend = "keyring.backends.SecretService.Keyring"
        with PersonAtTerminal(here.shell, *words, PYTHON_KEYRING_BACKEND=backend) as person:
            here.person.looks()
            time.sleep(2 * TIMEOUT)
            here.person.types(PASSWORD.decode())
            assert 0 == person.code(), person.screen
        assert b"kept" == here.shell.tokenkeep(f"--app={APP}", "--store=vault", "get", "token").out


def test_keyring_that_is_frozen_keeps_nobody_at_a_terminal(home: Path) -> None:
    """A person's time begins when a prompt was shown to them, not before."""
    with desk(home) as here:
        here.keyring.freeze()
        began = time.monotonic()
        words = [f"--app={APP}", f"--timeout={TIMEOUT}", "--store=secret-service", "get", "token"]
        with PersonAtTerminal(here.shell, *words) as person:
            assert 4 == person.code()
        assert time.monotonic() - began < TIMEOUT + 5.0
        here.keyring.thaw()
