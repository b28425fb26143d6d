"""A new installation treats what an old one left as its application says."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from tokenkeep.backends.memory import MemoryStore
from tokenkeep.errors import StoreError, StoreLocked
from tokenkeep.install import Installation, check_fresh_install
from tokenkeep.item import MIGRATION, SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.faulty import Fails, FaultyStore

SERVICE = "org.example.notes"


def storage_in(state: Path, store: object, service: str = SERVICE) -> SecureStorage:
    return SecureStorage(service, store, state_directory=str(state))


def test_first_start_with_nothing_left_is_fresh_and_later_ones_are_known(tmp_path: Path) -> None:
    """The items of this installation are its own from then on."""
    storage = storage_in(tmp_path, MemoryStore())
    assert Installation.FRESH is check_fresh_install(storage)
    storage.write("a", "1")
    assert Installation.KNOWN is check_fresh_install(storage)
    assert ["a"] == storage.names()


def left_over(tmp_path: Path) -> SecureStorage:
    """A store with items of an installation whose state directory went with it."""
    storage = storage_in(tmp_path, MemoryStore())
    check_fresh_install(storage)
    storage.write("a", "1")
    storage.write("b", "2")
    shutil.rmtree(tmp_path / SERVICE)
    return storage


def test_clear_erases_what_was_left(tmp_path: Path) -> None:
    """Another person's secrets are not shown to this one."""
    storage = left_over(tmp_path)
    session = ItemName(SERVICE, "alice", SESSION)
    for record in (session, ItemName(SERVICE, "import", MIGRATION)):
        storage.store.write(record, Secret("x"), Call())
    assert Installation.CLEARED is check_fresh_install(storage)
    assert [session] == storage.store.names(SERVICE, Call())


def test_keep_claims_what_was_left(tmp_path: Path) -> None:
    """The first version that asks goes on with what earlier versions wrote."""
    storage = left_over(tmp_path)
    assert Installation.KEPT is check_fresh_install(storage, "keep")
    assert Installation.KNOWN is check_fresh_install(storage, "clear")
    assert ["a", "b"] == storage.names()


@pytest.mark.parametrize(("answer", "names"), [(True, ["a", "b"]), (False, [])])
def test_a_function_is_asked_once_with_the_names(
    tmp_path: Path, answer: bool, names: list[str]
) -> None:
    """It keeps them by answering True."""
    storage, asked = left_over(tmp_path), []

    def policy(found: list[str]) -> bool:
        asked.append(found)
        return answer

    check_fresh_install(storage, policy)
    check_fresh_install(storage, policy)
    assert [["a", "b"]] == asked
    assert names == storage.names()


def test_applications_do_not_touch_each_others_items(tmp_path: Path) -> None:
    """Clearing one service leaves the other's items, session records and marker."""
    store = MemoryStore()
    mine = storage_in(tmp_path, store)
    other = storage_in(tmp_path, store, "org.example.other")
    mine.write("a", "1")
    other.write("a", "2")
    assert Installation.CLEARED is check_fresh_install(mine)
    assert "2" == other.read("a").reveal()  # type: ignore[union-attr]
    assert Installation.KEPT is check_fresh_install(other, "keep")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_failure_at_any_step_settles_nothing(tmp_path: Path, step: int) -> None:
    """Locked at the listing or at any erasing: the next start goes on where this one ended."""
    store = MemoryStore()
    storage_in(tmp_path, store).write("a", "1")
    storage_in(tmp_path, store).write("b", "2")
    faulty = FaultyStore(store, {step: Fails(StoreLocked)})
    with pytest.raises(StoreLocked):
        check_fresh_install(storage_in(tmp_path, faulty))
    storage = storage_in(tmp_path, store)
    assert Installation.CLEARED is check_fresh_install(storage)
    assert [] == storage.names()


def test_threads_take_turns(tmp_path: Path) -> None:
    """One settles, the others find the installation known."""
    storage = left_over(tmp_path)
    found: list[Installation] = []
    threads = [
        threading.Thread(target=lambda: found.append(check_fresh_install(storage)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [Installation.CLEARED] + [Installation.KNOWN] * 7 == sorted(
        found, key=lambda each: each is Installation.KNOWN
    )


def test_a_state_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Nothing is erased where nothing can be noted."""
    storage = storage_in(tmp_path / "file", MemoryStore())
    (tmp_path / "file").write_text("")
    storage.write("a", "1")
    with pytest.raises(StoreError):
        check_fresh_install(storage)
    assert ["a"] == storage.names()


def test_any_other_policy_is_refused(tmp_path: Path) -> None:
    """A typing mistake must not erase."""
    with pytest.raises(ValueError, match="policy"):
        check_fresh_install(storage_in(tmp_path, MemoryStore()), "delete")  # type: ignore[arg-type]
