"""A write looks whether the files that it has open still have their names.

One look at a directory that has been at rest does for all of them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenkeep.backends.vault import VaultStore
from tokenkeep.clock import SystemClock
from tokenkeep.errors import StoreUnavailable
from tokenkeep.secret import Secret
from tokenkeep.vault import lockfile
from tokenkeep.vault.lockfile import LockFile
from vault.places import call, item, open_store, value

pytestmark = pytest.mark.requires("POSIX files")


class Later(SystemClock):
    """The machine's clock, some seconds ahead: what has just changed is at rest."""

    wall = staticmethod(lambda: time.time() + 10.0)


@pytest.fixture(params=["at rest", "just changed"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> VaultStore:
    """One that has written twice, so that it knows what there was."""
    if request.param == "at rest":
        monkeypatch.setattr(lockfile, "SystemClock", Later)
    store = open_store(tmp_path)
    for number in range(3):
        store.write(item("a"), Secret(str(number)), call())
    return store


def database_replaced(vault: Path) -> None:
    copy = vault.with_name("copy")
    shutil.copytree(vault, copy)
    for name in ("vault.db", "vault.db-wal", "vault.db-shm"):
        (vault / name).unlink()
    for name in ("vault.db", "vault.db-wal"):
        os.replace(copy / name, vault / name)


def vault_replaced(vault: Path) -> None:
    shutil.copytree(vault, vault.with_name("copy"))
    vault.rename(vault.with_name("elsewhere"))
    vault.with_name("copy").rename(vault)


@pytest.mark.parametrize("replaced", [database_replaced, vault_replaced])
def test_what_took_the_place_of_a_vault_is_noticed(
    store: VaultStore, tmp_path: Path, replaced: Callable[[Path], None]
) -> None:
    """By the very next write; the one behind it goes to where the name leads."""
    replaced(tmp_path / "vault")
    with pytest.raises(StoreUnavailable, match="moved or replaced"):
        store.write(item("a"), Secret("lost"), call())
    store.write(item("a"), Secret("new"), call())
    assert "new" == value(store, "a") == value(open_store(tmp_path), "a")


def test_vault_that_was_moved_away_takes_no_writes(store: VaultStore, tmp_path: Path) -> None:
    """Nobody would find them. Moved back, it is as it was."""
    vault, elsewhere = tmp_path / "vault", tmp_path / "elsewhere"
    vault.rename(elsewhere)
    with pytest.raises(StoreUnavailable):
        store.write(item("a"), Secret("lost"), call())
    elsewhere.rename(vault)
    assert "2" == value(store, "a") == value(open_store(tmp_path), "a")
    store.write(item("a"), Secret("new"), call())
    assert "new" == value(open_store(tmp_path), "a")


@pytest.mark.parametrize("is_made_again", [False, True])
def test_lock_is_the_one_that_has_the_name(
    store: VaultStore, tmp_path: Path, is_made_again: bool
) -> None:
    """A lock file that was removed or replaced is no lock any more."""
    path = tmp_path / "vault" / "lock"
    path.unlink()
    if is_made_again:
        path.touch(0o600)
    store.write(item("a"), Secret("new"), call())
    ours, other = LockFile(os.fspath(path.parent)), LockFile(os.fspath(path.parent))
    assert ours.try_lock()
    assert not other.try_lock()
    ours.unlock()
    assert other.try_lock()
    ours.close()
    other.close()


def test_one_look_is_enough_where_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the directory is at rest; until then a change may have the time of the one before."""
    store, looks = open_store(tmp_path), []
    lstat = os.lstat

    def counted(path: str) -> os.stat_result:
        looks.append(path)
        return lstat(path)

    def looks_of_two_writes() -> int:
        looks.clear()
        for name in ("a", "b"):
            store.write(item(name), Secret("1"), call())
        return len(looks)

    looks_of_two_writes()
    monkeypatch.setattr(os, "lstat", counted)
    assert 4 == looks_of_two_writes()
    monkeypatch.setattr(lockfile, "SystemClock", Later)
    assert 2 == looks_of_two_writes()
    assert 0 == looks_of_two_writes()
    (tmp_path / "vault" / "lock").touch()
    assert 0 == looks_of_two_writes()
    (tmp_path / "vault" / "stray").touch()
    assert 2 == looks_of_two_writes()
    assert 0 == looks_of_two_writes()
