"""Credential Manager keeps the store contract, and any sequence of calls answers as it should."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator

import pytest

from support.machines import at_length
from tokenkeep.backends.windows import WindowsCredentialStore, WindowsOptions, probe
from tokenkeep.backends.windows.naming import item_of
from tokenkeep.item import Call, ItemName
from tokenkeep.native.wincred import CredentialManager
from tokenkeep.secret import Secret
from tokenkeep.store import Store
from tokenkeep.testing.contract import DurableContract, StoreContract
from tokenkeep.testing.machine import store_machine
from tokenkeep.testing.material import OTHER_SERVICE, SERVICE

#: Whose items the tests make: nothing else of the person's credentials is touched.
SERVICES = (SERVICE, OTHER_SERVICE, "org.example", "org.Example", "a", "ab")


def empty() -> None:
    """Removes what a test left behind. Lists once, as that takes Wine longest."""
    manager = CredentialManager()
    for each in manager.all()[1]:
        if any(item_of(each, service) is not None for service in SERVICES):
            manager.delete(each.target)


@pytest.fixture(autouse=True)
def emptied() -> Generator[None]:
    empty()
    yield
    empty()


class TestCredentialManager(StoreContract, DurableContract):
    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        return functools.partial(WindowsCredentialStore, WindowsOptions())


class EmptiedStore(WindowsCredentialStore):
    """The user's one Credential Manager, emptied for each example."""

    __slots__ = ()

    def __init__(self) -> None:
        empty()
        super().__init__()


TestMachine = store_machine(EmptiedStore).TestCase
TestMachine.settings = at_length()


def test_probe_finds_credential_manager() -> None:
    """Looking whether it can be used raises nothing where it can, and leaves nothing behind."""
    probe(WindowsOptions(), Call(30.0))
    assert [] == WindowsCredentialStore().names(SERVICE, Call(30.0))


def test_names_of_one_case_do_not_move_those_of_another() -> None:
    """Windows ignores case: each of three names keeps its value, whoever goes first."""
    store = WindowsCredentialStore()
    names = [ItemName(SERVICE, each) for each in ("Token", "token", "TOKEN")]
    for number, name in enumerate(names):
        store.write(name, Secret(str(number)), Call(30.0))
    store.delete(names[0], Call(30.0))
    store.write(names[1], Secret("again"), Call(30.0))
    store.write(names[0], Secret("new"), Call(30.0))
    values = [store.read(name, Call(30.0)) for name in names]
    assert ["new", "again", "2"] == [value.reveal() for value in values if value is not None]
