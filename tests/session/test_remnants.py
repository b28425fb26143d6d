"""After a sign-out, what was encrypted is not in the vault's files either."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tokenkeep import KeyFile, Provider, SecureStorage, Session, TokenStorage, VaultOptions
from tokenkeep.testing.authorization_server import AuthorizationServer


def sealed_records(vault: Path) -> list[bytes]:
    connection = sqlite3.connect(vault / "vault.db")
    try:
        return [row[0] for row in connection.execute("SELECT envelope FROM item")]
    finally:
        connection.close()


def files_with(vault: Path, piece: bytes) -> list[str]:
    return [path.name for path in vault.iterdir() if piece in path.read_bytes()]


def test_a_sign_out_leaves_no_old_ciphertext(tmp_path: Path) -> None:
    """Neither the database, its log nor the header holds a piece of the erased record."""
    vault = tmp_path / "vault"
    storage = SecureStorage("org.example.notes", VaultOptions(vault, KeyFile(tmp_path / "key")))
    storage.write("kept", "x" * 300)
    (kept,) = sealed_records(vault)
    with AuthorizationServer() as server:
        session = Session(Provider(server.issuer, client_id="notes"), TokenStorage(storage))
        session.begin(server.login("notes"))
        (record,) = [sealed for sealed in sealed_records(vault) if sealed != kept]
        pieces = [record[at : at + 24] for at in range(40, len(record) - 24, 64)]
        assert all(files_with(vault, piece) for piece in pieces)
        assert "done" == session.logout().step("erase").outcome
    assert [] == [name for piece in pieces for name in files_with(vault, piece)]
    found = storage.read("kept")
    assert found is not None
    assert "x" * 300 == found.reveal()


def test_a_reader_that_holds_old_bytes_is_reported(tmp_path: Path) -> None:
    """While another connection reads, erasing is pending, and the next writer finishes it."""
    vault = tmp_path / "vault"
    storage = SecureStorage("org.example.notes", VaultOptions(vault, KeyFile(tmp_path / "key")))
    with AuthorizationServer() as server:
        session = Session(Provider(server.issuer, client_id="notes"), TokenStorage(storage))
        session.begin(server.login("notes"))
        reader = sqlite3.connect(vault / "vault.db", isolation_level=None)
        reader.execute("BEGIN")
        record = reader.execute("SELECT envelope FROM item").fetchone()[0]
        piece = record[40:64]
        report = session.logout()
        reader.close()
    assert "pending" == report.step("erase").outcome
    again = SecureStorage("org.example.notes", VaultOptions(vault, KeyFile(tmp_path / "key")))
    again.write("other", "y")
    assert [] == files_with(vault, piece)
