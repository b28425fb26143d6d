"""The kernel keyring keeps the contract, on the real kernel, as root and as an ordinary user."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from support.keyrings import alone, clear, empty, missing_kernel_keyring, store
from support.machines import at_length
from support.other_user import let_through
from tokenkeep.backends.kernel_keyring import KernelKeyringStore, Keyring
from tokenkeep.testing.contract import DurableContract, IndexedContract, StoreContract
from tokenkeep.testing.machine import store_machine

pytestmark = pytest.mark.requires("kernel keyring")

#: A user whom nobody is, so that the whole quota is free.
ORDINARY = 54_320
#: As a login does; else it would have the session of the user who started it.
IN_A_SESSION_OF_ITS_OWN = """
import os, sys
from support.keyrings import join_new_session
join_new_session()
os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[1:]])
"""


@pytest.fixture(scope="module", autouse=True)
def only_run() -> Iterator[None]:
    if missing_kernel_keyring() is not None:
        yield
        return
    with alone():
        yield


class KeyringContract(StoreContract, IndexedContract, DurableContract):
    keyring: Keyring
    timeout: int | None = None

    @pytest.fixture
    def make_store(self) -> Iterator[Callable[[], KernelKeyringStore]]:
        empty(self.keyring)
        yield partial(store, self.keyring, self.timeout)
        clear(self.keyring)


class TestSession(KeyringContract):
    keyring = Keyring.SESSION


class TestUser(KeyringContract):
    keyring = Keyring.USER


class TestPersistent(KeyringContract):
    keyring = Keyring.PERSISTENT


class TestWithTimeout(KeyringContract):
    keyring = Keyring.SESSION
    timeout = 3600


class EmptyKeyring(KernelKeyringStore):
    """A store that begins with an empty keyring and leaves one behind."""

    def __init__(self) -> None:
        empty(Keyring.SESSION)
        super().__init__()

    def close(self) -> None:
        clear(Keyring.SESSION)


@pytest.fixture(scope="module")
def machine() -> type:
    found: type = store_machine(EmptyKeyring).TestCase
    found.settings = at_length(as_profile_says=True)  # type: ignore[attr-defined]
    return found


def test_any_sequence_of_calls_gives_what_the_memory_store_gives(machine: type) -> None:
    """The state machine, on a session keyring of its own for every example."""
    machine("runTest").runTest()


@pytest.mark.requires("ordinary user")
def test_contract_holds_for_an_ordinary_user(tmp_path: Path) -> None:
    """With an ordinary user's quota and rights, everything above holds as well."""
    if os.geteuid() != 0:
        return  # This very run is an ordinary user's.
    place = tmp_path / "theirs"
    let_through(place)
    place.mkdir()
    os.chown(place, ORDINARY, ORDINARY)
    done = subprocess.run(
        [
            *("setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"),
            # A Python below root's home can be read all the same; keys know no such right.
            *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
            *(sys.executable, "-c", IN_A_SESSION_OF_ITS_OWN),
            *("-q", "-p", "no:cacheprovider", "-rs"),
            *(f"--basetemp={place / 'tmp'}", "-k", "not ordinary", __file__),
        ],
        capture_output=True,
        text=True,
        timeout=170,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            "HOME": str(place),
            "TMPDIR": str(place),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(place / "examples"),
        },
    )
    assert 0 == done.returncode, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout[-2000:]
    assert int(passed[1]) > 100
    assert "skipped" not in done.stdout
