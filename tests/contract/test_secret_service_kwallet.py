"""The Secret Service keeps the contract, on a real KWallet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.bus import Bus
from support.desktop import clear, in_environment
from support.kwallet import KWallet
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.testing.contract import DurableContract, IndexedContract, StoreContract

pytestmark = pytest.mark.requires("kwallet")


@pytest.fixture(scope="module")
def desktop() -> Iterator[KWallet]:
    with Bus() as bus, in_environment(bus):
        yield KWallet(bus)


class TestKWallet(StoreContract, IndexedContract, DurableContract):
    @pytest.fixture
    def make_store(self, desktop: KWallet) -> Iterator[Callable[[], SecretServiceStore]]:
        clear(desktop.bus)
        yield SecretServiceStore
        clear(desktop.bus)
