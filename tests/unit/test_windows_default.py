"""What is chosen on Windows where nobody says: the vault, which DPAPI opens."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.fake_dpapi import FakeDpapi
from tokenkeep import config
from tokenkeep.backends.dpapi import DpapiKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import StoreUnavailable
from tokenkeep.native import dpapi
from tokenkeep.select import candidates, open_store
from tokenkeep.vault.key_file import KeyFile


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> FakeDpapi:
    fake = FakeDpapi()
    monkeypatch.setattr(dpapi, "Crypt32", fake)
    monkeypatch.setattr(sys, "platform", "win32")
    return fake


def test_vault_opens_by_dpapi_unless_told(on_windows: FakeDpapi, tmp_path: Path) -> None:
    """A named key is the only one; no key file is ever looked for."""
    assert (DpapiKey(),) == VaultOptions(tmp_path / "vault").keys
    assert (KeyFile("k"),) == VaultOptions(tmp_path / "vault", KeyFile("k")).keys


@pytest.mark.requires("key-file default")
def test_elsewhere_a_key_file_opens_it(tmp_path: Path) -> None:
    """Linux is as it was."""
    assert (KeyFile(str(tmp_path / "vault.key")),) == VaultOptions(tmp_path / "vault").keys


def test_store_of_windows_is_the_vault(on_windows: FakeDpapi) -> None:
    """Nothing asked for: the vault takes part, may make itself, and says why."""
    usable = {each.name: each.reason for each in candidates(()) if each.usable}
    assert {"vault": "the platform's own"} == usable
    assert isinstance(open_store(()), VaultStore)


@pytest.mark.requires("key-file default")
def test_vault_takes_part_elsewhere_only_when_asked_for() -> None:
    """On this system the vault is no default."""
    (vault,) = [each for each in candidates(()) if each.name == "vault"]
    assert not vault.usable


def test_configured_vault_has_the_same_key(on_windows: FakeDpapi) -> None:
    """What the command line opens is what the application made, with or without `vault create`."""
    for store in ("auto", "vault"):
        assert (DpapiKey(),) == config.vault_options(config.Config(store=store)).keys
    named = config.Config(store="vault", key_file="/k")
    assert (KeyFile("/k"),) == config.vault_options(named).keys


@pytest.mark.requires("key-file default")
def test_no_vault_is_chosen_elsewhere() -> None:
    """Where the platform's own store is something else, a vault's verbs need a choice."""
    with pytest.raises(StoreUnavailable):
        config.vault_options(config.Config())
