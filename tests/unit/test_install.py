"""A new installation treats what an old one left as its application says."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.children import Child
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import (
    InteractionDenied,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
)
from tokenkeep.install import Installation, check_fresh_install
from tokenkeep.installation import Marker
from tokenkeep.item import MIGRATION, SESSION, Call, ItemName
from tokenkeep.migrate.place import NewPlace
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Store
from tokenkeep.testing.faulty import Fails, Fault, FaultyStore
from tokenkeep.vault.key_file import KeyFile

SERVICE = "org.example.notes"


@pytest.fixture(params=["memory", "vault"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A store that outlives the installations, each of which has a state directory of its own."""
    if request.param == "memory":
        yield MemoryStore()
        return
    home = tmp_path_factory.mktemp("outlives")
    vault = VaultStore(VaultOptions(home / "vault", KeyFile(home / "vault.key")))
    yield vault
    vault.close()


def storage_in(state: Path, store: object, service: str = SERVICE) -> SecureStorage:
    return SecureStorage(service, store, state_directory=str(state))


def test_first_start_with_nothing_left_is_fresh_and_later_ones_are_known(
    tmp_path: Path, store: Store
) -> None:
    """The items of this installation are its own from then on."""
    storage = storage_in(tmp_path, store)
    assert Installation.FRESH is check_fresh_install(storage)
    storage.write("a", "1")
    assert Installation.KNOWN is check_fresh_install(storage)
    assert ["a"] == storage.names()


def left_over(tmp_path: Path, store: Store) -> SecureStorage:
    """A store with items of an installation whose state directory went with it."""
    storage = storage_in(tmp_path, store)
    check_fresh_install(storage)
    storage.write("a", "1")
    storage.write("b", "2")
    shutil.rmtree(tmp_path / SERVICE)
    return storage


def test_clear_erases_what_was_left(tmp_path: Path, store: Store) -> None:
    """Another person's secrets are not shown to this one."""
    storage = left_over(tmp_path, store)
    session = ItemName(SERVICE, "alice", SESSION)
    for record in (session, ItemName(SERVICE, "import", MIGRATION)):
        storage.store.write(record, Secret("x"), Call())
    assert Installation.CLEARED is check_fresh_install(storage)
    assert [session] == storage.store.names(SERVICE, Call())


def test_keep_claims_what_was_left(tmp_path: Path, store: Store) -> None:
    """The first version that asks goes on with what earlier versions wrote."""
    storage = left_over(tmp_path, store)
    assert Installation.KEPT is check_fresh_install(storage, "keep")
    assert Installation.KNOWN is check_fresh_install(storage, "clear")
    assert ["a", "b"] == storage.names()


@pytest.mark.parametrize(("answer", "names"), [(True, ["a", "b"]), (False, [])])
def test_a_function_is_asked_once_with_the_names(
    tmp_path: Path, store: Store, answer: bool, names: list[str]
) -> None:
    """It keeps them by answering True."""
    storage, asked = left_over(tmp_path, store), []

    def policy(found: list[str]) -> bool:
        asked.append(found)
        return answer

    check_fresh_install(storage, policy)
    check_fresh_install(storage, policy)
    assert [["a", "b"]] == asked
    assert names == storage.names()


def test_applications_do_not_touch_each_others_items(tmp_path: Path, store: Store) -> None:
    """Clearing one service leaves the other's items, session records and marker."""
    mine = storage_in(tmp_path, store)
    other = storage_in(tmp_path, store, "org.example.other")
    mine.write("a", "1")
    other.write("a", "2")
    assert Installation.CLEARED is check_fresh_install(mine)
    assert "2" == other.read("a").reveal()  # type: ignore[union-attr]
    assert Installation.KEPT is check_fresh_install(other, "keep")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_failure_at_any_step_settles_nothing(tmp_path: Path, store: Store, step: int) -> None:
    """Locked at the listing or at any erasing: the next start goes on where this one ended."""
    storage_in(tmp_path, store).write("a", "1")
    storage_in(tmp_path, store).write("b", "2")
    faulty = FaultyStore(store, {step: Fails(StoreLocked)})
    with pytest.raises(StoreLocked):
        check_fresh_install(storage_in(tmp_path, faulty))
    storage = storage_in(tmp_path, store)
    assert Installation.CLEARED is check_fresh_install(storage)
    assert [] == storage.names()


def test_threads_take_turns(tmp_path: Path, store: Store) -> None:
    """One settles, the others find the installation known."""
    storage = left_over(tmp_path, store)
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


@pytest.mark.parametrize("after", [False, True], ids=["fails", "loses the answer"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_is_written_before_it_is_settled_is_not_left_over(
    tmp_path: Path, store: Store, step: int, after: bool
) -> None:
    """Wherever the first start failed: the next one clears what was left, and nothing else."""
    left_over(tmp_path, store)
    faulty = FaultyStore(store, {step: Fails(StoreLocked, after)})
    with pytest.raises(StoreLocked):
        check_fresh_install(storage_in(tmp_path, faulty))
    storage = storage_in(tmp_path, store)
    storage.write("b", "mine")
    storage.write("c", "mine too")
    storage.write("c", "and written again")
    assert check_fresh_install(storage) in (Installation.CLEARED, Installation.FRESH)
    assert ["b", "c"] == storage.names()
    assert Secret("mine") == storage.read("b")
    storage.write("d", "later")
    assert Installation.KNOWN is check_fresh_install(storage)
    assert ["b", "c", "d"] == storage.names()


def test_an_application_that_goes_on_unlocked_keeps_its_own(tmp_path: Path, store: Store) -> None:
    """Nothing was left at all: what is there at the second start is this installation's."""
    faulty = FaultyStore(store, {"names": Fails(StoreLocked)})
    with pytest.raises(StoreLocked):
        check_fresh_install(storage_in(tmp_path, faulty))
    storage = storage_in(tmp_path, store)
    storage.write("api_key", "mine")
    assert Installation.FRESH is check_fresh_install(storage)
    assert ["api_key"] == storage.names()


def test_a_function_is_asked_about_what_was_left_only(tmp_path: Path, store: Store) -> None:
    """Whoever answers does not decide about what this installation wrote."""
    storage, asked = left_over(tmp_path, store), []

    def cannot_say(_names: list[str]) -> bool:
        raise StoreUnavailable("nobody is there")

    with pytest.raises(StoreUnavailable):
        check_fresh_install(storage, cannot_say)
    storage.write("c", "mine")
    check_fresh_install(storage, lambda names: bool(asked.append(names)))
    assert [["a", "b"]] == asked
    assert ["c"] == storage.names()


@pytest.mark.requires("fork")
def test_killed_while_somebody_is_asked(tmp_path: Path, store: Store) -> None:
    """The next start asks again, and clears nothing that was written in between."""
    storage = left_over(tmp_path, store)
    with Child(lambda: check_fresh_install(storage, lambda _names: os._exit(9))) as child:
        assert 9 == child.wait()
    storage.write("b", "mine")
    assert Installation.CLEARED is check_fresh_install(storage)
    assert ["b"] == storage.names()


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        (Fails(StoreLocked), []),
        (Fails(InteractionDenied), []),
        (Fails(StoreTimeout), ["a"]),
        (Fails(StoreTimeout, after=True), ["a"]),
    ],
)
def test_what_could_not_be_written_is_still_left_over(
    tmp_path: Path, store: Store, fault: Fault, names: list[str]
) -> None:
    """A locked store took nothing; where nobody knows, nothing is cleared."""
    left_over(tmp_path, store)
    faulty = FaultyStore(store, {"names": Fails(StoreLocked), "write": fault})
    storage = storage_in(tmp_path, faulty)
    with pytest.raises(StoreLocked):
        check_fresh_install(storage)
    with pytest.raises(StoreError):
        storage.write("a", "mine")
    storage = storage_in(tmp_path, store)
    assert Installation.CLEARED is check_fresh_install(storage)
    assert names == storage.names()


def test_a_claim_that_is_taken_back_leaves_the_others(tmp_path: Path) -> None:
    """Of two who write an item at once, one may have had a locked store."""
    marker = Marker(str(tmp_path), SERVICE)
    (tmp_path / SERVICE).mkdir()
    marker.begin()
    marker.claim("a")
    marker.claim("a")
    marker.disclaim("a")
    assert ["b"] == marker.left_over(["a", "b"])
    marker.disclaim("a")
    assert ["a", "b"] == marker.left_over(["a", "b"])


def test_an_item_that_is_moved_here_is_this_installation_s(tmp_path: Path, store: Store) -> None:
    """A migration writes into the store itself."""
    faulty = FaultyStore(store, {"names": Fails(StoreLocked)})
    with pytest.raises(StoreLocked):
        check_fresh_install(storage_in(tmp_path, faulty))
    storage = storage_in(tmp_path, store)
    NewPlace(storage).put("moved", None, Secret("mine"))
    assert Installation.FRESH is check_fresh_install(storage)
    assert ["moved"] == storage.names()


def test_what_cannot_be_noted_is_not_written(tmp_path: Path, store: Store) -> None:
    """Else the next start would take it for left over."""
    faulty = FaultyStore(store, {"names": Fails(StoreLocked)})
    storage = storage_in(tmp_path, faulty)
    with pytest.raises(StoreLocked):
        check_fresh_install(storage)
    marker = Marker(str(tmp_path), SERVICE)
    with marker.hold(storage.clock, Call()):
        impatient = SecureStorage(SERVICE, store, state_directory=str(tmp_path), timeout=0.2)
        with pytest.raises(StoreTimeout):
            impatient.write("a", "1")
    assert [] == storage_in(tmp_path, store).names()


@pytest.mark.parametrize("cut", range(1, 36))
def test_a_line_that_a_crash_tore_claims_nothing_else(tmp_path: Path, cut: int) -> None:
    """What comes after it counts as ever."""
    marker, file = Marker(str(tmp_path), SERVICE), tmp_path / SERVICE / "installed"
    file.parent.mkdir()
    marker.begin()
    marker.claim("a")
    file.write_bytes(file.read_bytes()[:-cut])
    assert not marker.is_settled()
    marker.claim("b")
    assert ["c"] == [name for name in marker.left_over(["a", "b", "c"]) if name != "a"]


def test_a_marker_of_something_else_clears_nothing(tmp_path: Path, store: Store) -> None:
    """Only our own word says that something is left to do."""
    storage = left_over(tmp_path, store)
    (tmp_path / SERVICE).mkdir()
    (tmp_path / SERVICE / "installed").write_bytes(b"by something else")
    assert Installation.KNOWN is check_fresh_install(storage)
    storage.write("c", "3")
    assert ["a", "b", "c"] == storage.names()


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
