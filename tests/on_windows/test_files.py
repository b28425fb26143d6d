"""What Windows does with files that somebody has open."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import UnsupportedOption
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import files
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.vault import Vault

ITEM = ItemName("org.example.notes", "a")


def call() -> Call:
    return Call(20.0)


def test_file_that_is_read_meanwhile_is_replaced_a_little_later(tmp_path: Path) -> None:
    """A reader of a vault's header holds it for a moment; who writes a new one waits for that."""
    file = tmp_path / "header"
    file.write_bytes(b"old")
    reader = file.open("rb")
    threading.Timer(0.1, reader.close).start()
    files.replace_file(str(file), b"new")
    assert b"new" == file.read_bytes()


def test_file_that_stays_open_stays_as_it_is(tmp_path: Path) -> None:
    """The wait ends, and nothing is left beside."""
    file = tmp_path / "header"
    file.write_bytes(b"old")
    with file.open("rb"), pytest.raises(PermissionError):
        files.replace_file(str(file), b"new")
    assert b"old" == file.read_bytes()
    assert ["header"] == os.listdir(tmp_path)


def test_rekey_goes_through_while_others_read(tmp_path: Path) -> None:
    """Another object opens the vault anew all the time; both come through."""
    options = VaultOptions(tmp_path / "vault")
    VaultStore(options).write(ITEM, Secret("kept"), call())
    done, problems = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            try:
                assert Secret("kept") == VaultStore(options).read(ITEM, call())
            except BaseException as exc:
                problems.append(repr(exc))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _round in range(3):
            rekey(Vault(options.path, options.keys), call, root=True)
    finally:
        done.set()
        reader.join()
    assert [] == problems


@pytest.mark.parametrize("name", ["a\0b", ""])
def test_path_that_can_be_none_is_refused(name: str) -> None:
    """Before Windows is asked."""
    with pytest.raises(UnsupportedOption):
        VaultOptions(name)
