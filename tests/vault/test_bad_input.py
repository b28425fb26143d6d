"""What can lie at a vault's path, or be wrong with a vault: a typed error, nothing lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import (
    NotAVault,
    SecretDamaged,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    TokenkeepError,
    UnsupportedOption,
    VaultDamaged,
)
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault import sqlite
from tokenkeep.vault.check import check
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.lockfile import LockFile
from tokenkeep.vault.passphrase import Passphrase
from vault.places import SERVICE, VERBS, call, fill, item, key_file, open_store, open_vault, value


def snapshot(path: Path) -> dict[str, bytes | None]:
    """Every file below a path with its content; links by their target."""
    if path.is_symlink() or path.is_file():
        return {"": os.readlink(path).encode() if path.is_symlink() else path.read_bytes()}
    return {name.name: name.read_bytes() for name in path.iterdir() if name.is_file()}


def a_file(path: Path) -> None:
    path.write_bytes(b"")


def a_text(path: Path) -> None:
    path.write_text("hello")


def a_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.close()


def a_folder(path: Path) -> None:
    path.mkdir(0o700)


def a_full_folder(path: Path) -> None:
    path.mkdir(0o700)
    (path / "notes.txt").write_text("mine")


def a_foreign_header(path: Path) -> None:
    path.mkdir(0o700)
    (path / "header").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (path / "header").chmod(0o600)


def a_link(path: Path) -> None:
    real = path.with_name("real")
    real.mkdir(0o700)
    path.symlink_to(real)


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_folder_that_others_may_read(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def a_full_folder_that_others_may_read(path: Path) -> None:
    a_full_folder(path)
    path.chmod(0o755)


@pytest.mark.parametrize(
    "make",
    [a_file, a_text, a_database, a_folder, a_full_folder, a_foreign_header, a_link,
     a_dangling_link, a_folder_that_others_may_read, a_full_folder_that_others_may_read],
)  # fmt: skip
@pytest.mark.requires("POSIX files")
def test_foreign_thing_is_never_adopted(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """`NotAVault` for every verb; the thing is left as it was and no key file is made."""
    path = tmp_path / "vault"
    make(path)
    before = snapshot(path)
    for verb in VERBS:
        with pytest.raises(NotAVault) as caught:
            verb(tmp_path)
        assert caught.value.code == "not-a-vault"
        assert "choose another path" == caught.value.hint
    assert before == snapshot(path)
    assert not (tmp_path / "key").exists()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def scribble(path: Path) -> None:
    path.write_bytes(b"scribble" * 4096)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("how", [empty, halve, scribble, remove])
@pytest.mark.parametrize("name", ["header", "vault.db"])
@pytest.mark.requires("POSIX files")
def test_damaged_file_is_a_typed_error(
    tmp_path: Path, name: str, how: Callable[[Path], None]
) -> None:
    """Reads, writes and erasures refuse, never "absent"; the backup put back reads again."""
    fill(tmp_path)
    vault = tmp_path / "vault"
    shutil.copytree(vault, tmp_path / "backup")
    for side in ("vault.db-wal", "vault.db-shm"):
        (vault / side).unlink(missing_ok=True)  # a damaged database with a good log heals
    how(vault / name)
    for verb in VERBS[:-1]:
        with pytest.raises((VaultDamaged, NotAVault, StoreUnavailable)) as caught:
            verb(tmp_path)
        assert caught.value.hint
    report = check(open_vault(tmp_path), call)
    assert [name] == [finding.where for finding in report.findings]
    assert all(finding.error.hint for finding in report.findings)
    shutil.rmtree(vault)
    (tmp_path / "backup").rename(vault)
    assert value(open_store(tmp_path), "a") == "value a"


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def listening(path: Path) -> None:
    path.unlink()
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)  # a socket's path is short
    path.chmod(0o600)


@pytest.mark.parametrize("how", [folder, pipe, listening])
@pytest.mark.parametrize("name", ["vault/header", "vault/vault.db", "key"])
@pytest.mark.requires("POSIX files")
def test_what_is_no_file_is_a_typed_error(
    tmp_path: Path, name: str, how: Callable[[Path], None]
) -> None:
    """Nobody waits for the other end of it, and the hint says what to do; nothing is lost."""
    fill(tmp_path)
    path = tmp_path / name
    shutil.copy(path, tmp_path / "kept")
    how(path)
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path).write(item("a"), Secret("new"), call())
    assert caught.value.hint
    path.rmdir() if how is folder else path.unlink()
    (tmp_path / "kept").rename(path)
    assert value(open_store(tmp_path), "a") == "value a"


def test_emptied_database_costs_nothing_of_what_its_log_holds(tmp_path: Path) -> None:
    """SQLite would take the file for a new database and remove the log; looking removes nothing."""
    fill(tmp_path)
    vault = tmp_path / "vault"
    good = (vault / "vault.db").read_bytes()
    (vault / "vault.db").write_bytes(b"")
    before = snapshot(vault)
    for verb in VERBS[:-1]:
        with pytest.raises(VaultDamaged) as caught:
            verb(tmp_path)
        assert caught.value.hint
    assert not check(open_vault(tmp_path), call).is_well
    assert before == snapshot(vault)
    (vault / "vault.db").write_bytes(good)
    assert value(open_store(tmp_path), "a") == "value a"


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_path_that_can_be_none_is_an_option_that_cannot_be(path: str) -> None:
    """Nothing is looked for at such a path, neither a vault nor a key file."""
    for make in (lambda: VaultOptions(path), lambda: KeyFile(path)):
        with pytest.raises(UnsupportedOption) as caught:
            make()
        assert caught.value.hint


def test_empty_passphrase_protects_nothing_and_is_refused(tmp_path: Path) -> None:
    """A variable that is not set must not make a vault that anybody opens."""
    for source in ("", lambda: ""):
        with pytest.raises(UnsupportedOption, match="empty"):
            open_store(tmp_path, Passphrase(source)).write(item("a"), Secret("x"), call())
    assert [] == list(tmp_path.iterdir())


def test_missing_vault_never_costs_the_key_file_of_another(tmp_path: Path) -> None:
    """A path typed wrong must not lead to removing the key of the vault that is elsewhere."""
    fill(tmp_path)
    with pytest.raises(StoreUnavailable) as caught:
        VaultStore(VaultOptions(tmp_path / "wrong", key_file(tmp_path))).read(item("a"), call())
    assert "remove" not in (caught.value.hint or "")


def test_log_of_garbage_is_ignored_by_its_checksums(tmp_path: Path) -> None:
    """A torn write-ahead log costs what it held, not the database: nothing older is lost."""
    fill(tmp_path)
    store = open_store(tmp_path)
    store.erase("org.example.none", call())  # moves everything into the database
    store.close()
    (tmp_path / "vault" / "vault.db-wal").write_bytes(os.urandom(5000))
    (tmp_path / "vault" / "vault.db-shm").unlink(missing_ok=True)
    assert value(open_store(tmp_path), "a") == "value a"


def test_full_disk_is_store_full_and_loses_nothing(tmp_path: Path) -> None:
    """The database may not grow: the write fails whole, the old values stay, room heals."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret("value a"), call())
    vault = store._vault
    engine, _keys = vault.opened(call())
    writer = engine._writer
    assert writer is not None
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFull):
        store.write(item("b"), Secret("x" * 60_000), call())
    with pytest.raises(StoreFull):
        store.write(item("a"), Secret("x" * 60_000), call())
    assert (value(store, "a"), value(store, "b")) == ("value a", None)
    writer.execute("PRAGMA max_page_count = 1000000")
    store.write(item("b"), Secret("x" * 60_000), call())
    assert value(store, "b") == "x" * 60_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k,mode=700", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_really_full_disk_loses_nothing(small_disk: Path) -> None:
    """`StoreFull` when it is full; every acknowledged item is there; more room heals."""
    store = open_store(small_disk)
    kept, is_full = 0, False
    while not is_full and kept < 200:
        try:
            store.write(item(f"n{kept}"), Secret(f"value {kept} " * 300), call())
            kept += 1
        except StoreFull:
            is_full = True
    assert is_full
    for at in range(kept):
        assert value(store, f"n{at}") == f"value {at} " * 300
    assert value(store, f"n{kept}") is None
    store.close()
    store = open_store(small_disk)
    assert kept == len(store.names(SERVICE, call()))
    more = ["mount", "-o", "remount,size=4m", str(small_disk)]
    subprocess.run(more, check=True)
    store.write(item("more"), Secret("x"), call())
    assert kept + 1 == len(store.names(SERVICE, call()))
    store.close()


def test_deleting_on_a_full_disk_uses_the_logs_room(small_disk: Path) -> None:
    """A log full of rewritten pages is emptied to make room for what a deletion needs."""
    store = open_store(small_disk)
    for _ in range(60):
        store.write(item("a"), Secret("x" * 300), call())
    with open(small_disk / "ballast", "wb", buffering=0) as ballast, pytest.raises(OSError):  # noqa: PT012
        while True:
            ballast.write(bytes(1024))
    assert store.delete(item("a"), call())
    assert value(store, "a") is None
    store.close()


def test_locked_out_writer_times_out_and_readers_go_on(tmp_path: Path) -> None:
    """Somebody holds the vault's lock: `StoreTimeout` at the deadline; reading needs no lock."""
    fill(tmp_path)
    lock = LockFile(str(tmp_path / "vault"))
    assert lock.try_lock()
    store = open_store(tmp_path)
    assert value(store, "a") == "value a"
    with pytest.raises(StoreTimeout):
        store.write(item("a"), Secret("x"), Call(0.2))
    assert value(store, "a") == "value a"
    lock.unlock()
    lock.close()
    store.write(item("a"), Secret("x"), call())


@pytest.mark.requires("POSIX files")
def test_vault_that_was_removed_does_not_swallow_writes(tmp_path: Path) -> None:
    """A write into a directory that has no name any more is refused, not acknowledged."""
    fill(tmp_path)
    store = open_store(tmp_path)
    store.write(item("a"), Secret("x"), call())
    shutil.rmtree(tmp_path / "vault")
    with pytest.raises(StoreUnavailable):
        store.write(item("a"), Secret("y"), call())


@pytest.mark.parametrize("code", [*sqlite.ERRORS, 99, 10 | (9 << 8)])
def test_every_code_of_sqlite_has_an_error(code: int) -> None:
    """Extended codes fall back on the primary one, unknown ones on "unavailable"."""
    problem = sqlite3.OperationalError("boom")
    problem.sqlite_errorcode = code
    found = sqlite.translated(problem)
    assert isinstance(found, TokenkeepError)
    assert (code & 0xFF != 10 or code in (522,)) or not isinstance(found, SecretDamaged)


@pytest.mark.parametrize("code", [778, 1034, 1290, 1546])
def test_failed_write_of_the_device_is_not_called_unreachable(code: int) -> None:
    """What is said is what happened: the database can be reached and not be written."""
    problem = sqlite3.OperationalError("disk I/O error")
    problem.sqlite_errorcode = code
    found = sqlite.translated(problem)
    assert isinstance(found, StoreUnavailable)
    assert "the vault's database could not be written" == str(found)


def test_reading_creates_nothing(tmp_path: Path) -> None:
    """No verb but a write makes a vault or a key file."""
    store = open_store(tmp_path)
    assert value(store, "a") is None
    assert [] == store.names(SERVICE, call())
    assert not store.delete(item("a"), call())
    assert not store.erase(SERVICE, call())
    store.replace(item("a"), None, None, call())
    assert store.version(call()) is None
    assert [] == list(tmp_path.iterdir())
    with pytest.raises(StoreUnavailable):
        open_store(tmp_path, create=False).write(item("a"), Secret("x"), call())
    assert [] == list(tmp_path.iterdir())


def test_check_is_well_and_changes_nothing(tmp_path: Path) -> None:
    """Every file is byte for byte as before, but the shared memory of the database."""
    fill(tmp_path)
    before = {
        name: data for name, data in snapshot(tmp_path / "vault").items() if "shm" not in name
    }
    report = check(open_vault(tmp_path), call)
    assert report.is_well
    assert 2 == report.items
    after = {name: data for name, data in snapshot(tmp_path / "vault").items() if "shm" not in name}
    assert before == after


def test_process_started_while_open_needs_no_fork_hook(tmp_path: Path) -> None:
    """A subprocess uses the same vault while this process has it open."""
    fill(tmp_path)
    store = open_store(tmp_path)
    assert value(store, "a") == "value a"
    script = textwrap.dedent(
        f"""
        from tokenkeep import KeyFile, VaultOptions
        from tokenkeep.backends.vault import VaultStore
        from tokenkeep.item import Call, ItemName
        from tokenkeep.secret import Secret
        key = KeyFile({str(tmp_path / "key")!r})
        store = VaultStore(VaultOptions({str(tmp_path / "vault")!r}, key))
        store.write(ItemName({SERVICE!r}, "a"), Secret("from a child"), Call())
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert value(store, "a") == "from a child"
