"""Old bytes that could not be erased at once: who erases them later, and what that may cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tokenkeep.backends.vault import VaultStore
from tokenkeep.clock import SystemClock
from tokenkeep.errors import StoreTimeout
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.check import check
from tokenkeep.vault.rekey import rekey
from vault.places import (
    SERVICE,
    all_bytes,
    call,
    item,
    open_store,
    open_vault,
    owed,
    reader_elsewhere,
)

OTHER = ItemName("org.example.other", "kept")


class HurryingClock(SystemClock):
    """Time that passes by being looked at: a second each."""

    def __init__(self) -> None:
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return float(self.looks)


def sealed(store: VaultStore, name: ItemName) -> bytes:
    """What the vault's files must not have any more once the item is erased."""
    engine, keys = store._vault.opened(call())
    place = keys.finder.place(name.service, b"")[0][:8]
    (found,) = engine.row(
        call(), "SELECT envelope FROM item WHERE substr(place_a, 1, 8) = ?", (place,)
    )
    assert isinstance(found, bytes)
    return found[21:]


WRITES: dict[str, Callable[[VaultStore], object]] = {
    "overwrite": lambda store: store.write(OTHER, Secret("3"), call()),
    "new item": lambda store: store.write(item("new"), Secret("1"), call()),
    "delete": lambda store: store.delete(OTHER, call()),
    "replace": lambda store: store.replace(OTHER, Secret("2"), Secret("3"), call()),
    "another service": lambda store: store.erase(OTHER.service, call()),
    "rekey": lambda store: rekey(store._vault, call),
}


@pytest.mark.parametrize("whose", ["its own", "another's"])
@pytest.mark.parametrize("write", WRITES)
def test_next_writer_finishes_what_a_reader_held_up(tmp_path: Path, write: str, whose: str) -> None:
    """Whoever that is and whatever it writes, with the vault open all along."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret("x" * 300), call())
    for text in ("1", "2"):
        store.write(OTHER, Secret(text), call())
    old = sealed(store, item("a"))
    erasing = store if whose == "its own" else open_store(tmp_path)
    with reader_elsewhere(tmp_path):
        assert erasing.erase(SERVICE, call())
    if erasing is not store:
        erasing.close()
    assert owed(store)
    assert old in all_bytes(tmp_path)
    WRITES[write](store)
    assert not owed(store)
    assert old not in all_bytes(tmp_path)
    store.close()


def test_reading_finishes_nothing(tmp_path: Path) -> None:
    """Reading changes nothing, in a vault that was just opened no more than in another."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret("1"), call())
    with reader_elsewhere(tmp_path):
        assert store.erase(SERVICE, call())
    store.close()
    for again in (store, open_store(tmp_path)):
        assert [] == again.names(SERVICE, call())
        assert again.read(item("a"), call()) is None
        assert owed(again)


def test_writers_go_on_while_a_reader_holds_it_up(tmp_path: Path) -> None:
    """Each of them tries, which costs it neither a copy of the vault in its log nor an error."""
    store = open_store(tmp_path)
    for number in range(20):
        store.write(item(f"n{number}"), Secret("x" * 40_000), call())
    store.write(OTHER, Secret("1"), call())
    assert not store.shred(call())
    size = (tmp_path / "vault" / "vault.db").stat().st_size
    with reader_elsewhere(tmp_path):
        assert store.erase("org.example.none", call())
        before = (tmp_path / "vault" / "vault.db-wal").stat().st_size
        for number in range(10):
            store.write(OTHER, Secret(str(number)), call())
        grown = (tmp_path / "vault" / "vault.db-wal").stat().st_size - before
        assert size > 800_000
        assert grown < size / 2
        assert owed(store)
    store.write(OTHER, Secret("last"), call())
    assert not owed(store)
    store.close()


def test_rewriting_ends_with_its_call(tmp_path: Path) -> None:
    """The items are erased, their bytes not yet; a writer with the time for it finishes."""
    store = open_store(tmp_path)
    for number in range(300):
        store.write(item(f"n{number}"), Secret("x"), call())
    store.write(OTHER, Secret("1"), call())
    old = sealed(store, OTHER)
    clock = HurryingClock()
    assert store.erase(OTHER.service, Call(60.0, clock=clock))
    assert clock.looks < 90
    assert store.read(OTHER, call()) is None
    assert owed(store)
    assert not store.shred(Call(60_000.0, clock=HurryingClock()))
    assert old not in all_bytes(tmp_path)
    store.close()


def test_writer_that_had_not_the_time_leaves_it_to_later_ones(tmp_path: Path) -> None:
    """Not every write pays for a try that fails; the next minute's does."""
    store = open_store(tmp_path)
    for number in range(300):
        store.write(item(f"n{number}"), Secret("x"), call())
    assert store.erase(OTHER.service, Call(60.0, clock=HurryingClock()))
    clock = HurryingClock()
    store.write(item("n0"), Secret("1"), Call(30.0, clock=clock))
    tried = clock.looks
    store.write(item("n1"), Secret("1"), Call(30.0, clock=clock))
    assert clock.looks - tried < 10 < tried
    assert owed(store)
    clock.looks += 60
    store.write(item("n2"), Secret("1"), Call(60_000.0, clock=clock))
    assert not owed(store)
    store.close()


def test_check_ends_with_its_call(tmp_path: Path) -> None:
    """A walk over all pages that takes too long says so, and is no finding."""
    store = open_store(tmp_path)
    for number in range(300):
        store.write(item(f"n{number}"), Secret("x"), call())
    store.close()
    vault = open_vault(tmp_path)
    with pytest.raises(StoreTimeout):
        check(vault, lambda: Call(20.0, clock=HurryingClock()))
    assert check(vault, lambda: Call(60_000.0, clock=HurryingClock())).is_well
    vault.close()
