"""A change of the header that ends at any step, beside others who have the vault open."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection

import pytest

from tokenkeep.errors import StoreFull, StoreUnavailable, UnsupportedOption, WriteConflict
from tokenkeep.secret import Secret
from tokenkeep.vault import access
from tokenkeep.vault.format import Header
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.keys import Keys
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.replace import replace_all
from tokenkeep.vault.vault import Vault
from vault.places import SERVICE, call, item, key_file, open_store, open_vault, passphrase, value

Step = Callable[[str], None]


def keys(place: Path) -> tuple[KeyFile | Passphrase, ...]:
    """Every key that the vault ever has."""
    return key_file(place), passphrase(), key_file(place, "new"), passphrase("new")


def opened(place: Path) -> Vault:
    """Another process's view of the vault: its own object, which remembers the header it read."""
    return Vault(str(place / "vault"), keys(place), create=True)


def paper(vault: Vault) -> bytes:
    """The id of the slot that is there to be removed."""
    return next(slot.id for slot in access.list_keys(vault) if slot.label == "paper")


#: Everything that replaces the header.
CHANGES: dict[str, Callable[[Vault, Path, Step], object]] = {
    "dek": lambda vault, _place, step: rekey(vault, call, step=step),
    "root": lambda vault, _place, step: rekey(vault, call, root=True, step=step),
    "out": lambda vault, _place, step: rekey(vault, call, remove=paper(vault), step=step),
    "add": lambda vault, place, step: access.add_key(
        vault, key_file(place, "new"), call(), step=step
    ),
    "remove": lambda vault, _place, step: access.remove_key(vault, paper(vault), call(), step),
    "replace": lambda vault, place, step: replace_all(
        vault, (key_file(place, "new"), passphrase("new")), call, step=step
    ),
}
#: What somebody else then does, who had the vault open all along.
OTHERS: dict[str, Callable[[Vault], object]] = {
    "dek": lambda vault: rekey(vault, call),
    "root": lambda vault: rekey(vault, call, root=True),
    "add": lambda vault: access.add_key(vault, passphrase("another"), call()),
}


def is_killed(change: Callable[[Step], object], at: int) -> bool:
    """Makes the change in a child that is killed before step `at`; False if it came to its end."""
    left = at

    def step(_name: str) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    pid = os.fork()
    if pid == 0:
        try:
            change(step)
            os._exit(0)
        finally:
            os._exit(1)
    _pid, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return status != 0


def is_refused(change: Callable[[Step], object], at: int) -> bool:
    """Makes the change in this process, which has no room left at step `at`; as `is_killed`."""
    left = at

    def step(_name: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise StoreFull("no room left")

    try:
        change(step)
    except StoreFull:
        return True
    return False


def prepared(place: Path) -> dict[str, str]:
    """A vault with two slots, and its items."""
    place.mkdir()
    items = {f"n{number}": f"value {number}" for number in range(3)}
    vault = Vault(str(place / "vault"), (key_file(place),), create=True)
    for name, text in items.items():
        vault.write(item(name), Secret(text), call())
    access.add_key(vault, passphrase(), call(), label="paper")
    vault.close()
    return items


def acknowledge(vault: Vault, items: dict[str, str], name: str, text: str = "text") -> None:
    vault.write(item(name), Secret(text), call())
    items[name] = text


def found(vault: Vault) -> dict[str, str]:
    """Every item, as the vault gives it."""
    values = {name.name: vault.read(name, call()) for name in vault.names(SERVICE, call())}
    return {name: value.reveal() for name, value in values.items() if value is not None}


ENDS = [
    pytest.param(is_killed, marks=pytest.mark.requires("fork"), id="killed"),
    pytest.param(is_refused, id="full"),
]


@pytest.mark.parametrize(
    ("other", "writes_first"), [("dek", True), ("root", False), ("add", False)]
)
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("change", CHANGES)
def test_header_of_a_change_that_ended_is_never_written_over_from_memory(
    tmp_path: Path,
    change: str,
    ends: Callable[[Callable[[Step], object], int], bool],
    other: str,
    writes_first: bool,
) -> None:
    """Whoever sealed with a key of that header finds the item again, whoever changes it next."""
    at, ended = 0, True
    while ended:
        place = tmp_path / str(at)
        items = prepared(place)
        before, changing = opened(place), opened(place)
        for vault in (before, changing):
            assert items == found(vault)

        def make(step: Step, vault: Vault = changing, place: Path = place) -> object:
            return CHANGES[change](vault, place, step)

        ended = ends(make, at)
        between = opened(place)
        assert items == found(between)
        if writes_first:
            acknowledge(between, items, "written before")
        OTHERS[other](before)
        if writes_first:
            acknowledge(between, items, "written before", "over what it wrote")
        acknowledge(between, items, "written after")
        acknowledge(changing, items, "by whoever could not")
        acknowledge(before, items, "by the other")
        for vault in (opened(place), before, between, changing):
            assert items == found(vault), at
            vault.close()
        at += 1
    assert at > 2


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("change", CHANGES)
def test_change_that_ended_is_made_again_while_others_write(
    tmp_path: Path, change: str, ends: Callable[[Callable[[Step], object], int], bool]
) -> None:
    """By the same object, which goes on with the header that is there; no write is lost."""
    at, ended = 0, True
    while ended:
        place = tmp_path / str(at)
        items = prepared(place)
        changing = opened(place)
        assert items == found(changing)

        def make(step: Step, vault: Vault = changing, place: Path = place) -> object:
            return CHANGES[change](vault, place, step)

        ended = ends(make, at)
        between = opened(place)
        assert items == found(between)
        count = 0

        def write(name: str, vault: Vault = between, items: dict[str, str] = items) -> None:
            nonlocal count
            if name not in ("header", "state"):  # there nobody else gets the lock
                acknowledge(vault, items, f"written at step {count}")
                count += 1

        def again(vault: Vault = changing, place: Path = place) -> None:
            try:
                CHANGES[change](vault, place, write)
            except (UnsupportedOption, StopIteration):
                pass  # made already: the key is there, or gone

        again()
        acknowledge(between, items, "written after")
        for vault in (opened(place), between, changing):
            assert items == found(vault), at
            vault.close()
        at += 1
    assert at > 2


class Crash(BaseException):
    """What a step raises instead of a power failure."""


def begin_root(place: Path) -> None:
    """Another process begins to replace the root key, and dies before it moved an item."""

    def dies(name: str) -> None:
        if name == "batch":
            raise Crash

    vault = opened(place)
    with pytest.raises(Crash):
        rekey(vault, call, root=True, step=dies)
    vault.close()


@pytest.mark.parametrize("change", ["dek", "root", "out", "replace"])
def test_rekey_meets_another_one_at_any_step(tmp_path: Path, change: str) -> None:
    """Neither ends what the other began: no item is out of reach, and the next rekey finishes."""
    at, conflicts, met = 0, 0, True
    while met:
        place = tmp_path / str(at)
        items = prepared(place)
        left, met = at, False

        def meets(name: str, place: Path = place) -> None:
            nonlocal left, met
            if name in ("header", "state"):  # there nobody else gets the lock
                return
            if left == 0:
                met = True
                vault = opened(place)
                rekey(vault, call)
                vault.close()
                begin_root(place)
            left -= 1

        vault = opened(place)
        try:
            CHANGES[change](vault, place, meets)
        except WriteConflict:
            conflicts += 1
        for each in (vault, opened(place)):
            assert items == found(each), at
        report = rekey(vault, call)
        assert (3, 0) == (report.items, report.damaged)
        for each in (vault, opened(place)):
            assert items == found(each), at
            header = each.header()
            assert header is not None
            assert (1, b"", False) == (
                len(header.wrapped_keys), header.previous_root, header.is_rekeying,
            )  # fmt: skip
            each.close()
        at += 1
    assert at > 4
    assert conflicts == (2 if change == "replace" else 0)


def test_root_key_is_not_replaced_while_somebody_else_is_at_it(tmp_path: Path) -> None:
    """Items lie at places of at most two root keys; nothing changed, and trying again helps."""
    place = tmp_path / "place"
    items = prepared(place)

    def ask() -> str:
        if not begun:
            begun.append(1)
            begin_root(place)
        return "correct horse"

    begun: list[int] = []
    vault = Vault(str(place / "vault"), (key_file(place), Passphrase(ask, passphrase().profile)))
    with pytest.raises(WriteConflict):
        rekey(vault, call, root=True)
    assert items == found(opened(place))
    assert 3 == rekey(vault, call, root=True).items
    assert items == found(opened(place))


def swapped(place: Path) -> tuple[Path, bytes]:
    """Moves the vault as a person would, who knows no lock, and makes the next one there."""
    moved = place / "moved"
    os.rename(place / "vault", moved)
    open_store(place, key_file(place, "next")).write(item("a"), Secret("next"), call())
    return moved, (place / "vault" / "header").read_bytes()


def following(_connection: Connection, keys: Keys) -> tuple[Header, Secret]:
    return keys.header.following(slots=keys.header.slots), keys.root


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("at", ["before", "after"])
def test_a_header_is_written_where_its_database_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Moved before the directory was looked at: an error. Moved since: it goes there with it."""
    open_store(tmp_path).write(item("a"), Secret("1"), call())
    vault, found = open_vault(tmp_path), []
    replace = os.replace

    def step(name: str) -> None:
        if name == "header" and at == "before":
            found.append(swapped(tmp_path))

    def replaced(old: str, new: str, **options: int) -> None:
        monkeypatch.undo()
        found.append(swapped(tmp_path))
        replace(old, new, **options)

    if at == "after":
        monkeypatch.setattr(os, "replace", replaced)
        vault.change_header(call(), following, step)
    else:
        with pytest.raises(StoreUnavailable, match="moved or replaced meanwhile"):
            vault.change_header(call(), following, step)
    ((moved, header),) = found
    assert header == (tmp_path / "vault" / "header").read_bytes()
    assert "next" == value(open_store(tmp_path, key_file(tmp_path, "next")), "a")
    vault.close()
    (tmp_path / "elsewhere").mkdir()
    os.rename(moved, tmp_path / "elsewhere" / "vault")
    os.rename(tmp_path / "key", tmp_path / "elsewhere" / "key")
    assert "1" == value(open_store(tmp_path / "elsewhere"), "a")
