"""What a copied vault tells whoever has no key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tokenkeep import KeyFile, SecureStorage, VaultOptions
from tokenkeep.errors import VaultKeyMissing

SERVICE = "org.example.confidential"


def test_a_copied_vault_shows_neither_values_nor_names(tmp_path: Path) -> None:
    """No file has a value, a name or a service in clear, and nothing opens without the key."""
    vault = tmp_path / "vault"
    with SecureStorage(SERVICE, VaultOptions(vault, KeyFile(tmp_path / "key"))) as storage:
        for number in range(50):
            storage.write(f"very telling name {number}", f"very secret value {number}")
    copy = tmp_path / "copy"
    shutil.copytree(vault, copy)
    everything = b"".join(path.read_bytes() for path in copy.iterdir())
    assert len(everything) > 50 * 20
    for clear in (b"telling", b"secret value", b"example", b"confidential"):
        assert clear not in everything
    stranger = SecureStorage(SERVICE, VaultOptions(copy, KeyFile(tmp_path / "other"), create=False))
    with pytest.raises(VaultKeyMissing):
        stranger.read("very telling name 1")
