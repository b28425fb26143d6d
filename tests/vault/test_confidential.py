"""What a copied vault tells whoever has no key."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tokenkeep import KeyFile, SecureStorage, VaultOptions, fields
from tokenkeep.errors import VaultDamaged, VaultKeyMissing
from tokenkeep.secret import Secret
from tokenkeep.vault.envelope import HEAD_BYTES, subject
from vault.places import all_bytes, call, fill, item, open_store, open_vault

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


@pytest.mark.parametrize(("event", "first", "then"), [("INSERT", "b", "c"), ("UPDATE", "c", "b")])
def test_a_trigger_in_the_database_is_told_no_value(
    tmp_path: Path, event: str, first: str, then: str
) -> None:
    """Whoever can change the files, and guesses a name, does not make a writer decrypt for them."""
    fill(tmp_path)
    header = open_vault(tmp_path).header()
    assert header is not None
    about = fields.join(
        b"tokenkeep envelope", header.vault_id, header.current_key, b"value", subject(item("a")),
        b"\x01",
    )  # fmt: skip
    opened = f"decrypt(substr(envelope, {HEAD_BYTES} + 1, 12), substr(envelope, {HEAD_BYTES} + 13),"
    with closing(sqlite3.connect(tmp_path / "vault" / "vault.db", isolation_level=None)) as known:
        known.execute("CREATE TABLE stash (text BLOB)")
        known.execute(
            f"CREATE TRIGGER told AFTER {event} ON item BEGIN INSERT INTO stash SELECT {opened}"
            f" x'{about.hex()}') FROM item WHERE length(envelope) = 44 LIMIT 1; END"
        )
    store = open_store(tmp_path)
    store.write(item(first), Secret("of another length"), call())
    with pytest.raises(VaultDamaged):
        store.write(item(then), Secret("of another length"), call())
    store.close()
    with closing(sqlite3.connect(tmp_path / "vault" / "vault.db")) as known:
        assert [] == known.execute("SELECT * FROM stash").fetchall()
    assert b"value a" not in all_bytes(tmp_path)
