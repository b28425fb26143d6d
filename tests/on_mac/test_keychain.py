"""The keychain store on a real file keychain of macOS, made for the test and deleted after it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.machines import at_length
from tokenkeep.backends.apple import AppleOptions, AppleStore, Keychain, probe
from tokenkeep.errors import AccessDenied, StoreLocked, StoreUnavailable
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.testing.contract import DurableContract, IndexedContract, StoreContract
from tokenkeep.testing.machine import store_machine

ONE = ItemName("org.example", "one")


def security(*arguments: str) -> str:
    """Apple's command for keychains; a person's home is needed for its list of keychains."""
    Path(os.environ["HOME"], "Library", "Preferences").mkdir(parents=True, exist_ok=True)
    answer = subprocess.run(
        ["security", *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return answer.stdout


def create(path: str) -> None:
    """A keychain that opens with "password" and does not lock itself."""
    security("create-keychain", "-p", "password", path)
    security("set-keychain-settings", path)
    security("unlock-keychain", "-p", "password", path)


@pytest.fixture
def keychain() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tokenkeep-") as directory:
        path = os.path.join(os.path.realpath(directory), "own.keychain-db")
        create(path)
        yield path
        security("delete-keychain", path)


def open_store(path: str) -> AppleStore:
    """A store in the keychain; also in another process."""
    return AppleStore(AppleOptions(path=path))


class TestFileKeychain(StoreContract, IndexedContract, DurableContract):
    @pytest.fixture
    def make_store(self, keychain: str) -> Callable[[], AppleStore]:
        return partial(open_store, keychain)

    # Apple promises nothing for its frameworks in a child made by fork without exec.
    test_forked_child_uses_the_store = None
    test_fork_while_threads_work_does_not_hang_the_child = None


class InItsOwnKeychain(AppleStore):
    """A store that takes its keychain with it when it is closed."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="tokenkeep-machine-")
        self.path = os.path.join(os.path.realpath(self.directory.name), "own.keychain-db")
        create(self.path)
        super().__init__(AppleOptions(path=self.path))

    def close(self) -> None:
        security("delete-keychain", self.path)
        self.directory.cleanup()


TestMachine: Any = store_machine(InItsOwnKeychain).TestCase
TestMachine.settings = at_length(20)


def test_locked_keychain_is_locked_and_keeps_its_items(keychain: str) -> None:
    """Reading does not ask; after unlocking all is there."""
    store = open_store(keychain)
    store.write(ONE, Secret("kept"), Call(30.0))
    security("lock-keychain", keychain)
    with pytest.raises(StoreLocked):
        store.read(ONE, Call(30.0))
    security("unlock-keychain", "-p", "password", keychain)
    assert Secret("kept") == store.read(ONE, Call(30.0))


def test_apples_command_sees_the_item(keychain: str) -> None:
    """A generic password with our service and name."""
    open_store(keychain).write(ONE, Secret("kept"), Call(30.0))
    shown = security("find-generic-password", "-s", ONE.service, "-a", ONE.name, keychain)
    assert "genp" in shown


def test_missing_keychain_is_unavailable(tmp_path: Path) -> None:
    """Nothing is made."""
    path = str(tmp_path / "nothing.keychain-db")
    with pytest.raises(StoreUnavailable):
        probe(AppleOptions(path=path), Call(30.0))
    assert not os.path.exists(path)


def test_unsigned_python_has_no_data_protection_keychain() -> None:
    """The error says what a program needs."""
    store = AppleStore(AppleOptions(keychain=Keychain.DATA_PROTECTION))
    with pytest.raises(AccessDenied, match="-34018") as caught:
        store.write(ONE, Secret("x"), Call(30.0))
    assert "keychain-access-groups" in (caught.value.hint or "")
