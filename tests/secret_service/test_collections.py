"""Which keyring a store uses: the default one, one by its label or alias, none at all."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from secret_service.daemons import running
from support.desktop import gnome_desktop, items, plain_session, put
from support.gnome_keyring import GnomeKeyring
from support.keyring_daemon import ROOT, SERVICE
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore
from tokenkeep.errors import StoreLocked, StoreUnavailable, UnsupportedOption
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Persistence, Protection

NAME = ItemName("org.example.notes", "token")
_INTERNAL = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"


@pytest.fixture
def keyring() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as keyring:
        yield keyring


def call() -> Call:
    return Call(20.0)


def made(keyring: GnomeKeyring, label: str) -> str:
    """Another keyring, unlocked; its path."""
    properties = {"org.freedesktop.Secret.Collection.Label": ("s", label)}
    secret = (plain_session(keyring.bus), b"", b"another password", "text/plain")
    method = f"{_INTERNAL}.CreateWithMasterPassword"
    path: str = keyring.bus.call(SERVICE, ROOT, method, "a{sv}(oayays)", properties, secret)[0]
    return path


@pytest.mark.requires("gnome-keyring")
def test_collection_is_found_by_its_label(keyring: GnomeKeyring) -> None:
    """Items go there and nowhere else; the default collection does not have them."""
    path = made(keyring, "Work things")
    store = SecretServiceStore(SecretServiceOptions(collection="Work things"))
    store.write(NAME, Secret("there"), call())
    (item,) = items(keyring.bus)
    assert item.startswith(f"{path}/")
    assert Secret("there") == store.read(NAME, call())
    other = SecretServiceStore()
    assert other.read(NAME, call()) is None
    assert [] == other.names(NAME.service, call())
    assert other.delete(NAME, call()) is False
    assert [NAME] == store.names(NAME.service, call())
    other.write(NAME, Secret("here"), call())
    assert Secret("there") == store.read(NAME, call())
    for each in (store, other):
        each.close()


@pytest.mark.requires("gnome-keyring")
def test_unknown_and_ambiguous_collections_are_unavailable(keyring: GnomeKeyring) -> None:
    """The hint names those that there are; of two with one label none is guessed."""
    made(keyring, "twice")
    made(keyring, "twice")
    for label in ("twice", "no such thing"):
        store = SecretServiceStore(SecretServiceOptions(collection=label))
        with pytest.raises(StoreUnavailable) as caught:
            store.write(NAME, Secret("x"), call())
        assert "'twice'" in (caught.value.hint or "")
        store.close()
    assert [] == items(keyring.bus)


@pytest.mark.requires("gnome-keyring")
def test_item_in_a_keyring_that_was_never_unlocked_is_not_made_a_second_time() -> None:
    """A search finds nothing in it, so that a write takes the item for new: it is refused."""
    with running("gnome-keyring", activates=True) as keyring:
        store = SecretServiceStore()
        store.write(NAME, Secret("old"), call())
        keyring.kill()  # the bus starts another one, which nobody unlocks
        for name in (NAME, ItemName(NAME.service, "new")):
            with pytest.raises(StoreLocked):
                store.write(name, Secret("new"), call())
        keyring.unlock()
        assert [NAME] == store.names(NAME.service, call())
        assert Secret("old") == store.read(NAME, call())
        store.write(NAME, Secret("newer"), call())
        assert 1 == len(items(keyring.bus))
        store.close()


@pytest.mark.requires("gnome-keyring")
def test_locked_collection_beside_an_open_one_is_locked(keyring: GnomeKeyring) -> None:
    """What is locked is the store's own collection, whatever others are."""
    path = made(keyring, "Work things")
    work = SecretServiceStore(SecretServiceOptions(collection="Work things"))
    work.write(NAME, Secret("there"), call())
    keyring.bus.call(SERVICE, ROOT, "org.freedesktop.Secret.Service.Lock", "ao", [path])
    with pytest.raises(StoreLocked):
        work.read(NAME, call())
    default = SecretServiceStore()
    assert default.read(NAME, call()) is None
    for each in (work, default):
        each.close()


@pytest.mark.requires("gnome-keyring")
def test_changed_default_is_followed(keyring: GnomeKeyring) -> None:
    """An item that is not where the default was is looked for where it is now."""
    store = SecretServiceStore()
    assert store.read(NAME, call()) is None
    path = made(keyring, "Work things")
    put(keyring.bus, path, {"service": NAME.service, "username": NAME.name}, b"there")
    method = "org.freedesktop.Secret.Service.SetAlias"
    keyring.bus.call(SERVICE, ROOT, method, "so", "default", path)
    new = ItemName(NAME.service, "new")
    store.write(new, Secret("new"), call())
    assert 2 == len(items(keyring.bus))
    assert {path} == {item.rpartition("/")[0] for item in items(keyring.bus)}
    assert Secret("there") == store.read(NAME, call())
    store.close()


@pytest.mark.requires("gnome-keyring")
def test_without_a_default_collection_an_item_elsewhere_is_not_absent() -> None:
    """Fail closed: unavailable or locked, never `None`, and never a second item."""
    with gnome_desktop(with_login=False) as keyring:
        path = made(keyring, "Work things")
        put(keyring.bus, path, {"service": NAME.service, "username": NAME.name}, b"kept")
        store = SecretServiceStore()
        for error in (StoreUnavailable, StoreLocked):
            with pytest.raises(error):
                store.read(NAME, call())
            with pytest.raises(error):
                store.write(NAME, Secret("x"), call())
            with pytest.raises(error):
                store.delete(NAME, call())
            assert 1 == len(items(keyring.bus))
            keyring.bus.call(SERVICE, ROOT, "org.freedesktop.Secret.Service.Lock", "ao", [path])
        store.close()


@pytest.mark.requires("gnome-keyring")
def test_server_without_a_login_keyring_names_the_vault() -> None:
    """Nobody logged in to a desktop: there is no default collection, and nothing is made."""
    with gnome_desktop(with_login=False) as keyring:
        store = SecretServiceStore()
        with pytest.raises(StoreUnavailable) as caught:
            store.write(NAME, Secret("x"), call())
        assert "tokenkeep vault create" == caught.value.hint
        assert [] == items(keyring.bus)
        store.close()
        memory = SecretServiceStore(SecretServiceOptions(collection="session"))
        memory.write(NAME, Secret("for now"), call())
        assert Secret("for now") == memory.read(NAME, call())
        memory.close()


def test_facts_of_the_collection_in_memory_are_its_own() -> None:
    """It protects less and lasts less, and says so."""
    kept = SecretServiceStore().facts
    assert (Protection.LOGIN, Persistence.UNTIL_DELETED) == (kept.protection, kept.persistence)
    memory = SecretServiceStore(SecretServiceOptions(collection="session")).facts
    assert (Protection.MEMORY, Persistence.LOGIN) == (memory.protection, memory.persistence)
    assert memory.in_backups is False


@pytest.mark.parametrize("collection", ["", "a\0b", "x" * 256, 7])
def test_collection_that_cannot_be_is_refused(collection: object) -> None:
    """At once, before anything is connected to."""
    with pytest.raises(UnsupportedOption):
        SecretServiceOptions(collection=collection)  # type: ignore[arg-type]


def test_options_are_a_value() -> None:
    """Equal, hashable, picklable, and not to be changed."""
    options = SecretServiceOptions(collection="Work things")
    assert options == pickle.loads(pickle.dumps(options))
    assert 1 == len({options, SecretServiceOptions(collection="Work things")})
    assert options != SecretServiceOptions()
    assert "SecretServiceOptions(collection='Work things')" == repr(options)
    with pytest.raises(AttributeError):
        options.collection = None
