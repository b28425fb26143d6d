"""Any sequence of calls gives the same answers on KWallet and KeePassXC as on the memory store."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from secret_service.daemons import running
from support.desktop import clear
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.item import Call, Interaction, ItemName
from tokenkeep.testing.machine import store_machine

EXAMPLES = 300 if os.environ.get("CI") == "true" else 10


class Prompting(SecretServiceStore):
    """KeePassXC deletes by a prompt, which shows nothing as it is configured here."""

    def delete(self, name: ItemName, call: Call) -> bool:
        return super().delete(name, Call(call.remaining(), Interaction.ALLOWED, call.clock))


@pytest.mark.parametrize(
    ("name", "store"),
    [
        pytest.param("kwallet", SecretServiceStore, marks=pytest.mark.requires("kwallet")),
        pytest.param("keepassxc", Prompting, marks=pytest.mark.requires("keepassxc")),
    ],
)
@pytest.mark.timeout(600)
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
        machine.settings = settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        machine("runTest").runTest()
