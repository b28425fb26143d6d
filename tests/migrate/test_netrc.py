"""Real netrc files: one item for each password, and nothing else touched."""

from __future__ import annotations

import netrc
import stat
import traceback
from pathlib import Path

import pytest

from migrate.places import items_of, storage_in
from tokenkeep.errors import SecretDamaged, StoreUnavailable, UnsupportedOption
from tokenkeep.migrate.migration import Migration
from tokenkeep.migrate.netrc import NetrcSource

TEXT = """\
# what machines know me as
machine example.org login ada password s3cret
machine ftp.example.org
    login ada@example.org
    account acct
    password "two words"

macdef upload
    put machine

# a comment of nobody
machine api.example.org password token-only
default login anonymous password guest
"""
ITEMS = {
    "ada@example.org": "s3cret",
    "ada@example.org@ftp.example.org": "two words",
    "ada@example.org@ftp.example.org/account": "acct",
    "api.example.org": "token-only",
    "anonymous@default": "guest",
}


@pytest.fixture
def path(home: Path) -> Path:
    path = home / ".netrc"
    path.write_text(TEXT, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_every_password_is_an_item(path: Path, tmp_path: Path) -> None:
    """The login tells two accounts of one machine apart."""
    storage = storage_in(tmp_path)
    Migration(NetrcSource(), storage).run()
    own = {name: value for name, value in items_of(storage).items() if name in ITEMS}
    assert ITEMS == own


@pytest.mark.parametrize("name", ["ada@example.org", "api.example.org", "anonymous@default"])
def test_one_entry_leaves_and_the_rest_reads_as_before(path: Path, name: str) -> None:
    """Macros, comments and other entries stay; so do permissions."""
    before = netrc.netrc(str(path))
    NetrcSource(path).remove(name)
    after = netrc.netrc(str(path))
    machine = name.rpartition("@")[2]
    del before.hosts[machine]
    assert (before.hosts, before.macros) == (after.hosts, after.macros)
    assert path.read_text().startswith("# what machines know me as\n")
    assert "# a comment of nobody" in path.read_text()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert {*ITEMS} - {name} == {*NetrcSource(path).names()}


def test_all_entries_leave(path: Path, tmp_path: Path) -> None:
    """What is left is what was never a secret."""
    storage = storage_in(tmp_path)
    migration = Migration(NetrcSource(path), storage)
    migration.run()
    migration.confirm()
    assert ITEMS == items_of(storage)
    assert {} == netrc.netrc(str(path)).hosts
    assert {"upload"} == netrc.netrc(str(path)).macros.keys()
    assert "s3cret" not in path.read_text()


def test_line_ends_of_windows_stay(path: Path) -> None:
    """Also behind a macro, which ends at an empty line."""
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    NetrcSource(path).remove("api.example.org", "ada@example.org")
    left = [line for line in TEXT.split("\n") if "token-only" not in line and "s3cret" not in line]
    assert "\r\n".join(left).encode() == path.read_bytes()


def test_an_entry_s_two_passwords_leave_together(path: Path) -> None:
    """An entry goes as a whole: the one that stays would be lost."""
    with pytest.raises(UnsupportedOption):
        NetrcSource(path).remove("ada@example.org@ftp.example.org")
    assert TEXT == path.read_text()


def test_an_entry_that_hides_another_one_stays(path: Path) -> None:
    """Taking it out would bring another password to light."""
    path.write_text("machine a login x password 1\nmachine a login y password 2\n")
    source = NetrcSource(path)
    assert ["y@a"] == source.names()
    source.remove("y@a")  # both entries of the machine go, or none
    assert [] == source.names()


def test_a_damaged_file_names_the_line_and_no_password(path: Path) -> None:
    """The library's own message holds what it stumbled over."""
    path.write_text("machine a login x s3cret 1\n")
    with pytest.raises(SecretDamaged) as caught:
        NetrcSource(path).names()
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert "s3cret" not in shown
    assert "line 1" in shown


def test_a_missing_file_is_not_an_empty_one(tmp_path: Path) -> None:
    """A wrong path is an error."""
    with pytest.raises(StoreUnavailable):
        NetrcSource(tmp_path / "netrc").names()
