"""The Secret Service keeps the contract, on a real gnome-keyring."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, settings

from support.desktop import clear, gnome_desktop
from support.gnome_keyring import GnomeKeyring
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore
from tokenkeep.testing.contract import DurableContract, IndexedContract, StoreContract
from tokenkeep.testing.machine import store_machine

pytestmark = pytest.mark.requires("gnome-keyring")

EXAMPLES = 300 if os.environ.get("CI") == "true" else 20


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


@pytest.mark.timeout(900)  # 300 examples of 25 calls, each with several questions to the daemon
def test_any_sequence_of_calls_gives_the_same_answers_as_on_the_memory_store(
    desktop: GnomeKeyring,
) -> None:
    """The state machine, with every example on an empty keyring."""

    def make_store() -> SecretServiceStore:
        clear(desktop.bus)
        return SecretServiceStore()

    def reopened(store: SecretServiceStore) -> SecretServiceStore:
        store.close()
        return SecretServiceStore()

    machine = store_machine(make_store, reopened).TestCase
    machine.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    machine("runTest").runTest()
