"""What is kept to open a vault for a while, on any store, under any clock."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from contract.places import CHEAP
from tokenkeep import unlocked_vault
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    TokenkeepError,
    UnsupportedOption,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.testing.clock import FakeClock
from tokenkeep.testing.faulty import Fails, FaultyStore
from tokenkeep.unlocked_vault import SERVICE, UnlockedVault, lock, unlock_for, unlocked
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.vault import Vault

ONE = ItemName("org.example", "one")
ASKS = Passphrase(lambda: "never asked", prompts=True)


class Failing:
    """A place that is there, and cannot be opened."""

    def __init__(self, error: type[StoreError]) -> None:
        self.error = error


def found(*each: object) -> tuple[object, ...]:
    """What looks for each of these, in this order; None is no place."""

    def finding(what: object) -> object:
        def find(_seconds: int | None) -> object:
            if isinstance(what, Failing):
                raise what.error("it does not answer")
            return what

        return find

    return tuple(finding(what) for what in each)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def place() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    path, key = str(tmp_path / "vault"), Passphrase("correct horse", profile=CHEAP)
    store = VaultStore(VaultOptions(path, key))
    store.write(ONE, Secret("v"), Call())
    store.close()
    return Vault(path, (key,), False)


def reads(vault: Vault, place: MemoryStore, clock: FakeClock) -> object:
    """What a program that may not ask reads in the vault: the value, or the error's code."""
    keys = (UnlockedVault(place, clock), ASKS)
    try:
        value = VaultStore(VaultOptions(vault.path, keys, create=False)).read(ONE, Call())
    except TokenkeepError as exc:
        return exc.code
    return None if value is None else value.reveal()


def identity(vault: Vault) -> bytes:
    header = vault.header()
    assert header is not None
    return header.vault_id


def test_it_opens_until_its_time_is_over(
    vault: Vault, place: MemoryStore, clock: FakeClock
) -> None:
    """To the second, by the value's own end: this store forgets nothing by itself."""
    assert "interaction-denied" == reads(vault, place, clock)
    done = unlock_for(vault, 60, Call(), place, clock)
    assert (clock.wall() + 60, "memory") == (done.until, done.store)
    assert "v" == reads(vault, place, clock)
    clock.advance(59)
    assert "v" == reads(vault, place, clock)
    clock.advance(1)
    assert "interaction-denied" == reads(vault, place, clock)
    assert unlocked(identity(vault), Call(), place, clock) is None


def test_clock_that_was_set_back_does_not_lengthen_the_time(
    vault: Vault, place: MemoryStore, clock: FakeClock
) -> None:
    """Before it was unlocked it was locked."""
    unlock_for(vault, 60, Call(), place, clock)
    clock.jump_wall(-3600)
    assert "interaction-denied" == reads(vault, place, clock)


def test_clock_set_back_within_the_time_does_not_lengthen_it_either(
    vault: Vault, place: MemoryStore, clock: FakeClock
) -> None:
    """A minute is over after a minute, whatever the wall clock says."""
    unlock_for(vault, 60, Call(), place, clock)
    clock.advance(50)
    clock.jump_wall(-45)
    assert "v" == reads(vault, place, clock)
    clock.advance(10)
    assert "interaction-denied" == reads(vault, place, clock)


def test_reboot_ends_it(vault: Vault, place: MemoryStore, clock: FakeClock) -> None:
    """Also where the store outlives a reboot."""
    unlock_for(vault, 60, Call(), place, clock)
    clock.reboot()
    assert "interaction-denied" == reads(vault, place, clock)


def test_lock_takes_it_back(vault: Vault, place: MemoryStore, clock: FakeClock) -> None:
    """At once; a second time there is nothing to take back."""
    unlock_for(vault, 60, Call(), place, clock)
    assert lock(identity(vault), Call(), place) is True
    assert "interaction-denied" == reads(vault, place, clock)
    assert lock(identity(vault), Call(), place) is False


def test_lock_takes_it_back_wherever_it_was_kept(
    vault: Vault, place: MemoryStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlocked where there was no kernel keyring, locked where there is one."""
    unlock_for(vault, 60, Call(), place, clock)
    monkeypatch.setattr(unlocked_vault, "_PLACES", found(MemoryStore(), None, place))
    assert lock(identity(vault), Call())
    assert not lock(identity(vault), Call())
    assert "interaction-denied" == reads(vault, place, clock)


@pytest.mark.parametrize("error", [StoreTimeout, StoreLocked, AccessDenied, StoreUnavailable])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("when", ["looked for", "asked"])
def test_lock_says_so_where_it_could_not_look(
    vault: Vault,
    place: MemoryStore,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    error: type[StoreError],
    is_first: bool,
    when: str,
) -> None:
    """Never that it was not unlocked, nor that all is locked; the other places are tried first."""
    unlock_for(vault, 60, Call(), place, clock)
    failing = Failing(error) if when == "looked for" else FaultyStore(place, {1: Fails(error)})
    order = (failing, place) if is_first else (place, failing)
    monkeypatch.setattr(unlocked_vault, "_PLACES", found(*order))
    with pytest.raises(error):
        lock(identity(vault), Call())
    assert [] == place.names(SERVICE, Call())


@pytest.mark.requires("/proc")
def test_a_bus_that_never_answers_is_not_taken_for_locked(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the kernel's keys are forbidden, the other place has to say that there is nothing."""
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "bus"))
    silent.listen(8)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
    monkeypatch.setattr(unlocked_vault, "_PLACES", unlocked_vault._PLACES[1:])
    with silent, pytest.raises(StoreTimeout):
        lock(identity(vault), Call(5))


def test_neither_passphrase_nor_root_key_is_kept(
    vault: Vault, place: MemoryStore, clock: FakeClock
) -> None:
    """What lies in the store is what wraps the root key in one slot."""
    unlock_for(vault, 60, Call(), place, clock)
    (name,) = place.names(SERVICE, Call())
    kept = place.read(name, Call())
    assert kept is not None
    assert identity(vault).hex() == name.name
    assert b"correct horse" not in kept.reveal_bytes()
    _engine, keys = vault.opened(Call())
    assert keys.root.reveal_bytes() not in kept.reveal_bytes()


def test_it_is_no_proof_for_more_time(vault: Vault, place: MemoryStore, clock: FakeClock) -> None:
    """Unlocking again needs a key that opens the vault by itself."""
    unlock_for(vault, 60, Call(), place, clock)
    again = Vault(vault.path, (UnlockedVault(place, clock), ASKS), False)
    with pytest.raises(InteractionDenied):
        unlock_for(again, 600, Call(), place, clock)


@pytest.mark.parametrize("spoilt", [b"", b"x", b"\0" * 40], ids=["empty", "short", "zeros"])
def test_what_is_no_entry_is_passed_over(
    vault: Vault, place: MemoryStore, clock: FakeClock, spoilt: bytes
) -> None:
    """Somebody else's bytes open nothing, and are no error: the next key is tried."""
    unlock_for(vault, 60, Call(), place, clock)
    (name,) = place.names(SERVICE, Call())
    place.write(name, Secret(spoilt), Call())
    assert "interaction-denied" == reads(vault, place, clock)


def test_store_that_cannot_tell_is_passed_over(vault: Vault, clock: FakeClock) -> None:
    """A locked store is as if nobody had unlocked the vault: what can ask comes next."""
    inside = MemoryStore()
    unlock_for(vault, 60, Call(), inside, clock)
    fails = Fails(StoreLocked)
    locked = FaultyStore(inside, {"read": fails, "delete": fails})
    assert "interaction-denied" == reads(vault, locked, clock)  # type: ignore[arg-type]
    assert unlocked(identity(vault), Call(), locked, clock) is None
    with pytest.raises(StoreLocked):
        lock(identity(vault), Call(), locked)


def test_it_goes_on_while_the_items_are_rekeyed(
    vault: Vault, place: MemoryStore, clock: FakeClock
) -> None:
    """New keys for the items change no slot."""
    unlock_for(vault, 60, Call(), place, clock)
    rekey(vault, lambda: Call(30))
    assert "v" == reads(vault, place, clock)


def test_a_vault_that_is_not_there_cannot_be_unlocked(
    tmp_path: Path, place: MemoryStore, clock: FakeClock
) -> None:
    """Said before anything is asked."""
    with pytest.raises(StoreUnavailable, match="there is no vault"):
        unlock_for(Vault(str(tmp_path / "no"), (ASKS,), False), 60, Call(), place, clock)


def test_a_new_vault_gets_no_slot_for_it(tmp_path: Path, place: MemoryStore) -> None:
    """Beside a real key it makes none; alone it cannot make a vault."""
    key = Passphrase("correct horse", profile=CHEAP)
    store = VaultStore(VaultOptions(tmp_path / "vault", (UnlockedVault(place), key)))
    store.write(ONE, Secret("v"), Call())
    header = Vault(str(tmp_path / "vault"), (), False).header()
    assert header is not None
    assert ["passphrase"] == [slot.kind for slot in header.slots]
    alone = VaultStore(VaultOptions(tmp_path / "alone", UnlockedVault(place)))
    with pytest.raises(UnsupportedOption, match="no key of its own"):
        alone.write(ONE, Secret("v"), Call())
