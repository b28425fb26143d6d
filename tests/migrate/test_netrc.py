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


HIDING = {
    "another login": "machine a login x password 1\nmachine a login y password 2\n",
    "the same login": "machine a login y password 1\nmachine a login y password 2\n",
    "without a login": "machine a password 1\nmachine a login y password 2\n",
    "far away": "machine a login x password 1\nmachine b\nmachine a login y password 2\n",
    "a name in quotes": 'machine "a" login x password 1\nmachine a login y password 2\n',
    "an escaped name": "machine \\a login x password 1\nmachine a login y password 2\n",
    "within one entry": "machine a login y password 1 password 2\n",
    "another account": "machine a login y account 1 account 2 password 2\n",
    "another user": "machine a login x user y password 2\n",
}


@pytest.mark.parametrize("text", HIDING.values(), ids=HIDING.keys())
def test_an_entry_that_hides_another_one_stays(path: Path, tmp_path: Path, text: str) -> None:
    """A password that was never copied is never erased, and what was copied can be undone."""
    path.write_text(text)
    storage = storage_in(tmp_path / "state")
    migration = Migration(NetrcSource(path), storage)
    migration.run()
    with pytest.raises(UnsupportedOption):
        migration.confirm()
    assert text == path.read_text()
    assert "2" == items_of(storage)["y@a"]
    migration.undo()
    assert {} == items_of(storage)


def test_an_entry_beside_those_that_hide_another_one_leaves(path: Path) -> None:
    """What another machine's entries do is no business of this one."""
    hiding = HIDING["another login"]
    path.write_text("machine b password 3\n" + hiding)
    NetrcSource(path).remove("b")
    assert hiding == path.read_text()


def test_the_default_entry_hides_a_machine_of_that_name(path: Path) -> None:
    """Both are "default" to the standard library."""
    text = "machine default login x password 1\ndefault login y password 2\n"
    path.write_text(text)
    with pytest.raises(UnsupportedOption, match="line 2: this hides"):
        NetrcSource(path).remove("y@default")
    assert text == path.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "machine ada@a password 1\nmachine a login ada password 2\n",
        "machine a login ada account 1 password 2\nmachine a/account login ada password 3\n",
    ],
)
def test_two_passwords_of_one_name_are_not_taken_for_one(path: Path, text: str) -> None:
    """One of them would be erased in the other's name."""
    path.write_text(text)
    with pytest.raises(UnsupportedOption, match="one name"):
        NetrcSource(path).names()


def test_a_machine_of_any_name_leaves(path: Path) -> None:
    """Which machine an item is of is not guessed from the item's name."""
    path.write_text("machine a@b password 1\nmachine b/account login x password 2\n")
    source = NetrcSource(path)
    assert ["a@b", "x@b/account"] == source.names()
    source.remove("a@b")
    assert ["x@b/account"] == source.names()
    source.remove("x@b/account")
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
