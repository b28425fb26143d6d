"""The real keyring library: over gnome-keyring, over keyrings.alt, and over what fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring.errors
import pytest
from keyring.backend import KeyringBackend
from keyrings.alt.file import PlaintextKeyring

from migrate.places import items_of, storage_in
from support.desktop import gnome_desktop, put
from support.gnome_keyring import GnomeKeyring
from tokenkeep.backends.secret_service import SecretServiceOptions
from tokenkeep.errors import (
    AccessDenied,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.item import Call
from tokenkeep.migrate.keyring import KeyringSource
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.report import Outcome
from tokenkeep.storage import SecureStorage

SERVICE = "https://example.org/"


@pytest.fixture
def desktop() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as desktop:
        yield desktop


def secret_service() -> Any:
    from keyring.backends.SecretService import Keyring

    return Keyring()


@pytest.mark.requires("gnome-keyring")
def test_what_keyring_has_in_a_real_keyring_moves(desktop: GnomeKeyring, tmp_path: Path) -> None:
    """All users of the service are found, and only that service is touched."""
    backend = secret_service()
    backend.set_password(SERVICE, "ada", "s3cret")
    backend.set_password(SERVICE, "grace", "söße")
    backend.set_password("other", "ada", "stays")
    storage = storage_in(tmp_path)
    migration = Migration(KeyringSource(SERVICE, backend=backend), storage)
    migration.run()
    assert "s3cret" == backend.get_password(SERVICE, "ada")
    migration.confirm()
    assert {"ada": "s3cret", "grace": "söße"} == items_of(storage)
    assert backend.get_password(SERVICE, "ada") is None
    assert "stays" == backend.get_password("other", "ada")


@pytest.mark.requires("gnome-keyring")
def test_a_password_beside_the_one_that_was_copied_stays(
    desktop: GnomeKeyring, tmp_path: Path
) -> None:
    """Of two that answer to one user keyring gives one: only that one is ever deleted."""
    backend, storage = secret_service(), storage_in(tmp_path)
    for value in (b"one", b"other"):
        attributes = {"service": SERVICE, "username": "ada", "of": value.decode()}
        put(desktop.bus, desktop.collection, attributes, value)
    migration = Migration(KeyringSource(SERVICE, backend=backend), storage)
    migration.run()
    copied = items_of(storage)["ada"]
    with pytest.raises(AccessDenied, match="kept a password"):
        migration.confirm()
    assert {"one", "other"} - {copied} == {backend.get_password(SERVICE, "ada")}
    assert [Outcome.CHANGED] == [item.outcome for item in migration.confirm().items]
    assert {"one", "other"} - {copied} == {backend.get_password(SERVICE, "ada")}


@pytest.mark.requires("gnome-keyring")
def test_a_locked_keyring_stops_without_a_prompt(desktop: GnomeKeyring, tmp_path: Path) -> None:
    """keyring itself would ask, and wait without end."""
    backend = secret_service()
    backend.set_password(SERVICE, "ada", "s3cret")
    desktop.lock()
    migration = Migration(KeyringSource(SERVICE, ["ada"], backend=backend), storage_in(tmp_path))
    began = time.monotonic()
    with pytest.raises(StoreLocked):
        migration.run()
    assert time.monotonic() - began < 5
    desktop.unlock()
    assert 1 == len(migration.run().items)


@pytest.mark.requires("gnome-keyring")
def test_what_is_in_the_new_place_already_is_never_erased(
    desktop: GnomeKeyring, tmp_path: Path
) -> None:
    """keyring's items of this service are ours already: the two places are one."""
    backend = secret_service()
    backend.set_password("org.example.notes", "ada", "s3cret")
    options = SecretServiceOptions()
    with SecureStorage("org.example.notes", options, state_directory=str(tmp_path)) as storage:
        migration = Migration(KeyringSource("org.example.notes", backend=backend), storage)
        with pytest.raises(UnsupportedOption, match="same place"):
            migration.run()
        assert ["ada"] == storage.names()
        assert () == migration.confirm().items
    assert "s3cret" == backend.get_password("org.example.notes", "ada")


def test_a_file_of_keyrings_alt_moves_by_given_names(tmp_path: Path) -> None:
    """A backend without a list needs the names."""
    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring.cfg")
    backend.set_password(SERVICE, "ada", "s3cret")
    with pytest.raises(UnsupportedOption):
        KeyringSource(SERVICE, backend=backend).names()
    source, storage = (
        KeyringSource(SERVICE, ["ada", "nobody"], backend=backend),
        storage_in(tmp_path),
    )
    migration = Migration(source, storage, names={"ada": "password", "nobody": "nobody"})
    migration.run()
    migration.confirm()
    assert {"password": "s3cret"} == items_of(storage)
    assert backend.get_password(SERVICE, "ada") is None


class Failing(KeyringBackend):
    """A backend that does what it is told to."""

    priority = 0  # type: ignore[assignment]

    def __init__(self, problem: Exception | None = None, delay: float = 0.0) -> None:
        super().__init__()
        self.problem = problem
        self.delay = delay

    def get_password(self, service: str, username: str) -> str | None:
        time.sleep(self.delay)
        if self.problem is not None:
            raise self.problem
        return "s3cret"

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        return None


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (keyring.errors.KeyringLocked("s3cret"), StoreLocked),
        (keyring.errors.NoKeyringError("s3cret"), StoreUnavailable),
        (keyring.errors.InitError("s3cret"), StoreUnavailable),
        (keyring.errors.KeyringError("s3cret"), StoreUnavailable),
        (keyring.errors.PasswordDeleteError("s3cret"), AccessDenied),
        (RuntimeError("s3cret"), StoreUnavailable),
    ],
)
def test_each_failure_has_its_error_and_says_no_more(
    problem: Exception, error: type[StoreError]
) -> None:
    """What comes from a backend may hold anything: only its type is said."""
    with pytest.raises(error) as caught:
        KeyringSource(SERVICE, ["ada"], backend=Failing(problem)).read("ada")
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__context__ is None


def test_a_backend_that_hangs_ends_by_the_deadline() -> None:
    """keyring has no deadlines: ours is."""
    source = KeyringSource(SERVICE, ["ada"], call=lambda: Call(0.1), backend=Failing(delay=1))
    with pytest.raises(StoreTimeout):
        source.read("ada")


def test_a_backend_that_keeps_what_it_should_delete_is_said() -> None:
    """Confirmed is only what is gone."""
    with pytest.raises(AccessDenied):
        KeyringSource(SERVICE, ["ada"], backend=Failing()).remove("ada")


def test_a_keyring_that_is_switched_off_is_not_an_empty_one() -> None:
    """Its null backend answers that there is nothing."""
    from keyring.backends import fail, null

    for backend in (null.Keyring(), fail.Keyring()):
        with pytest.raises(StoreUnavailable):
            KeyringSource(SERVICE, ["ada"], backend=backend).read("ada")
