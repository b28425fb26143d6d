"""The keychain store keeps the contract, over the C stand-in for Apple's frameworks.

Not a keychain: what is proved is the binding, its ownership and the store. The
same contract on a Mac's own keychain is in `tests/on_mac`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.keychain_stand_in import COMPILER, StandIn, library, open_store
from support.machines import at_length
from tokenkeep.backends.apple import Accessibility, AppleOptions, AppleStore, Keychain
from tokenkeep.testing.contract import DurableContract, IndexedContract, StoreContract
from tokenkeep.testing.machine import store_machine

pytestmark = pytest.mark.requires("c compiler")

PROTECTED = AppleOptions(keychain=Keychain.DATA_PROTECTION)
SHARED = AppleOptions(
    keychain=Keychain.DATA_PROTECTION,
    accessibility=Accessibility.AFTER_FIRST_UNLOCK,
    access_group="TEAM.org.example.shared",
    synchronizable=True,
    label="Example",
)


class TestFileKeychain(StoreContract, IndexedContract, DurableContract):
    """The macOS file keychain: what is used where nothing else is asked for."""

    PLATFORM = "darwin"
    OPTIONS = AppleOptions()

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Iterator[Callable[[], AppleStore]]:
        stand_in = StandIn(library())
        stand_in.begin(str(tmp_path / "items"), self.PLATFORM)
        yield partial(open_store, library(), str(tmp_path / "items"), self.PLATFORM, self.OPTIONS)
        assert "" == (stand_in.violation if stand_in.violations else "")
        assert (0, 0, 0) == (stand_in.live, stand_in.misuses, stand_in.panels)


class TestDataProtectionKeychainOnMac(TestFileKeychain):
    OPTIONS = PROTECTED


class TestDataProtectionKeychainWithEveryOption(TestFileKeychain):
    OPTIONS = SHARED


class TestIos(TestFileKeychain):
    PLATFORM = "ios"


class TestKeychainByItsPath(TestFileKeychain):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Iterator[Callable[[], AppleStore]]:
        stand_in, path = StandIn(library()), str(tmp_path / "own.keychain-db")
        place = str(tmp_path / "items")
        stand_in.begin(place, "darwin")
        yield partial(open_store, library(), place, "darwin", AppleOptions(path=path), path)
        assert "" == (stand_in.violation if stand_in.violations else "")
        assert (0, 0, 0) == (stand_in.live, stand_in.misuses, stand_in.panels)


class InADirectory(AppleStore):
    """A store over the stand-in that takes its items with it when it is closed."""

    def __init__(self, platform: str = "darwin", options: AppleOptions | None = None) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="tokenkeep-machine-")
        self.stand_in = StandIn(library())
        self.stand_in.begin(os.path.join(self.directory.name, "items"), platform)
        made = open_store(
            library(),
            os.path.join(self.directory.name, "items"),
            platform,
            options if options is not None else AppleOptions(),
        )
        vars(self).update(vars(made))

    def close(self) -> None:
        assert (0, 0, 0) == (
            self.stand_in.live,
            self.stand_in.misuses,
            self.stand_in.violations,
        )
        self.directory.cleanup()


if COMPILER is not None:
    SETTINGS = at_length()
    TestFileMachine: Any = store_machine(InADirectory).TestCase
    TestFileMachine.settings = SETTINGS
    ON_IOS = AppleOptions(access_group="TEAM.org.example.shared")
    TestIosMachine: Any = store_machine(partial(InADirectory, "ios", ON_IOS)).TestCase
    TestIosMachine.settings = SETTINGS
