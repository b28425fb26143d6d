"""The Secret Service keeps the contract, on a real gnome-keyring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from support.desktop import clear, gnome_desktop
from support.gnome_keyring import GnomeKeyring
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore
from tokenkeep.testing.contract import DurableContract, IndexedContract, StoreContract

pytestmark = pytest.mark.requires("gnome-keyring")


@pytest.fixture(scope="module")
def desktop() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as keyring:
        yield keyring


class TestDefaultCollection(StoreContract, IndexedContract, DurableContract):
    @pytest.fixture
    def make_store(self, desktop: GnomeKeyring) -> Iterator[Callable[[], SecretServiceStore]]:
        clear(desktop.bus)
        yield SecretServiceStore
        clear(desktop.bus)


class TestCollectionInMemory(StoreContract, IndexedContract, DurableContract):
    @pytest.fixture
    def make_store(self, desktop: GnomeKeyring) -> Iterator[Callable[[], SecretServiceStore]]:
        clear(desktop.bus)
        yield partial(SecretServiceStore, SecretServiceOptions(collection="session"))
        clear(desktop.bus)
