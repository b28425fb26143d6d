"""flutter_secure_storage on Linux (a real keyring) and Windows (a file, DPAPI stood in for)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.places import items_of, storage_in
from support.desktop import attributes_of, gnome_desktop, items, put
from support.gnome_keyring import GnomeKeyring
from tokenkeep.errors import (
    MissingExtra,
    SecretDamaged,
    SecretInvalidated,
    StoreLocked,
    StoreUnavailable,
    UnsupportedOption,
)
from tokenkeep.migrate.flutter import FlutterMap
from tokenkeep.migrate.flutter_linux import flutter_linux
from tokenkeep.migrate.flutter_windows import flutter_windows
from tokenkeep.migrate.migration import Migration
from tokenkeep.secret import Secret

ID = "com.example.notes"
VALUES = {"token": "s3cret", "söße/π": "ünï", "": "empty name", "empty": "", "json": '{"a":1}'}
KEPT = {"account": f"{ID}.secureStorage"}


def text(values: dict[str, str]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.fixture
def desktop() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as desktop:
        yield desktop


@pytest.mark.requires("gnome-keyring")
def test_the_item_on_linux_moves_key_by_key(desktop: GnomeKeyring, tmp_path: Path) -> None:
    """One item of JSON becomes items; those that do not move stay in it."""
    put(desktop.bus, desktop.collection, KEPT, text(VALUES))
    put(desktop.bus, desktop.collection, {"account": "org.other.secureStorage"}, b"{}")
    source, storage = flutter_linux(ID), storage_in(tmp_path)
    assert sorted(VALUES) == source.names()
    migration = Migration(source, storage, names=["token", "empty", "söße/π"])
    migration.run()
    migration.confirm()
    assert {"token": "s3cret", "empty": "", "söße/π": "ünï"} == items_of(storage)
    assert ["", "json"] == source.names()
    source.remove("", "json")
    assert [] == source.names()
    assert 2 == len(items(desktop.bus))
    assert KEPT in [attributes_of(desktop.bus, item) for item in items(desktop.bus)]


@pytest.mark.requires("gnome-keyring")
def test_a_locked_keyring_is_not_an_empty_one(desktop: GnomeKeyring, tmp_path: Path) -> None:
    """The migration stops, and goes on once it is unlocked."""
    put(desktop.bus, desktop.collection, KEPT, text(VALUES))
    desktop.lock()
    migration = Migration(flutter_linux(ID), storage_in(tmp_path), names=["token"])
    with pytest.raises(StoreLocked):
        migration.run()
    desktop.unlock()
    assert 1 == len(migration.run().items)


@pytest.mark.requires("gnome-keyring")
def test_an_application_that_was_never_here_has_nothing(desktop: GnomeKeyring) -> None:
    """No item is an empty object."""
    assert [] == flutter_linux(ID).names()
    flutter_linux(ID).remove("token")


class Sealed:
    """What stands in for DPAPI: reversed bytes behind a mark."""

    def protect(self, value: Secret) -> bytes:
        return b"sealed" + value.reveal_bytes()[::-1]

    def unprotect(self, data: bytes) -> Secret:
        if not data.startswith(b"sealed"):
            raise SecretInvalidated("another user's or another machine's")
        return Secret(data[6:][::-1])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flutter_secure_storage.dat"
    path.write_bytes(Sealed().protect(Secret(text(VALUES))))
    return path


def windows(path: Path) -> FlutterMap:
    return flutter_windows(path, Sealed().unprotect, Sealed().protect)


def test_the_file_on_windows_moves_key_by_key(file: Path, tmp_path: Path) -> None:
    """The rest is protected anew, in one replacement of the file."""
    storage = storage_in(tmp_path)
    migration = Migration(windows(file), storage, names=["token"])
    migration.run()
    migration.confirm()
    assert {"token": "s3cret"} == items_of(storage)
    rest = {name: value for name, value in VALUES.items() if name != "token"}
    assert rest == json.loads(Sealed().unprotect(file.read_bytes()).reveal())
    windows(file).remove(*rest)
    assert b"{}" == Sealed().unprotect(file.read_bytes()).reveal_bytes()


def test_a_file_that_does_not_open_is_never_touched(file: Path, tmp_path: Path) -> None:
    """The plugin deletes it; we leave it to whoever can open it."""
    file.write_bytes(b"another machine's")
    with pytest.raises(SecretInvalidated):
        Migration(windows(file), storage_in(tmp_path)).run()
    assert b"another machine's" == file.read_bytes()
    with pytest.raises(StoreUnavailable):
        windows(tmp_path / "none").names()


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "[[]]",
        '["ab"]',
        '{"a":1}',
        '{"a":{}}',
        '{"a":"s3cret"',
        '{"a":"\\ud800"}',
        '{"a":"s3cret","a":"s3cret"}',
        "[" * 5000,
    ],
)
def test_what_is_no_object_of_texts_is_damage(file: Path, content: str) -> None:
    """Nothing is guessed, nothing of it is repeated, and a key has one value."""
    file.write_bytes(Sealed().protect(Secret(content)))
    with pytest.raises(SecretDamaged) as caught:
        windows(file).names()
    assert caught.value.__context__ is None
    assert "s3cret" not in str(caught.value)


def test_an_application_that_writes_meanwhile_wins(file: Path) -> None:
    """What it wrote since is not overwritten by what we saw before."""
    place = windows(file)._place
    seen = place.load()
    assert seen is not None
    file.write_bytes(Sealed().protect(Secret(text({"newer": "1"}))))
    with pytest.raises(UnsupportedOption):
        place.save(seen, None)
    assert ["newer"] == windows(file).names()


def test_an_empty_id_is_none() -> None:
    """It would find another application's item."""
    with pytest.raises((UnsupportedOption, MissingExtra)):
        flutter_linux("")


OFF_ANDROID = """
from tokenkeep.errors import MissingExtra, StoreUnavailable
from tokenkeep.migrate.flutter_android import FlutterAndroid
from tokenkeep.migrate.jetpack_security import JetpackSecurity

for source in (FlutterAndroid(), JetpackSecurity("secret_shared_prefs")):
    for ask in (source.names, lambda: source.read("token")):
        try:
            print(ask())
        except (StoreUnavailable, MissingExtra):
            print("out of reach")
"""


def test_what_was_kept_on_android_is_out_of_reach_elsewhere() -> None:
    """Never empty: a machine that is no device cannot know what is there."""
    # In a process of its own: where pyjnius is installed, this starts a virtual machine.
    command = [sys.executable, "-c", OFF_ANDROID]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert 4 * "out of reach\n" == done.stdout
