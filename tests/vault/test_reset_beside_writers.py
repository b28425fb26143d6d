"""A vault is set aside while somebody else may change its header, or make the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection

import pytest

from tokenkeep.errors import StoreError, StoreTimeout, StoreUnavailable
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault.format import Header
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.lockfile import LockFile
from tokenkeep.vault.reset import Lost, require_lost, set_aside
from tokenkeep.vault.vault import Vault
from vault.places import call, item, key_file, open_store, open_vault, passphrase, value

#: Opens the vault by its passphrase and adds a key, saying when it is at which step; at that of
#: the first argument it waits for a line.
ADDS_A_KEY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tokenkeep.vault.access import add_key
from vault.places import call, key_file, open_vault, passphrase

def step(name):
    if name == sys.argv[1]:
        print(name, flush=True)
        sys.stdin.readline()

place = Path(sys.argv[2])
add_key(open_vault(place, passphrase()), key_file(place, "another"), call(), step=step)
"""


def lose(place: Path) -> tuple[Vault, Lost]:
    """A vault that a passphrase opens, and one who has nothing but its key file, now damaged."""
    open_store(place, key_file(place), passphrase()).write(item("a"), Secret("1"), call())
    key = place / "key"
    key.write_bytes(key.read_bytes()[:-1])
    vault = open_vault(place)
    lost = require_lost(vault, call())
    assert lost is not None
    return vault, lost


def begin_anew(place: Path) -> bytes:
    """Makes the next vault; its header."""
    open_store(place, key_file(place, "new")).write(item("a"), Secret("new"), call())
    return (place / "vault" / "header").read_bytes()


def unchanged_slots(_connection: Connection, keys: Keys) -> tuple[Header, Secret]:
    return keys.header.following(slots=keys.header.slots), keys.root


def names(place: Path) -> list[str]:
    return sorted(each.name for each in place.iterdir())


@pytest.mark.parametrize(
    ("at", "error"),
    [("header", StoreTimeout), ("state", StoreUnavailable)],
    ids=["before it is written", "once it is written"],
)
def test_a_vault_whose_header_is_being_changed_stays_where_it_is(
    tmp_path: Path, at: str, error: type[StoreError]
) -> None:
    """At every step of the change: nothing is moved, after the deadline or at once."""
    vault, lost = lose(tmp_path)
    before = names(tmp_path)
    reached = []

    def step(name: str) -> None:
        if name == at:
            reached.append(name)
            with pytest.raises(error):
                set_aside(vault, lost, Call(0.1))

    open_vault(tmp_path, passphrase()).change_header(call(), unchanged_slots, step)
    assert [at] == reached
    assert before == names(tmp_path)
    assert "1" == value(open_store(tmp_path, passphrase()), "a")


def test_a_vault_that_somebody_gave_another_key_meanwhile_is_not_lost(tmp_path: Path) -> None:
    """Another process is in the middle of it: reset waits for it, looks again, moves nothing."""
    vault, lost = lose(tmp_path)
    command = [sys.executable, "-c", ADDS_A_KEY, "header", str(tmp_path)]
    with subprocess.Popen(
        [*command, str(Path(__file__).parent.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert "header\n" == other.stdout.readline()
        with pytest.raises(StoreTimeout):
            set_aside(vault, lost, Call(0.1))
        other.stdin.write("\n")
        other.stdin.flush()
        with pytest.raises(StoreUnavailable, match="changed meanwhile"):
            set_aside(vault, lost, call())
        assert 0 == other.wait(60)
    assert "1" == value(open_store(tmp_path, key_file(tmp_path, "another")), "a")


def test_nobody_changes_the_header_while_the_vault_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each of its moves the lock is held, and afterwards there is no such vault."""
    vault, lost = lose(tmp_path)
    other = open_vault(tmp_path, passphrase())
    other.opened(call())
    moves: list[str] = []
    rename = os.rename

    def moved(old: str, new: str) -> None:
        moves.append(os.path.basename(old))
        if sys.platform != "win32" or moves[-1] == "key":
            with pytest.raises(StoreTimeout):
                other.change_header(Call(0.1), unchanged_slots)
        other.close()  # Windows moves nothing that is open
        rename(old, new)

    monkeypatch.setattr(os, "rename", moved)
    aside = set_aside(vault, lost, call())
    monkeypatch.undo()
    assert ["key", "vault"] == moves
    with pytest.raises(StoreUnavailable):
        other.change_header(call(), unchanged_slots)
    assert (Path(aside) / "lock").exists()
    assert not (tmp_path / "vault").exists()


def test_nothing_is_left_in_a_directory_that_took_the_vaults_place(tmp_path: Path) -> None:
    """While a person was asked: it is not looked into, and gets no lock file."""
    vault, lost = lose(tmp_path)
    os.rename(tmp_path / "vault", tmp_path / "moved")
    (tmp_path / "vault").mkdir(0o700)
    with pytest.raises(StoreUnavailable, match="replaced meanwhile"):
        set_aside(vault, lost, call())
    assert [] == names(tmp_path / "vault")


def remove(lock: Path) -> None:
    lock.unlink()


def make_a_directory(lock: Path) -> None:
    lock.unlink()
    lock.mkdir()


def link(lock: Path) -> None:
    lock.unlink()
    lock.symlink_to("header")


def forbid(lock: Path) -> None:
    lock.chmod(0o400)


def forbid_the_directory(lock: Path) -> None:
    lock.unlink()
    lock.parent.chmod(0o500)


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("harm", [remove, make_a_directory, link, forbid, forbid_the_directory])
def test_a_lock_that_nobody_can_have_keeps_no_vault_in_its_place(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """No writer can have it either; the next vault has a lock of its own, which is free."""
    vault, lost = lose(tmp_path)
    harm(tmp_path / "vault" / "lock")
    aside = set_aside(vault, lost, call())
    assert not (tmp_path / "vault").exists()
    Path(aside).chmod(0o700)
    begin_anew(tmp_path)
    lock = LockFile(os.fspath(tmp_path / "vault"))
    assert lock.try_lock()
    lock.unlock()
    lock.close()
