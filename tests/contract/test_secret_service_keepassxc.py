"""The Secret Service keeps the contract, on a real KeePassXC."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.bus import Bus
from support.desktop import clear, in_environment
from support.keepassxc import KeePassXC
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.testing.contract import DurableContract, IndexedContract, StoreContract

pytestmark = pytest.mark.requires("keepassxc")


@pytest.fixture(scope="module")
def desktop() -> Iterator[KeePassXC]:
    with Bus() as bus, in_environment(bus):
        yield KeePassXC(bus)


class Prompting(SecretServiceStore):
    """KeePassXC deletes by a prompt, which shows nothing as it is configured here."""

    def delete(self, name: ItemName, call: Call) -> bool:
        return super().delete(name, Call(call.remaining(), Interaction.ALLOWED, call.clock))


class TestKeePassXC(StoreContract, IndexedContract, DurableContract):
    @pytest.fixture
    def make_store(self, desktop: KeePassXC) -> Iterator[Callable[[], Prompting]]:
        clear(desktop.bus)
        yield Prompting
        clear(desktop.bus)
