"""Reading all of a vault while somebody else replaces its keys: nothing is missing or damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault import quarantine, transfer
from tokenkeep.vault.check import check
from tokenkeep.vault.engine import Engine
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.replace import every_name
from tokenkeep.vault.tracking import changes
from tokenkeep.vault.vault import Vault
from vault.places import SERVICE, call, item, key_file, open_store, open_vault, passphrase


class Overtaken(Vault):
    """A vault whose keys somebody else replaces whenever it has found out which of them hold."""

    def __init__(self, place: Path, root: bool) -> None:
        super().__init__(str(place / "vault"), (key_file(place),))
        self._place = place
        self._root = root
        self.times = 2

    def opened(self, call: Call) -> tuple[Engine, Keys]:
        state = super().opened(call)
        if self.times:
            self.times -= 1
            other = open_vault(self._place)
            rekey(other, lambda: call, root=self._root)
            other.close()
        return state


def exported(vault: Vault, place: Path) -> object:
    report = transfer.export(vault, str(place / "export"), passphrase(), call)
    return sorted(report.items), report.skipped, report.unnamed


def checked(vault: Vault, _place: Path) -> object:
    report = check(vault, call)
    return report.items, report.quarantined, report.findings


NAMES = [item("a"), item("b")]
READS: dict[str, tuple[object, Callable[[Vault, Path], object]]] = {
    "export": ((NAMES, [], 0), exported),
    "check": ((2, 1, []), checked),
    "every name": ((NAMES, 0), lambda vault, _place: every_name(vault, call)),
    "changes": (NAMES, lambda vault, _place: changes(vault, SERVICE, None, call())[1]),
    "quarantine": (
        [item("b")],
        lambda vault, _place: [entry.name for entry in quarantine.entries(vault, call())],
    ),
}


@pytest.mark.parametrize("root", [False, True], ids=["dek", "root"])
@pytest.mark.parametrize("read", READS)
def test_reader_follows_keys_that_are_replaced_under_it(
    tmp_path: Path, read: str, root: bool
) -> None:
    """What it could not open or find by the old keys it looks for again by the new ones."""
    expected, look = READS[read]
    store = open_store(tmp_path)
    store.write(NAMES[1], Secret("of a newer version"), call())
    open_vault(tmp_path).transaction(
        call(),
        lambda connection, _keys: connection.execute(
            "UPDATE item SET envelope = CAST(x'02' || substr(envelope, 2) AS BLOB)"
        ),
    )
    for name in NAMES:  # one of them over what is kept in quarantine from now on
        store.write(name, Secret(name.name), call())
    store.close()
    overtaken = Overtaken(tmp_path, root)
    assert expected == look(overtaken, tmp_path)
    assert not overtaken.times
    overtaken.close()
