"""python-keyring and we find each other's items in Credential Manager."""

from __future__ import annotations

import threading
from collections.abc import Generator

import keyring.errors
import pytest
from keyring.backends.Windows import WinVaultKeyring

from tokenkeep.backends.windows import WindowsCredentialStore
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.native.wincred import CredentialManager
from tokenkeep.secret import Secret

SERVICE = "org.example.beside"
NAMES = ("token", "GITHUB_TOKEN", "alice@example.org", "DOMAIN\\bob", "straße", "a b", "🗝️")
TEXTS = ("hunter2", "odd", "even", "naïve 🗝️", "", "two\nlines", "x" * 1280)


@pytest.fixture
def store() -> Generator[WindowsCredentialStore]:
    _empty()
    yield WindowsCredentialStore()
    _empty()


def _empty() -> None:
    manager = CredentialManager()
    for credential in manager.all()[1]:
        if SERVICE in credential.target or SERVICE in credential.user:
            manager.delete(credential.target)


def call() -> Call:
    return Call(30.0)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:8]))
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_keyring_reads_what_we_wrote(store: WindowsCredentialStore, name: str, text: str) -> None:
    """Text up to 1,280 characters under any usual name; under the right user name."""
    store.write(ItemName(SERVICE, name), Secret(text), call())
    assert text == WinVaultKeyring().get_password(SERVICE, name)


@pytest.mark.parametrize("text", TEXTS[:-1], ids=lambda text: ascii(text[:8]))
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_we_read_what_keyring_wrote(store: WindowsCredentialStore, name: str, text: str) -> None:
    """The value as UTF-8, listed under its name."""
    WinVaultKeyring().set_password(SERVICE, name, text)
    value = store.read(ItemName(SERVICE, name), call())
    assert value is not None
    assert text == value.reveal()
    assert [ItemName(SERVICE, name)] == store.names(SERVICE, call())


def test_items_that_keyring_moved_are_found(store: WindowsCredentialStore) -> None:
    """keyring gives the service's own place to the last name, and moves the one before."""
    for name in NAMES:
        WinVaultKeyring().set_password(SERVICE, name, f"of {name}")
    items = sorted(ItemName(SERVICE, name) for name in NAMES)
    assert items == store.names(SERVICE, call())
    for item in items:
        value = store.read(item, call())
        assert value is not None
        assert f"of {item.name}" == value.reveal()


def test_what_either_wrote_last_is_what_both_read(store: WindowsCredentialStore) -> None:
    """We write where keyring keeps an item, and read first where keyring does."""
    item, ring = ItemName(SERVICE, "token"), WinVaultKeyring()
    for turn in range(3):
        store.write(item, Secret(f"ours {turn}"), call())
        assert f"ours {turn}" == ring.get_password(SERVICE, "token")
        ring.set_password(SERVICE, "token", f"theirs {turn}")
        value = store.read(item, call())
        assert value is not None
        assert f"theirs {turn}" == value.reveal()
        ring.set_password(SERVICE, "other", "makes room")
    assert sorted([item, ItemName(SERVICE, "other")]) == store.names(SERVICE, call())


def test_deleting_erases_every_copy_that_keyring_left(store: WindowsCredentialStore) -> None:
    """keyring leaves an old value under the compound name; it goes with the item."""
    item, ring = ItemName(SERVICE, "token"), WinVaultKeyring()
    ring.set_password(SERVICE, "token", "old")
    ring.set_password(SERVICE, "other", "x")
    ring.set_password(SERVICE, "token", "new")
    assert store.delete(item, call()) is True
    assert ring.get_password(SERVICE, "token") is None
    assert store.read(item, call()) is None
    assert "x" == ring.get_password(SERVICE, "other")


def test_writing_leaves_no_older_copy(store: WindowsCredentialStore) -> None:
    """After a write no credential of the user holds a former value of the item."""
    item, ring = ItemName(SERVICE, "token"), WinVaultKeyring()
    for name, value in (("token", "old"), ("other", "x"), ("token", "new")):
        ring.set_password(SERVICE, name, value)
    store.write(item, Secret("newest"), call())
    manager = CredentialManager()
    read = [manager.read(each.target)[1] for each in manager.all()[1]]
    of_token = [each for each in read if each is not None and each.user == "token"]
    assert 1 == len(of_token)
    assert "newest" == ring.get_password(SERVICE, "token")


def test_keyring_deletes_what_we_wrote(store: WindowsCredentialStore) -> None:
    """Deleted there is absent here; and keyring says so of what we deleted."""
    item, ring = ItemName(SERVICE, "token"), WinVaultKeyring()
    store.write(item, Secret("x"), call())
    ring.delete_password(SERVICE, "token")
    assert store.read(item, call()) is None
    store.write(item, Secret("x"), call())
    store.delete(item, call())
    with pytest.raises(keyring.errors.PasswordDeleteError):
        ring.delete_password(SERVICE, "token")


def test_session_records_are_hidden_from_keyring(store: WindowsCredentialStore) -> None:
    """A record is found under no user name, and keyring overwrites none."""
    record = ItemName(SERVICE, "alice", SESSION)
    store.write(record, Secret("record"), call())
    ring = WinVaultKeyring()
    assert ring.get_password(SERVICE, "alice") is None
    ring.set_password(SERVICE, "alice", "password")
    value = store.read(record, call())
    assert value is not None
    assert "record" == value.reveal()


@pytest.mark.parametrize("value", [b"\xff\xfe\x00\xd8", b"x" * 2560], ids=["bytes", "long text"])
def test_what_keyring_cannot_read_it_does_not_find(
    store: WindowsCredentialStore, value: bytes
) -> None:
    """It says that there is nothing, and spoils nothing when it moves items about."""
    item, ring = ItemName(SERVICE, "token"), WinVaultKeyring()
    ring.set_password(SERVICE, "token", "theirs")
    store.write(item, Secret(value), call())
    assert ring.get_password(SERVICE, "token") is None
    for name in ("other", "third"):
        ring.set_password(SERVICE, name, "x")
    assert Secret(value) == store.read(item, call())
    store.write(item, Secret("text"), call())
    assert "text" == ring.get_password(SERVICE, "token")


def test_both_at_once_lose_no_item(store: WindowsCredentialStore) -> None:
    """keyring on one thread, we on another, each with items of its own in one service."""
    ring = WinVaultKeyring()
    items = [ItemName(SERVICE, f"ours {number}") for number in range(20)]

    def theirs() -> None:
        for number in range(20):
            ring.set_password(SERVICE, f"theirs {number}", str(number))

    other = threading.Thread(target=theirs)
    other.start()
    for item in items:
        store.write(item, Secret(item.name), call())
        assert Secret(item.name) == store.read(item, call())
    other.join(60.0)
    found = store.names(SERVICE, call())
    assert set(items) <= set(found)
    assert {f"theirs {number}" for number in range(20)} <= {item.name for item in found}
