"""Death between any two steps of making and changing a vault: nothing is lost, and it goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenkeep.errors import StoreUnavailable, WrongKey
from tokenkeep.secret import Secret
from tokenkeep.vault import access, creation
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.rekey import rekey
from vault.places import call, item, key_file, open_store, open_vault, passphrase, value

ITEMS = 5


class Crash(BaseException):
    """What a step raises instead of a power failure."""


def crash_in_child(action: Callable[[Callable[[str], None]], object], at: int) -> bool:
    """Runs the action in a child that dies without a word before step `at`; False if it ended."""
    count = 0

    def step(_name: str) -> None:
        nonlocal count
        if count == at:
            os._exit(7)
        count += 1

    pid = os.fork()
    if pid == 0:
        try:
            action(step)
        finally:
            os._exit(0)
    _pid, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 7


def fill(directory: Path) -> None:
    store = open_store(directory)
    for number in range(ITEMS):
        store.write(item(f"n{number}"), Secret(f"value {number}"), call())
    store.close()


def everything_is_there(directory: Path) -> bool:
    store = open_store(directory, create=False)
    try:
        return all(value(store, f"n{number}") == f"value {number}" for number in range(ITEMS))
    finally:
        store.close()


def test_creation_killed_at_any_step_can_be_begun_again(tmp_path: Path) -> None:
    """Nothing, or a good vault, is at the path; the next write succeeds and keeps."""
    at, died = 0, True
    while died:
        place = tmp_path / str(at)
        place.mkdir()

        def make(step: Callable[[str], None], place: Path = place) -> object:
            return creation.create(str(place / "vault"), (key_file(place),), call(), step)

        died = crash_in_child(make, at)
        store = open_store(place)
        assert value(store, "a") is None
        store.write(item("a"), Secret("1"), call())
        store.close()
        assert value(open_store(place, create=False), "a") == "1"
        assert key_file(place).read()[1] != b""
        at += 1
    assert at > 6


def test_creation_that_fails_at_any_step_leaves_nothing_on_the_way(tmp_path: Path) -> None:
    """Neither the vault nor the directories that were made for it; the key file may be used."""
    at, failed = 0, True
    while failed:
        place = tmp_path / str(at)
        path = place / "new" / "deeper" / "vault"
        names: list[str] = []

        def fails(name: str, at: int = at, names: list[str] = names) -> None:
            names.append(name)
            if len(names) > at:
                raise Crash

        try:
            creation.create(str(path), (key_file(tmp_path / "keys"),), call(), fails)
        except Crash:
            assert path.exists() if "published" in names else not place.exists()
            (tmp_path / "keys" / "key").unlink(missing_ok=True)
        else:
            failed = False
        at += 1
    assert at > 6
    assert ["vault"] == os.listdir(path.parent)


def test_creation_that_fails_takes_no_directory_from_another_creator(tmp_path: Path) -> None:
    """It fails while the other one is about to build its vault there, in what both of them made."""
    path = tmp_path / "new" / "vault"

    def other_fails(name: str) -> None:
        if name == "aside":
            (tmp_path / "keys").mkdir()
            (tmp_path / "keys" / "key").write_text("no key")
            (tmp_path / "keys" / "key").chmod(0o600)
            with pytest.raises(WrongKey):
                creation.create(str(tmp_path / "new" / "v"), (key_file(tmp_path / "keys"),), call())
            os.rmdir(tmp_path / "new")  # as one that had found it missing would

    assert creation.create(str(path), (key_file(tmp_path),), call(), other_fails)
    assert path.exists()


@pytest.mark.parametrize("path", ["new/deeper/LONG", "new/LONG/deeper", "LONG/new"])
def test_what_cannot_be_made_leaves_nothing_on_the_way(tmp_path: Path, path: str) -> None:
    """As where a name is too long for the file system; vault or key file."""
    place = tmp_path / path.replace("LONG", "k" * 300)
    with pytest.raises(StoreUnavailable):
        KeyFile(place).make()
    assert [] == os.listdir(tmp_path)
    with pytest.raises(StoreUnavailable):
        creation.create(str(place), (passphrase(),), call())
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize("existing", ["nothing", "empty directory", "file", "dangling link"])
def test_creation_never_takes_over_what_is_there(tmp_path: Path, existing: str) -> None:
    """Whatever appears at the path while a vault is made aside stays as it is."""
    path = tmp_path / "vault"

    def appear(name: str) -> None:
        if name != "publish":
            return
        if existing == "empty directory":
            path.mkdir()
        elif existing == "file":
            path.write_bytes(b"")
        elif existing == "dangling link":
            path.symlink_to("nowhere")

    made = creation.create(str(path), (key_file(tmp_path),), call(), appear)
    assert made is (existing == "nothing")
    assert ["key", "vault"] == sorted(os.listdir(tmp_path))
    if existing == "empty directory":
        assert [] == os.listdir(path)


def test_second_creator_opens_the_firsts(tmp_path: Path) -> None:
    """Of two creators one wins; the other's write lands in the winner's vault."""

    def first(name: str) -> None:
        if name == "publish":
            open_store(tmp_path).write(item("first"), Secret("1"), call())

    assert not creation.create(str(tmp_path / "vault"), (key_file(tmp_path),), call(), first)
    assert value(open_store(tmp_path), "first") == "1"


@pytest.mark.parametrize("kind", ["dek", "root", "remove"])
def test_rekey_killed_at_any_step_loses_nothing_and_resumes(tmp_path: Path, kind: str) -> None:
    """Every item reads right after the crash; a vault that was open all along finishes."""
    at, died = 0, True
    while died:
        place = tmp_path / str(at)
        place.mkdir()
        fill(place)
        slot = access.add_key(open_vault(place), passphrase(), call()).id
        keys = (key_file(place), passphrase())

        def change(step: Callable[[str], None], place: Path = place, slot: bytes = slot) -> object:
            vault = open_vault(place, key_file(place), passphrase())
            remove = slot if kind == "remove" else None
            return rekey(vault, call, root=kind == "root", remove=remove, step=step)

        before = open_vault(place, *keys)
        assert Secret("value 0") == before.read(item("n0"), call())
        died = crash_in_child(change, at)
        assert Secret("value 0") == before.read(item("n0"), call())
        assert everything_is_there(place)
        between = open_store(place)
        assert value(between, "n1") == "value 1"
        header = before.header()
        assert header is not None
        remove = slot if kind == "remove" and len(header.slots) == 2 else None
        report = rekey(before, call, root=kind == "root", remove=remove)
        assert 0 == report.damaged
        between.write(item("n1"), Secret("value 1"), call())
        before.write(item("n2"), Secret("value 2"), call())
        before.close()
        between.close()
        assert everything_is_there(place)
        header = open_vault(place).header()
        assert header is not None
        assert not header.is_rekeying
        assert not header.previous_root
        assert 1 == len(header.wrapped_keys)
        assert len(header.slots) == (1 if kind == "remove" else 2)
        at += 1
    assert at > 5


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_change_of_keys_killed_at_any_step_happened_or_not(tmp_path: Path, verb: str) -> None:
    """The old keys still open; the change can be made again."""
    at, died = 0, True
    while died:
        place = tmp_path / str(at)
        place.mkdir()
        fill(place)
        slot = b""
        if verb == "remove":
            slot = access.add_key(open_vault(place), passphrase(), call()).id

        def change(step: Callable[[str], None], place: Path = place, slot: bytes = slot) -> object:
            if verb == "add":
                return access.add_key(open_vault(place), key_file(place, "two"), call(), step=step)
            return access.remove_key(open_vault(place), slot, call(), step)

        died = crash_in_child(change, at)
        assert everything_is_there(place)
        slots = len(access.list_keys(open_vault(place)))
        if verb == "add":
            if slots == 1:
                access.add_key(open_vault(place), key_file(place, "two"), call())
            assert value(open_store(place, key_file(place, "two")), "n0") == "value 0"
        elif slots == 2:
            access.remove_key(open_vault(place), slot, call())
        open_store(place).write(item("after"), Secret("1"), call())
        at += 1
    assert at > 2


def test_interrupted_erasure_is_finished_by_the_next_writer(tmp_path: Path) -> None:
    """Killed after the items went and before their bytes did."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret("x" * 300), call())
    engine, _keys = open_vault(tmp_path).opened(call())
    (sealed,) = engine.row(call(), "SELECT envelope FROM item")
    engine.close()
    vault = open_vault(tmp_path)
    assert vault.delete(item("a"), call())
    vault.transaction(call(), lambda connection, _keys: connection.execute(
        "UPDATE state SET erase_pending = 1"
    ))  # fmt: skip
    vault.close()
    store.close()
    open_store(tmp_path).write(item("b"), Secret("1"), call())
    state = open_vault(tmp_path).opened(call())[0].row(call(), "SELECT erase_pending FROM state")
    assert state == (0,)
    content = b"".join(file.read_bytes() for file in (tmp_path / "vault").iterdir())
    assert sealed[21:] not in content


def test_key_file_of_a_lost_race_still_opens(tmp_path: Path) -> None:
    """Two creators with one key file path end with one key."""
    key = key_file(tmp_path)
    assert key.make()[0] == key.make()[0]
    creation.create(str(tmp_path / "vault"), (key,), call())
    with pytest.raises(StoreUnavailable):
        creation.create(str(tmp_path / "other"), (key,), call())
