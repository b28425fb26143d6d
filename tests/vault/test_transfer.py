"""Export and import: everything but sessions, under a passphrase, all or nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from support.children import in_child
from tokenkeep.database_item import KEY_BYTES, SALT_BYTES, packed
from tokenkeep.errors import (
    NotAVault,
    SecretDamaged,
    StoreError,
    UnsupportedOption,
    VaultDamaged,
    WriteConflict,
    WrongKey,
)
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import transfer
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import open_file, seal_file
from tokenkeep.vault.quarantine import entries
from tokenkeep.vault.transfer import EXPORT_MAGIC
from tokenkeep.vault.vault import Vault
from vault.places import SERVICE, call, item, open_store, passphrase, record, value


def spoil_item(vault: Vault, name: str) -> None:
    """Damages an item's value."""

    def spoil(connection, keys):  # type: ignore[no-untyped-def]
        number = keys.finder.place(SERVICE, subject(item(name)))[0]
        connection.execute("UPDATE item SET envelope = zeroblob(60) WHERE place_a = ?", (number,))

    vault.transaction(call(), spoil)


def vault_at(place: Path) -> Vault:
    from vault.places import key_file

    return Vault(str(place / "vault"), (key_file(place),), create=True)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export of three items of two services, beside a session record."""
    place = tmp_path / "source"
    place.mkdir()
    store = open_store(place)
    store.write(item("a"), Secret("one"), call())
    store.write(item("b"), Secret(b"\xff\x00"), call())
    store.write(ItemName("org.example.other", "a"), Secret(""), call())
    store.write(record("alice"), Secret("refresh token"), call())
    path = tmp_path / "items.export"
    report = transfer.export(vault_at(place), str(path), passphrase(), call)
    assert 3 == len(report.items)
    return path


def test_items_arrive_and_sessions_do_not(tmp_path: Path, export: Path) -> None:
    """Values, empty and binary ones too, under the same names and services."""
    report = transfer.import_items(vault_at(tmp_path), str(export), passphrase(), call())
    assert 3 == len(report.items)
    store = open_store(tmp_path)
    assert value(store, "a") == "one"
    found = store.read(item("b"), call())
    assert found is not None
    assert b"\xff\x00" == found.reveal_bytes()
    assert [item("a"), item("b")] == store.names(SERVICE, call())


@pytest.mark.requires("POSIX files")
def test_export_is_private(export: Path) -> None:
    """Nobody else can try passphrases on it."""
    assert 0o600 == stat.S_IMODE(export.stat().st_mode)


@pytest.mark.requires("fork")
def test_import_takes_the_memory_that_the_file_needs(tmp_path: Path, export: Path) -> None:
    """Not what the largest file would need, which a small machine does not have."""

    def import_with_little_memory() -> int:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        return len(
            transfer.import_items(vault_at(tmp_path), str(export), passphrase(), call()).items
        )

    assert 3 == in_child(import_with_little_memory)


def test_one_service_alone(tmp_path: Path, export: Path) -> None:
    """`service` limits what is exported."""
    path = tmp_path / "one.export"
    source = vault_at(tmp_path / "source")
    report = transfer.export(source, str(path), passphrase(), call, service=SERVICE)
    assert [item("a"), item("b")] == sorted(report.items)


def test_an_export_made_meanwhile_stays_as_it_is(tmp_path: Path, export: Path) -> None:
    """Of two into one file the second is told what one that came later is."""
    path = tmp_path / "two.export"

    def meanwhile(_done: int, _total: int) -> None:
        path.write_bytes(b"theirs")

    vault = vault_at(tmp_path / "source")
    for _try in range(2):
        with pytest.raises(UnsupportedOption, match="there is a file already"):
            transfer.export(vault, str(path), passphrase(), call, progress=meanwhile)
        assert b"theirs" == path.read_bytes()
    assert [] == list(tmp_path.glob("*.new"))
    vault.close()


def test_a_service_without_items_makes_no_file(tmp_path: Path, export: Path) -> None:
    """Most likely its name is mistyped: whoever moves house with nothing has to notice."""
    vault = vault_at(tmp_path / "source")
    report = transfer.export(
        vault, str(tmp_path / "none"), passphrase(), call, service="org.example.note"
    )
    assert ([], [], 0) == (report.items, report.skipped, report.unnamed)
    assert not (tmp_path / "none").exists()
    vault.close()


def test_existing_items_fail_skip_or_are_replaced(tmp_path: Path, export: Path) -> None:
    """Failing changes nothing at all."""
    store = open_store(tmp_path)
    store.write(item("b"), Secret("mine"), call())
    vault = vault_at(tmp_path)
    with pytest.raises(WriteConflict):
        transfer.import_items(vault, str(export), passphrase(), call())
    assert value(store, "a") is None
    report = transfer.import_items(vault, str(export), passphrase(), call(), existing=transfer.SKIP)
    assert [item("b")] == report.skipped
    assert (value(store, "a"), value(store, "b")) == ("one", "mine")
    transfer.import_items(vault, str(export), passphrase(), call(), existing=transfer.REPLACE)
    found = store.read(item("b"), call())
    assert found is not None
    assert b"\xff\x00" == found.reveal_bytes()
    with pytest.raises(UnsupportedOption):
        transfer.import_items(vault, str(export), passphrase(), call(), existing="maybe")


def test_the_key_of_a_database_is_never_replaced(tmp_path: Path, export: Path) -> None:
    """Without it the database never opens again; the very same key is no reason to fail."""
    store, vault = open_store(tmp_path), vault_at(tmp_path)
    key = packed(Secret(bytes(KEY_BYTES)), bytes(SALT_BYTES), "/notes.db")
    store.write(item("b"), key, call())
    with pytest.raises(WriteConflict, match="key of a database"):
        transfer.import_items(vault, str(export), passphrase(), call(), existing=transfer.REPLACE)
    assert (None, key) == (value(store, "a"), store.read(item("b"), call()))
    same = str(tmp_path / "same.export")
    transfer.export(vault, same, passphrase(), call)
    report = transfer.import_items(vault, same, passphrase(), call(), existing=transfer.REPLACE)
    assert [item("b")] == report.items
    assert key == store.read(item("b"), call())


def test_what_does_not_open_is_replaced_and_kept_in_quarantine(
    tmp_path: Path, export: Path
) -> None:
    """Whether it was a database's key nobody can tell any more, and nothing of it is lost."""
    store, vault = open_store(tmp_path), vault_at(tmp_path)
    store.write(item("a"), Secret("mine"), call())
    spoil_item(vault, "a")
    transfer.import_items(vault, str(export), passphrase(), call(), existing=transfer.REPLACE)
    assert "one" == value(store, "a")
    assert 1 == len(entries(vault, call()))


def test_wrong_passphrase_foreign_file_and_existing_file(tmp_path: Path, export: Path) -> None:
    """Each has its own error."""
    vault = vault_at(tmp_path)
    with pytest.raises(WrongKey):
        transfer.import_items(vault, str(export), passphrase("wrong"), call())
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"hello")
    with pytest.raises(NotAVault):
        transfer.import_items(vault, str(foreign), passphrase(), call())
    with pytest.raises(UnsupportedOption):
        transfer.export(vault_at(tmp_path / "source"), str(foreign), passphrase(), call)
    assert b"hello" == foreign.read_bytes()


@pytest.mark.requires("POSIX files")
def test_pipe_in_the_place_of_an_export_is_refused_at_once(tmp_path: Path) -> None:
    """Nobody may ever write into it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(StoreError) as caught:
            transfer.import_items(vault_at(tmp_path), str(path), passphrase(), call())
        assert caught.value.hint is not None


def test_every_flipped_or_missing_byte_is_noticed(tmp_path: Path, export: Path) -> None:
    """A damaged export brings nothing in: a typed error, and no item."""
    whole = export.read_bytes()
    bad = tmp_path / "bad"
    vault = vault_at(tmp_path)
    for at in range(len(whole)):
        for spoilt in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            bad.write_bytes(spoilt)
            with pytest.raises(SecretDamaged):
                transfer.import_items(vault, str(bad), passphrase(), call())
    assert not (tmp_path / "vault").exists()


def test_damaged_items_are_reported_not_exported(tmp_path: Path, export: Path) -> None:
    """The others are exported; the report names what is missing."""
    vault = vault_at(tmp_path / "source")
    spoil_item(vault, "a")
    report = transfer.export(vault, str(tmp_path / "two"), passphrase(), call)
    assert [item("a")] == report.skipped
    assert 2 == len(report.items)


def test_cut_off_before_the_end_record_is_damage(tmp_path: Path, export: Path) -> None:
    """An export without its last record is not taken for a shorter one."""
    whole = export.read_bytes()
    (tmp_path / "cut").write_bytes(whole[: -(4 + 12 + 8 + 16)])
    with pytest.raises(VaultDamaged):
        transfer.import_items(vault_at(tmp_path), str(tmp_path / "cut"), passphrase(), call())


@pytest.mark.parametrize(
    ("field", "given"),
    [("salt", b""), ("salt", bytes(7)), ("salt", bytes(17)), ("passes", bytes(4)),
     ("memory-kib", b"\xff" * 9)],
)  # fmt: skip
def test_wrong_field_behind_a_right_checksum_is_damage(
    tmp_path: Path, export: Path, field: str, given: bytes
) -> None:
    """Whoever wrote it: Argon2id is not asked for what it does not take."""
    start = len(EXPORT_MAGIC) + 4
    content = export.read_bytes()
    size = int.from_bytes(content[start - 4 : start], "big")
    known = open_file(EXPORT_MAGIC, content[start : start + size])
    assert known is not None
    header = seal_file(EXPORT_MAGIC, {**known, field: given})
    export.write_bytes(
        EXPORT_MAGIC + len(header).to_bytes(4, "big") + header + content[start + size :]
    )
    with pytest.raises(VaultDamaged):
        transfer.import_items(vault_at(tmp_path), str(export), passphrase(), call())
