"""No failing call into a vault leaves a value, a passphrase or a key where a traceback shows it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenkeep.errors import TokenkeepError
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from tokenkeep.vault import access, transfer
from tokenkeep.vault.lockfile import LockFile
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.rekey import rekey
from vault.places import CHEAP, call, item, key_file, open_store, open_vault, passphrase

VALUE = "the-value-nobody-may-see"
WORDS = "the-words-nobody-may-see"


def spoil_envelope(place: Path) -> None:
    open_vault(place).transaction(
        call(), lambda connection, _keys: connection.execute("UPDATE item SET envelope = x'00'")
    )


def spoil_database(place: Path) -> None:
    for side in ("vault.db-wal", "vault.db-shm"):
        (place / "vault" / side).unlink(missing_ok=True)
    (place / "vault" / "vault.db").write_bytes(b"x" * 8192)


def spoil_key(place: Path) -> None:
    (place / "key").write_bytes((place / "key").read_bytes()[:-1])


def hold_lock(place: Path) -> None:
    assert LockFile(str(place / "vault")).try_lock()


def nothing(_place: Path) -> None:
    pass


def write(place: Path) -> None:
    open_store(place).write(item("a"), Secret(VALUE), Call(0.3))


def read(place: Path) -> None:
    open_store(place).read(item("a"), call())


def exchange(place: Path) -> None:
    open_store(place).replace(item("a"), Secret(VALUE + "!"), Secret(VALUE), call())


def open_wrongly(place: Path) -> None:
    open_store(place, Passphrase(WORDS, profile=CHEAP)).read(item("a"), call())


def write_too_much(place: Path) -> None:
    open_store(place).write(item("a"), Secret(VALUE * 1_000_000), call())


def open_without_key(place: Path) -> None:
    open_store(place, key_file(place, "none")).read(item("a"), call())


def rekey_without_keys(place: Path) -> None:
    access.add_key(open_vault(place), Passphrase(WORDS, profile=CHEAP), call())
    rekey(open_vault(place), call, root=True)


def import_wrongly(place: Path) -> None:
    path = str(place / "items")
    transfer.export(open_vault(place), path, passphrase(), call)
    transfer.import_items(open_vault(place), path, Passphrase(WORDS, profile=CHEAP), call())


def import_twice(place: Path) -> None:
    path = str(place / "items")
    transfer.export(open_vault(place), path, Passphrase(WORDS, profile=CHEAP), call)
    transfer.import_items(open_vault(place), path, Passphrase(WORDS, profile=CHEAP), call())


@pytest.mark.parametrize(
    ("spoil", "action"),
    [
        (spoil_envelope, read), (spoil_envelope, exchange), (spoil_database, read),
        (spoil_database, write), (spoil_key, read), (spoil_key, write), (hold_lock, write),
        (nothing, exchange), (nothing, open_wrongly), (nothing, write_too_much),
        (nothing, open_without_key), (nothing, rekey_without_keys), (nothing, import_wrongly),
        (nothing, import_twice),
    ],
    ids=lambda function: function.__name__,
)  # fmt: skip
def test_captured_traceback_shows_no_secret(
    tmp_path: Path, spoil: Callable[[Path], None], action: Callable[[Path], None]
) -> None:
    """The whole chain of exceptions, with every local of every frame."""
    store = open_store(tmp_path)
    store.write(item("a"), Secret(VALUE), call())
    store.close()
    key = key_file(tmp_path).read()[0]
    engine, keys = open_vault(tmp_path).opened(call())
    root = keys.root
    engine.close()
    spoil(tmp_path)
    with pytest.raises(TokenkeepError) as caught:
        action(tmp_path)
    printed = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert VALUE not in printed
    assert WORDS not in printed.replace(f"WORDS = {WORDS!r}", "")
    for secret in (key, root):
        assert repr(secret.reveal_bytes())[2:-1] not in printed
        assert secret.reveal_bytes().hex() not in printed
