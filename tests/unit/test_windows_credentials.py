"""Where an item lies in Credential Manager, so that python-keyring and we never mistake one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.credential_manager import FolderOfCredentials
from tokenkeep.backends.windows import (
    WindowsCredentialStore,
    WindowsOptions,
    WindowsPersistence,
)
from tokenkeep.errors import AccessDenied, StoreUnavailable
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.native.wincred import NOT_FOUND, Credential
from tokenkeep.secret import Secret
from tokenkeep.store import Persistence

SERVICE = "org.example"
ONE = ItemName(SERVICE, "one")
SHARED = "one@org.example"
TEXT = b"t\xc3\xa4xt"
NO_TEXT = {
    "bytes": b"\xff\xfe\x00\xd8",
    "long text": b"x" * 1281,
    "mark of one order": "\ufefftext".encode(),
    "mark of the other": "\ufffetext".encode(),
}


class Keyring:
    """What python-keyring's WinVaultKeyring does, call for call."""

    def __init__(self, manager: FolderOfCredentials) -> None:
        self._manager = manager

    def set(self, service: str, user: str, text: str) -> None:
        _code, found = self._manager.read(service)
        if found is not None:
            self._write(f"{found.user}@{service}", found.user, self._text(found))
        self._write(service, user, text)

    def get(self, service: str, user: str) -> str | None:
        _code, found = self._manager.read(service)
        if found is None or found.user != user:
            _code, found = self._manager.read(f"{user}@{service}")
        return None if found is None else self._text(found)

    def _text(self, found: Credential) -> str:
        assert found.blob is not None
        return found.blob.reveal_bytes().decode("utf-16")

    def _write(self, target: str, user: str, text: str) -> None:
        blob = Secret(text.encode("utf-16-le"))
        self._manager.write(Credential(target, user, "Stored using python-keyring", 3, blob))


class StopsAfter(FolderOfCredentials):
    """Refuses every call that changes something, after so many."""

    def __init__(self, folder: Path, changes: int) -> None:
        super().__init__(folder)
        self._left = changes

    def write(self, credential: Credential) -> int:
        return 5 if self._is_over() else super().write(credential)

    def delete(self, target: str) -> int:
        return 5 if self._is_over() else super().delete(target)

    def _is_over(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.fixture
def manager(tmp_path: Path) -> FolderOfCredentials:
    return FolderOfCredentials(tmp_path / "credentials")


@pytest.fixture
def ring(manager: FolderOfCredentials) -> Keyring:
    return Keyring(manager)


@pytest.fixture
def store(manager: Any, tmp_path: Path) -> WindowsCredentialStore:
    return WindowsCredentialStore(manager=manager, lock_path=str(tmp_path / "lock"))


def kept(store: WindowsCredentialStore, name: ItemName = ONE) -> bytes | None:
    value = store.read(name, Call(10.0))
    return None if value is None else value.reveal_bytes()


def targets(manager: FolderOfCredentials) -> set[str]:
    return {each.target for each in manager.all()[1]}


@pytest.mark.parametrize("value", NO_TEXT.values(), ids=NO_TEXT)
def test_what_keyring_would_misread_it_does_not_find(
    store: WindowsCredentialStore, manager: FolderOfCredentials, ring: Keyring, value: bytes
) -> None:
    """It is exact here, and absent there, also where text was before; text comes back to both."""
    store.write(ONE, Secret(TEXT), Call(10.0))
    store.write(ONE, Secret(value), Call(10.0))
    assert value == kept(store)
    assert ring.get(SERVICE, "one") is None
    assert 1 == len(targets(manager))
    store.write(ONE, Secret(TEXT), Call(10.0))
    assert {SHARED} == targets(manager)
    assert "täxt" == ring.get(SERVICE, "one")


def test_keyring_that_moves_items_spoils_no_bytes(
    store: WindowsCredentialStore, ring: Keyring
) -> None:
    """keyring reads as text what lies under the service alone, and writes that elsewhere."""
    ring.set(SERVICE, "one", "theirs")
    store.write(ONE, Secret(b"\xff\xfe\x00\xd8"), Call(10.0))
    ring.set(SERVICE, "two", "x")
    ring.set(SERVICE, "three", "y")
    assert b"\xff\xfe\x00\xd8" == kept(store)


def test_item_is_of_one_service_only(store: WindowsCredentialStore) -> None:
    """`a@b` is where "a" of "b" lies, and no item of a service of that name."""
    ours, other = ItemName("b", "a"), ItemName("a@b", "a")
    store.write(ours, Secret("ours"), Call(10.0))
    assert kept(store, other) is None
    assert [] == store.names("a@b", Call(10.0))
    assert store.delete(other, Call(10.0)) is False
    store.write(other, Secret("other"), Call(10.0))
    assert (b"ours", b"other") == (kept(store, ours), kept(store, other))


def test_name_that_keyring_splits_both_ways_is_found_both_ways(
    store: WindowsCredentialStore, ring: Keyring
) -> None:
    """What keyring wrote as "a" of "a@b" is its "a" of "b" too; what we write is one of them."""
    ring.set("a@b", "a", "theirs")
    assert b"theirs" == kept(store, ItemName("a@b", "a")) == kept(store, ItemName("b", "a"))
    store.write(ItemName("a@b", "a"), Secret("new"), Call(10.0))
    assert b"new" == kept(store, ItemName("a@b", "a"))
    assert "new" == ring.get("a@b", "a")
    assert kept(store, ItemName("b", "a")) is None


def test_credential_of_another_case_is_left_alone(
    store: WindowsCredentialStore, manager: FolderOfCredentials, ring: Keyring
) -> None:
    """keyring's `ONE` lies where `one` would: neither is taken for the other, nor overwritten."""
    ring.set(SERVICE, "two", "makes the next one move")
    ring.set(SERVICE, "ONE", "theirs")
    ring.set(SERVICE, "two", "again")
    assert kept(store) is None
    store.write(ONE, Secret("ours"), Call(10.0))
    assert (b"ours", b"theirs") == (kept(store), kept(store, ItemName(SERVICE, "ONE")))
    assert store.delete(ONE, Call(10.0)) is True
    assert "theirs" == ring.get(SERVICE, "ONE")


@pytest.mark.parametrize("value", [TEXT, b"\xff"], ids=["text", "bytes"])
@pytest.mark.parametrize("changes", range(4))
def test_interrupted_write_leaves_the_old_value_or_the_new(
    store: WindowsCredentialStore, ring: Keyring, tmp_path: Path, value: bytes, changes: int
) -> None:
    """Whatever step is the last one, no value older than the old one comes to light."""
    ring.set(SERVICE, "one", "older")
    ring.set(SERVICE, "two", "moves it")
    ring.set(SERVICE, "one", "old")
    stops: Any = StopsAfter(tmp_path / "credentials", changes)
    half = WindowsCredentialStore(manager=stops, lock_path=str(tmp_path / "lock"))
    try:
        half.write(ONE, Secret(value), Call(10.0))
    except AccessDenied:
        assert kept(store) in (b"old", value)
    else:
        assert value == kept(store)
    store.write(ONE, Secret(value), Call(10.0))
    assert value == kept(store)
    assert b"moves it" == kept(store, ItemName(SERVICE, "two"))


@pytest.mark.parametrize("changes", range(3))
def test_interrupted_delete_brings_no_older_value_to_light(
    store: WindowsCredentialStore, ring: Keyring, tmp_path: Path, changes: int
) -> None:
    """The value that counts goes last."""
    ring.set(SERVICE, "one", "older")
    ring.set(SERVICE, "two", "moves it")
    ring.set(SERVICE, "one", "old")
    stops: Any = StopsAfter(tmp_path / "credentials", changes)
    half = WindowsCredentialStore(manager=stops, lock_path=str(tmp_path / "lock"))
    try:
        assert half.delete(ONE, Call(10.0)) is True
    except AccessDenied:
        assert b"old" == kept(store)
    else:
        assert kept(store) is None


def test_write_that_windows_answers_with_absent_is_no_success(
    store: WindowsCredentialStore, manager: FolderOfCredentials
) -> None:
    """Not found is an answer to a read; after a write it says that nothing was kept."""
    manager.write = lambda credential: NOT_FOUND  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="ERROR_NOT_FOUND"):
        store.write(ONE, Secret("lost"), Call(10.0))


def test_reading_makes_no_lock_file(store: WindowsCredentialStore, tmp_path: Path) -> None:
    """Neither does listing: nothing is left where nothing was written."""
    assert kept(store) is None
    assert [] == store.names(SERVICE, Call(10.0))
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("persistence", WindowsPersistence)
def test_options_decide_how_long_windows_keeps_an_item(
    manager: Any, tmp_path: Path, persistence: WindowsPersistence
) -> None:
    """As CRED_PERSIST_... of wincred.h, for every item that is written, as the facts say."""
    lock = str(tmp_path / "lock")
    WindowsCredentialStore(manager=manager, lock_path=lock).write(ONE, Secret("x"), Call(10.0))
    store = WindowsCredentialStore(WindowsOptions(persistence), manager=manager, lock_path=lock)
    for name in (ONE, ItemName(SERVICE, "one", SESSION)):
        store.write(name, Secret("x"), Call(10.0))
    assert {int(persistence)} == {each.persist for each in manager.all()[1]}
    is_session = persistence is WindowsPersistence.SESSION
    assert is_session is (store.facts.persistence is Persistence.LOGIN)
    assert is_session is not store.facts.in_backups
    assert (persistence is WindowsPersistence.ENTERPRISE) is store.facts.syncs
