"""DPAPI as Windows' Python has it, and the vault that it opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenkeep.backends.dpapi import DpapiKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import SecretDamaged, StoreError
from tokenkeep.item import Call, ItemName
from tokenkeep.native import dpapi
from tokenkeep.secret import Secret
from tokenkeep.store import Protection
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.vault import Vault

ITEM = ItemName("org.example.notes", "a")


def call() -> Call:
    return Call(10.0)


@pytest.mark.parametrize("size", [1, 32, 100_000])
def test_what_is_sealed_opens_and_hides_the_secret(size: int) -> None:
    """Bytes come back as they were, and do not stand in what is kept."""
    secret = Secret(bytes(range(256)) * (size // 256) + bytes(range(size % 256)))
    sealed = dpapi.protect(secret, b"here")
    assert secret == dpapi.unprotect(sealed, b"here")
    assert size < 32 or secret.reveal_bytes() not in sealed


@pytest.mark.parametrize("entropy", [None, b"", b"elsewhere"])
def test_other_entropy_does_not_open(entropy: bytes | None) -> None:
    """What was sealed for one slot is of no use in another."""
    with pytest.raises(SecretDamaged):
        dpapi.unprotect(dpapi.protect(Secret("kept"), b"here"), entropy)


@pytest.mark.parametrize("change", ["cut", "flipped", "replaced"])
def test_damaged_bytes_are_damaged(change: str) -> None:
    """An error of ours, whatever happened to them."""
    sealed = dpapi.protect(Secret("kept"))
    flipped = bytearray(sealed)
    flipped[-5] ^= 1
    damaged = {"cut": sealed[:40], "flipped": bytes(flipped), "replaced": b"garbage"}[change]
    with pytest.raises(SecretDamaged) as caught:
        dpapi.unprotect(damaged)
    assert "ERROR_INVALID_DATA" in str(caught.value)


def test_vault_opens_with_nothing_but_the_user(tmp_path: Path) -> None:
    """No file, no passphrase; and honestly called what it is, also after a new root key."""
    options = VaultOptions(tmp_path / "vault", DpapiKey())
    store = VaultStore(options)
    store.write(ITEM, Secret("kept"), call())
    assert Protection.LOGIN is store.facts.protection
    assert Secret("kept") == VaultStore(options).read(ITEM, call())
    rekey(Vault(str(tmp_path / "vault"), (DpapiKey(),)), call, root=True)
    assert Secret("kept") == VaultStore(options).read(ITEM, call())


def test_vault_of_windows_is_opened_by_dpapi_unless_told(tmp_path: Path) -> None:
    """No key file appears beside it, or anywhere."""
    store = VaultStore(VaultOptions(tmp_path / "vault"))
    store.write(ITEM, Secret("kept"), call())
    assert ["vault"] == [each.name for each in tmp_path.iterdir()]
    assert ["dpapi"] == [slot.kind for slot in Vault(str(tmp_path / "vault"), ()).header().slots]


def test_sealed_key_of_another_vault_does_not_open(tmp_path: Path) -> None:
    """A vault's identity is part of what its slots are sealed with."""
    key = DpapiKey()
    kept = key.remember(b"slot", b"vault", call())
    with pytest.raises(StoreError):
        dpapi.unprotect(next(iter(kept.values())), b"other" + b"slot")
