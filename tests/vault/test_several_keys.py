"""A vault with several keys of which none opens it now, each for another reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from support.tpm import keys
from tokenkeep import fields
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    MissingExtra,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    TokenkeepError,
    UnsupportedOption,
    VaultDamaged,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.vault.format import HEADER_MAGIC, Slot, header_fields, seal_file
from vault.places import SERVICE, call, item, key_file, passphrase

#: What may be over later, whatever else is wrong.
MAY_PASS: list[Callable[[str], TokenkeepError]] = [
    StoreLocked,
    StoreTimeout,
    AccessDenied,
    InteractionDenied,
    StoreUnavailable,
    UnsupportedOption,
    lambda text: MissingExtra(text, extra="tpm", hint="pip install"),
]
#: What nothing but another key or a backup mends.
IS_LOST: list[Callable[[str], TokenkeepError]] = [
    WrongKey,
    VaultKeyMissing,
    SecretDamaged,
    VaultDamaged,
    SecretInvalidated,
]


class PlatformKey:
    """A platform's key that opens its slot until it is told what to say instead."""

    protection = "HARDWARE"
    may_prompt = False

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.says: TokenkeepError | None = None
        self.is_another_one = False

    def remember(self, slot_id: bytes, vault_id: bytes, call: Call) -> dict[str, bytes]:
        return {}

    def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
        def kek(slot: Slot) -> Secret | None:
            if self.says is not None:
                raise self.says
            return Secret(b"\1" * 32 if self.is_another_one else b"\0" * 32)

        return kek


def two_keys() -> tuple[PlatformKey, PlatformKey]:
    return PlatformKey("one"), PlatformKey("other")


def filled(place: Path, *by: object) -> SecureStorage:
    """A storage whose vault has one item and a slot for each key; it is opened anew."""

    def store() -> VaultStore:
        return VaultStore(VaultOptions(place / "vault", by))  # type: ignore[arg-type]

    store().write(item("a"), Secret("kept"), call())
    return SecureStorage(SERVICE, store(), state_directory=str(place / "state"), timeout=None)


def said(storage: SecureStorage) -> TokenkeepError:
    with pytest.raises(TokenkeepError) as caught:
        storage.read("a")
    return caught.value


@pytest.mark.parametrize(("first", "second"), list(product(MAY_PASS + IS_LOST, repeat=2)))
def test_a_vault_is_lost_only_if_each_of_its_keys_is(
    tmp_path: Path,
    first: Callable[[str], TokenkeepError],
    second: Callable[[str], TokenkeepError],
) -> None:
    """In every pair: what may pass is what is said, and the vault stays; else it is set aside."""
    one, other = two_keys()
    storage = filled(tmp_path, one, other)
    one.says, other.says = first("one"), second("other")
    may_pass = [
        problem for problem, kind in ((one.says, first), (other.says, second)) if kind in MAY_PASS
    ]
    if may_pass:
        assert said(storage) in may_pass
        with pytest.raises(TokenkeepError) as caught:
            storage.reset()
        assert caught.value in may_pass
        one.says = other.says = None
        assert "kept" == storage.read("a").reveal()  # type: ignore[union-attr]
    else:
        assert isinstance(said(storage), StoreError)
        assert storage.reset().set_aside is not None


@pytest.mark.parametrize("second", MAY_PASS + IS_LOST)
def test_gone_for_good_is_said_only_of_all_keys(
    tmp_path: Path, second: Callable[[str], TokenkeepError]
) -> None:
    """`SecretInvalidated` ends a session: one key that may open the vault yet keeps it from that.

    A key that is there and does not fit counts too: the right one may be given.
    """
    one, other = two_keys()
    storage = filled(tmp_path, one, other)
    one.says, other.says = SecretInvalidated("one"), second("other")
    is_lost_too = isinstance(other.says, SecretInvalidated)
    assert is_lost_too == isinstance(said(storage), SecretInvalidated)
    other.says, other.is_another_one = None, True
    assert isinstance(said(storage), WrongKey)


@pytest.mark.parametrize("says", IS_LOST)
def test_mistyped_passphrase_beside_a_lost_key_is_no_loss(
    tmp_path: Path, says: Callable[[str], TokenkeepError]
) -> None:
    """The right passphrase opens the vault, whatever became of the other key."""
    one = PlatformKey("one")
    filled(tmp_path, one, passphrase())
    one.says = says("one")
    options = VaultOptions(tmp_path / "vault", keys(one, passphrase("mistyped")))
    storage = SecureStorage(SERVICE, VaultStore(options), state_directory=str(tmp_path / "state"))
    assert isinstance(said(storage), WrongKey)
    with pytest.raises(WrongKey):
        storage.reset()
    right = VaultStore(VaultOptions(tmp_path / "vault", keys(one, passphrase())))
    assert Secret("kept") == right.read(item("a"), call())


def test_key_that_opens_any_slot_tells_the_most_hopeful_reason(tmp_path: Path) -> None:
    """The command's key stands for those of all slots: the first one's reason is not the answer."""
    one, other = two_keys()
    filled(tmp_path, one, other)
    one.says, other.says = SecretInvalidated("one"), StoreUnavailable("other")

    class AnySlot(PlatformKey):
        def opener(self, vault_id: bytes, call: Call) -> Callable[[Slot], Secret | None]:
            by_kind = {key.kind: key.opener(vault_id, call) for key in (one, other)}
            return lambda slot: by_kind[slot.kind](slot)

    store = VaultStore(VaultOptions(tmp_path / "vault", AnySlot("*")))
    storage = SecureStorage(SERVICE, store, state_directory=str(tmp_path / "state"))
    assert other.says is said(storage)
    with pytest.raises(StoreUnavailable):
        storage.reset()
    other.says = SecretInvalidated("other")
    assert storage.reset().set_aside is not None


def test_slot_that_is_damaged_does_not_hide_a_key_that_may_open(tmp_path: Path) -> None:
    """A damaged slot tells nothing of the key of another one."""
    one, other = two_keys()
    storage = filled(tmp_path, one, other)
    spoil_slot(tmp_path / "vault" / "header", "one")
    other.says = StoreLocked("other")
    assert other.says is said(storage)
    with pytest.raises(StoreLocked):
        storage.reset()
    other.says = SecretInvalidated("other")
    assert storage.reset().set_aside is not None


def test_lost_key_file_beside_a_store_that_is_not_reachable(tmp_path: Path) -> None:
    """Both keys of the README's kind: the file is gone, and the platform's key may come back."""
    other = PlatformKey("other")
    filled(tmp_path, key_file(tmp_path), other)
    os.unlink(key_file(tmp_path).path)
    other.says = StoreUnavailable("the keyring is not running")
    options = VaultOptions(tmp_path / "vault", keys(key_file(tmp_path), other))
    storage = SecureStorage(SERVICE, VaultStore(options), state_directory=str(tmp_path / "state"))
    assert other.says is said(storage)
    with pytest.raises(StoreUnavailable):
        storage.reset()
    other.says = None
    assert "kept" == storage.read("a").reveal()  # type: ignore[union-attr]


def spoil_slot(header: Path, kind: str) -> None:
    """Changes a byte of one slot, and makes the header's own checksum right again."""
    found = header_fields(header.read_bytes())
    slots = fields.unpack(found["slots"])
    for slot_id, blob in slots.items():
        if Slot.decode(bytes.fromhex(slot_id), blob).kind == kind:
            slots[slot_id] = blob[:-1] + bytes([blob[-1] ^ 1])
    header.write_bytes(seal_file(HEADER_MAGIC, {**found, "slots": fields.pack(slots)}))
