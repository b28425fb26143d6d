"""A full disk: what is there can always be erased, and what cannot be written is not lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.small_disk import fill, set_read_only, small_disk
from tokenkeep.backends.vault import VaultStore
from tokenkeep.errors import AccessDenied, StoreFull
from tokenkeep.secret import Secret
from tokenkeep.vault import access
from tokenkeep.vault.check import check
from vault.places import SERVICE, call, item, key_file, open_store, open_vault, passphrase, value

pytestmark = pytest.mark.requires("full disk")

#: How many items, and their size: what lies in the log alone, what grows the database there, what
#: fills more pages than the log can take at once.
CONTENTS = [(1, 20), (1, 40_000), (1, 65_536), (6, 40_000), (20, 300), (20, 3000), (300, 300)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", kilobytes=8192) as place:
        yield place


def filled(disk: Path, count: int, size: int) -> VaultStore:
    """A vault with items that lie in its log, on a disk without a free byte."""
    store = open_store(disk)
    store.write(item("0"), Secret("small"), call())
    store.shred(call())
    store._vault.opened(call())[0]._written = 0  # it begins at random, see there
    for number in range(count):
        store.write(item(f"{number}"), Secret(os.urandom(size)), call())
    fill(disk)
    return store


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize(("count", "size"), CONTENTS)
def test_an_item_can_be_deleted_on_a_full_disk(
    disk: Path, count: int, size: int, reopened: bool
) -> None:
    store = filled(disk, count, size)
    if reopened:
        store.close()
    assert store.delete(item("0"), call())
    assert count - 1 == len(store.names(SERVICE, call()))
    assert store.read(item("0"), call()) is None
    store.close()
    assert check(open_vault(disk), call).is_well


@pytest.mark.parametrize(("count", "size"), CONTENTS)
def test_a_service_can_be_erased_on_a_full_disk(disk: Path, count: int, size: int) -> None:
    """Perhaps a few items at a time; what it was is gone from the files with the next write."""
    store = filled(disk, count, size)
    sealed = store._vault.opened(call())[0].row(call(), "SELECT envelope FROM item")[0]
    store.erase(SERVICE, call())
    assert [] == store.names(SERVICE, call())
    store.close()
    (disk / "ballast").unlink()
    again = open_store(disk)
    again.write(item("new"), Secret("value"), call())
    again.close()
    content = b"".join(path.read_bytes() for path in (disk / "vault").iterdir())
    assert sealed not in content
    assert check(open_vault(disk), call).is_well


@pytest.mark.parametrize("reopened", [False, True])
def test_the_next_writer_keeps_room_again(disk: Path, reopened: bool) -> None:
    store = filled(disk, 1, 40_000)
    room = disk / "vault" / "room"
    assert 262_144 == room.stat().st_size
    assert store.delete(item("0"), call())
    assert not room.exists()
    (disk / "ballast").unlink()
    if reopened:
        store.close()
    store.write(item("0"), Secret("value"), call())
    assert 262_144 == room.stat().st_size
    store.close()


def test_a_write_leaves_the_room_to_deletions(disk: Path) -> None:
    """Nothing changes, the room least of all."""
    store = filled(disk, 6, 40_000)
    with pytest.raises(StoreFull):
        store.write(item("0"), Secret(os.urandom(4_000_000)), call())
    found = store.read(item("0"), call())
    assert found is not None
    assert 40_000 == found.size
    assert (disk / "vault" / "room").exists()
    store.close()


def test_without_any_room_an_error_says_that_nothing_was_erased(disk: Path) -> None:
    store = filled(disk, 1, 40_000)
    (disk / "vault" / "room").unlink()
    ballast = disk / "ballast"
    ballast.rename(disk / "more")
    fill(disk)
    with pytest.raises(StoreFull) as caught:
        store.delete(item("0"), call())
    assert "no room left for the vault; nothing was erased" == str(caught.value)
    assert "make room on the disk" == caught.value.hint
    with pytest.raises(StoreFull) as caught:
        store.erase(SERVICE, call())
    assert "no room left for the vault; not everything was erased" == str(caught.value)
    assert store.read(item("0"), call()) is not None
    store.close()


def test_a_disk_without_the_room_makes_a_vault_without_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", kilobytes=200) as place:
        store = open_store(place, key_file(tmp_path))
        store.write(item("one"), Secret("value"), call())
        assert not (place / "vault" / "room").exists()
        assert store.delete(item("one"), call())
        store.close()


def add_key_as_the_disk_fills(disk: Path, at: str) -> None:
    """Adds a passphrase to a vault whose log is empty: the next commit has to have room."""
    store = open_store(disk)
    store.write(item("one"), Secret("value"), call())
    assert not store.shred(call())
    store.close()

    def step(name: str) -> None:
        if name == at:
            fill(disk)

    access.add_key(open_vault(disk), passphrase(), call(), step=step)


def test_a_header_without_room_changes_nothing(disk: Path) -> None:
    with pytest.raises(StoreFull):
        add_key_as_the_disk_fills(disk, "header")
    assert 1 == len(access.list_keys(open_vault(disk)))
    (disk / "ballast").unlink()
    access.add_key(open_vault(disk), passphrase(), call())
    assert "value" == value(open_store(disk, passphrase()), "one")


def test_a_change_of_keys_is_made_once_its_header_is(disk: Path) -> None:
    """Though the database cannot say so: an error would have it made again."""
    before = open_vault(disk)
    add_key_as_the_disk_fills(disk, "state")
    late = open_store(disk, passphrase())
    assert "value" == value(late, "one")
    assert 1 == before.opened(call())[0].row(call(), "SELECT generation FROM state")[0]
    (disk / "ballast").unlink()
    late.write(item("late"), Secret("late"), call())
    assert 2 == before.opened(call())[0].row(call(), "SELECT generation FROM state")[0]
    access.add_key(before, passphrase("third"), call())
    for key in (key_file(disk), passphrase(), passphrase("third")):
        assert "late" == value(open_store(disk, key), "late")


def test_a_vault_that_was_read_on_a_read_only_disk_can_be_written_once_the_disk_can(
    disk: Path,
) -> None:
    """SQLite keeps to what it met; a write that fails has it look anew, once."""
    writer = open_store(disk)
    writer.write(item("a"), Secret("1"), call())
    writer.close()
    set_read_only(disk, True)
    store = open_store(disk)
    assert "1" == value(store, "a")
    with pytest.raises(AccessDenied):
        store.write(item("a"), Secret("2"), call())
    assert "1" == value(store, "a")
    set_read_only(disk, False)
    store.write(item("a"), Secret("3"), call())
    assert "3" == value(store, "a")
    store.close()
