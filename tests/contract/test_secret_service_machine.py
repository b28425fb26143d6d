"""Any sequence of calls gives the same answers on every daemon as on the memory store."""

from __future__ import annotations

from typing import Any

import pytest

from secret_service.daemons import running
from support.desktop import clear
from support.machines import at_length
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.testing.machine import store_machine


class Prompting(SecretServiceStore):
    """KeePassXC deletes by a prompt, which shows nothing as it is configured here."""

    def delete(self, name: ItemName, call: Call) -> bool:
        return super().delete(name, Call(call.remaining(), Interaction.ALLOWED, call.clock))


@pytest.mark.parametrize(
    ("name", "store"),
    [
        pytest.param(
            "gnome-keyring", SecretServiceStore, marks=pytest.mark.requires("gnome-keyring")
        ),
        pytest.param("kwallet", SecretServiceStore, marks=pytest.mark.requires("kwallet")),
        pytest.param("keepassxc", Prompting, marks=pytest.mark.requires("keepassxc")),
    ],
)
@pytest.mark.timeout(600)  # 100 examples of 25 calls, each with several questions to the daemon
def test_any_sequence_of_calls_gives_the_same_answers_as_on_the_memory_store(
    name: str, store: type[SecretServiceStore]
) -> None:
    """The state machine, with every example on an empty keyring."""
    with running(name) as daemon:

        def make_store() -> SecretServiceStore:
            clear(daemon.bus)
            return store()

        def reopened(opened: Any) -> SecretServiceStore:
            opened.close()
            return store()

        machine = store_machine(make_store, reopened).TestCase
        machine.settings = at_length(10, shared_by=3)
        machine("runTest").runTest()
