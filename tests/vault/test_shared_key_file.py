"""Key files that others share, or that cannot be written: named without locking anybody out."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from support.children import in_child
from support.other_user import let_through
from support.small_disk import fill, set_read_only, small_disk
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import AccessDenied
from tokenkeep.secret import Secret
from tokenkeep.vault import access, files
from tokenkeep.vault.format import encode_key_file
from tokenkeep.vault.key_file import KeyFile
from vault.places import call, item, key_file, open_store, value

pytestmark = pytest.mark.requires("POSIX files")
NOBODY = 65534


def shared(place: Path, name: str = "key") -> KeyFile:
    return KeyFile(place / name, readable_by_group=True)


def write_first(place: Path, key: KeyFile) -> VaultStore:
    """Makes the vault, which is when a key file learns of it."""
    store = VaultStore(VaultOptions(place / "vault", key))
    store.write(item("a"), Secret("1"), call())
    return store


def who(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


@pytest.mark.parametrize("mode", [0o640, 0o440, 0o600, 0o400])
def test_named_key_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    """Its group is not locked out, and what nobody may write stays like that."""
    access.new_key(str(tmp_path / "key"))
    (tmp_path / "key").chmod(mode)
    before = who(tmp_path / "key")
    write_first(tmp_path, shared(tmp_path)).close()
    assert before == who(tmp_path / "key")
    assert shared(tmp_path).read()[1]


def test_named_key_file_keeps_its_owner_and_group(tmp_path: Path) -> None:
    """Whoever made the vault: root, or somebody with more than one group."""
    access.new_key(str(tmp_path / "key"))
    is_root = os.geteuid() == 0
    owner, group = (NOBODY, NOBODY) if is_root else (os.geteuid(), os.getgroups()[-1])
    os.chown(tmp_path / "key", owner, group)
    (tmp_path / "key").chmod(0o640)
    write_first(tmp_path, shared(tmp_path)).close()
    assert (owner, group, 0o640) == who(tmp_path / "key")
    assert shared(tmp_path).read()[1]


@pytest.mark.requires("fork")
def test_key_file_whose_owner_cannot_be_kept_is_left_as_it_is(tmp_path: Path) -> None:
    """Whoever may write its folder could replace it, and would take it from its owner."""
    keys = tmp_path / "keys"
    access.new_key(str(keys / "key"))
    (keys / "key").chmod(0o640)
    if os.geteuid() == 0:
        for path in (tmp_path, keys, keys / "key"):
            os.chown(path, 0, NOBODY)
        for path in (tmp_path, keys):
            path.chmod(0o770)
        let_through(tmp_path)
    else:
        keys.chmod(0o500)
    before = who(keys / "key"), (keys / "key").read_bytes()

    def use() -> str | None:
        if os.geteuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        return value(write_first(tmp_path, shared(keys)), "a")

    assert in_child(use) == "1"
    assert before == (who(keys / "key"), (keys / "key").read_bytes())
    assert ["key"] == os.listdir(keys)
    keys.chmod(0o700)


@pytest.mark.requires("full disk")  # which only Linux can have: it has access lists, too
def test_named_key_file_keeps_its_access_list(tmp_path: Path) -> None:
    """A user beyond owner and group whom setfacl let in stays in."""
    name = "system.posix_acl_access"
    # acl(5) as the kernel has it: tag, permissions, id of owner, a user, group, mask, others.
    entries = [(1, 6, -1), (2, 4, NOBODY), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
    wanted = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    with small_disk(tmp_path / "disk") as place:
        access.new_key(str(place / "key"))
        os.setxattr(place / "key", name, wanted)
        write_first(tmp_path, shared(place)).close()
        assert wanted == os.getxattr(place / "key", name)
        assert shared(place).read()[1]


def test_linked_key_file_is_named_behind_its_link(tmp_path: Path) -> None:
    """As container platforms mount them; the link stays one."""
    (tmp_path / "mounted").mkdir()
    access.new_key(str(tmp_path / "mounted" / "real"))
    (tmp_path / "mounted" / "real").chmod(0o440)
    (tmp_path / "data").symlink_to("mounted")
    (tmp_path / "key").symlink_to("data/real")
    write_first(tmp_path, shared(tmp_path)).close()
    assert "data/real" == os.readlink(tmp_path / "key")
    assert 0o440 == stat.S_IMODE((tmp_path / "mounted" / "real").lstat().st_mode)
    assert shared(tmp_path / "mounted", "real").read()[1]
    assert ["real"] == os.listdir(tmp_path / "mounted")


@pytest.mark.requires("full disk")
@pytest.mark.parametrize("how", ["read-only", "mounted", "full"])
def test_key_file_that_cannot_be_replaced_fails_no_write(tmp_path: Path, how: str) -> None:
    """It never names its vault then, which is what `readable_by_group` accepts."""
    with small_disk(tmp_path / "medium") as medium:
        access.new_key(str(medium / "key"))
        if how == "read-only":
            set_read_only(medium, True)
        elif how == "mounted":
            subprocess.run(["mount", "--bind", medium / "key", medium / "key"], check=True)
        else:
            fill(medium)
        before = (medium / "key").read_bytes()
        try:
            store = write_first(tmp_path, shared(medium))
            store.close()
            store.write(item("b"), Secret("2"), call())
            assert value(store, "b") == "2"
            store.close()
            assert before == (medium / "key").read_bytes()
            assert not [name for name in os.listdir(medium) if name.endswith(".new")]
        finally:
            if how == "mounted":
                subprocess.run(["umount", medium / "key"], check=True)


@pytest.mark.requires("full disk")
def test_private_key_file_that_cannot_be_named_is_refused_beforehand(tmp_path: Path) -> None:
    """Nothing is made; the hint names the option that accepts it."""
    with small_disk(tmp_path / "medium") as medium:
        access.new_key(str(medium / "key"))
        set_read_only(medium, True)
        with pytest.raises(AccessDenied) as caught:
            write_first(tmp_path, key_file(medium))
        assert "readable_by_group=True" in (caught.value.hint or "")
        assert not (tmp_path / "vault").exists()


@pytest.mark.requires("full disk")
def test_medium_that_became_read_only_keeps_nothing_else_from_being_settled(
    tmp_path: Path,
) -> None:
    """A key that could not be named before: writes go on, old bytes are erased, room is kept."""
    with small_disk(tmp_path / "medium") as medium:
        write_first(tmp_path, key_file(medium)).close()
        key = key_file(medium).read()[0]
        files.replace_file(str(medium / "key"), encode_key_file(key, b""))
        set_read_only(medium, True)
        store = open_store(tmp_path, key_file(medium))
        store._vault.transaction(
            call(),
            lambda connection, _keys: connection.execute("UPDATE state SET erase_pending = 1"),
        )
        store.close()
        (tmp_path / "vault" / "room").unlink()
        store.write(item("b"), Secret("2"), call())
        engine = store._vault.opened(call())[0]
        assert (0,) == engine.row(call(), "SELECT erase_pending FROM state")
        assert (tmp_path / "vault" / "room").exists()
        store.close()
