"""A vault whose key lies in a real keyring: locked, unlocked, frozen, reset."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.shell import Shell
from support.desktop import clear, gnome_desktop
from support.gnome_keyring import GnomeKeyring
from support.tpm import call, keys
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.backends.store_item import StoreItemKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import SecretInvalidated, StoreLocked, StoreTimeout
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.store import Protection
from vault.places import item, passphrase

pytestmark = pytest.mark.requires("gnome-keyring")


@pytest.fixture
def desktop() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as keyring:
        yield keyring


def in_keyring() -> StoreItemKey:
    """What another process would make: its own connection."""
    return StoreItemKey(SecretServiceStore())


def test_vault_is_as_open_as_the_keyring(desktop: GnomeKeyring, tmp_path: Path) -> None:
    """Locked is temporary and nothing else; unlocked, the vault opens again; large values too."""
    place = tmp_path / "vault"
    store = VaultStore(VaultOptions(place, in_keyring()))
    store.write(item("a"), Secret(bytes(1_000_000)), call())
    assert Protection.LOGIN is store.facts.protection
    assert store.facts.readable_when_locked is False
    store.close()
    desktop.lock()
    with pytest.raises(StoreLocked) as caught:
        VaultStore(VaultOptions(place, in_keyring())).read(item("a"), call())
    assert caught.value.is_temporary
    desktop.unlock()
    found = VaultStore(VaultOptions(place, in_keyring())).read(item("a"), call())
    assert Secret(bytes(1_000_000)) == found


def test_frozen_keyring_ends_with_the_deadline(desktop: GnomeKeyring, tmp_path: Path) -> None:
    """Opening takes no longer than the call allows, and the next key is tried by the next call."""
    place = tmp_path / "vault"
    both = keys(in_keyring(), passphrase())
    VaultStore(VaultOptions(place, both)).write(item("a"), Secret("kept"), call())
    desktop.freeze()
    started = time.monotonic()
    with pytest.raises(StoreTimeout):
        VaultStore(VaultOptions(place, in_keyring())).read(item("a"), Call(0.5))
    assert time.monotonic() - started < 5
    desktop.thaw()
    other = VaultStore(VaultOptions(place, passphrase())).read(item("a"), call())
    again = VaultStore(VaultOptions(place, in_keyring())).read(item("a"), call())
    assert [Secret("kept"), Secret("kept")] == [other, again]


def test_keyring_that_was_reset_has_no_key(desktop: GnomeKeyring, tmp_path: Path) -> None:
    """Gone for good; the vault is kept, and no key is made in the place of the lost one."""
    place = tmp_path / "vault"
    both = keys(in_keyring(), passphrase())
    VaultStore(VaultOptions(place, both)).write(item("a"), Secret("kept"), call())
    clear(desktop.bus)
    with pytest.raises(SecretInvalidated) as caught:
        VaultStore(VaultOptions(place, in_keyring())).read(item("a"), call())
    assert "add-key --store-item secret-service" in str(caught.value.hint)
    assert Secret("kept") == VaultStore(VaultOptions(place, both)).read(item("a"), call())


@pytest.mark.requires("shell")
def test_command_line_finds_the_key_by_itself(desktop: GnomeKeyring, shell: Shell) -> None:
    """`get` reads in the vault where its key is; locked is exit 4, and the vault stays."""
    shell.variables["TOKENKEEP_APP"] = "org.example.notes"
    shell.plays("""
        $ tokenkeep vault create --store-item secret-service 2> /dev/null
        ~/.local/share/tokenkeep/vault
        $ printf v | tokenkeep set name && tokenkeep get name; echo
        v
        $ tokenkeep doctor 2> /dev/null | grep ^protection
        protection: login
    """)
    clear(desktop.bus)
    shell.plays("""
        $ tokenkeep get name
        error: the vault's key is not in the secret-service of this machine and user
        hint: open the vault with another of its keys, then: tokenkeep vault add-key --store-item secret-service; ...
        [7]
        $ tokenkeep doctor 2> hints | grep -e ^state -e ^problem; grep -c 'storage.reset()' hints
        state: invalidated
        problem: the vault's key is not in the secret-service of this machine and user
        1
        $ tokenkeep vault reset --yes 2> /dev/null
        ~/.local/share/tokenkeep/vault.set-aside-...
    """)  # noqa: E501


@pytest.fixture
def shell(home: Path) -> Shell:
    return Shell(home)
