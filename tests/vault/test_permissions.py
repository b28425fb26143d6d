"""Who may do what with a vault's files: refused with the command that mends it, nothing lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.children import in_child
from support.other_user import let_through
from tokenkeep.errors import (
    AccessDenied,
)
from tokenkeep.item import Call
from tokenkeep.secret import Secret
from vault.places import VERBS, call, fill, item, open_store, value


def as_nobody(tmp_path: Path, action: Callable[[], object]) -> None:
    """Runs the action in a child without root's powers over everything in the directory."""
    if os.geteuid() == 0:
        for folder, _folders, names in os.walk(tmp_path):
            for path in [folder, *(os.path.join(folder, name) for name in names)]:
                os.chown(path, 65534, 65534)
        let_through(tmp_path)

    def act() -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        action()

    in_child(act)


@pytest.mark.parametrize(
    ("name", "mode", "hint"),
    [("", 0o755, "chmod 700"), ("", 0o770, "chmod 700"), ("header", 0o644, "chmod 600"),
     ("vault.db", 0o660, "chmod 600")],
)  # fmt: skip
@pytest.mark.requires("POSIX files")
def test_open_permissions_are_refused_with_the_command_that_mends_them(
    tmp_path: Path, name: str, mode: int, hint: str
) -> None:
    """And the command does mend it."""
    fill(tmp_path)
    path = tmp_path / "vault" / name if name else tmp_path / "vault"
    path.chmod(mode)
    for verb in VERBS:
        with pytest.raises(AccessDenied) as caught:
            verb(tmp_path)
        assert f"{hint} {path}" == caught.value.hint
    path.chmod(int(hint[-3:], 8))
    assert value(open_store(tmp_path), "a") == "value a"


@pytest.mark.parametrize(
    ("name", "hint"), [("", "chmod 700"), ("header", "chmod 600"), ("vault.db", "chmod 600")]
)
@pytest.mark.requires("POSIX files")
def test_permission_that_is_missing_is_named_with_the_command_that_mends_it(
    tmp_path: Path, name: str, hint: str
) -> None:
    """What its owner may not read is `AccessDenied`, neither missing nor unreachable."""
    fill(tmp_path)
    path = tmp_path / "vault" / name if name else tmp_path / "vault"
    path.chmod(0)

    def use() -> None:
        with pytest.raises(AccessDenied) as caught:
            value(open_store(tmp_path), "a")
        assert f"{hint} {path}" == caught.value.hint

    as_nobody(tmp_path, use)
    path.chmod(int(hint[-3:], 8))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs to be root")
def test_vault_of_another_user_is_refused(tmp_path: Path) -> None:
    """Also for root: what somebody else owns, somebody else can change under us."""
    fill(tmp_path)
    os.chown(tmp_path / "vault", 65534, 65534)
    with pytest.raises(AccessDenied, match="65534"):
        value(open_store(tmp_path), "a")


@pytest.mark.parametrize("log", ["kept", "gone"])
@pytest.mark.requires("POSIX files")
def test_vault_that_cannot_be_written_still_reads(tmp_path: Path, log: str) -> None:
    """A read-only directory: reading works with and without a log, writing is `AccessDenied`."""
    fill(tmp_path)
    vault = tmp_path / "vault"
    if log == "gone":
        opened = open_store(tmp_path)
        opened.erase("org.example.none", call())
        opened.close()
        for side in ("vault.db-wal", "vault.db-shm"):
            (vault / side).unlink()
    for path in vault.iterdir():
        path.chmod(0o400)
    vault.chmod(0o500)

    def use() -> None:
        store = open_store(tmp_path)
        assert value(store, "a") == "value a"
        assert value(store, "nothing") is None
        for write in (
            lambda: store.write(item("a"), Secret("x"), Call(1.0)),
            lambda: store.delete(item("a"), Call(1.0)),
        ):
            with pytest.raises(AccessDenied):
                write()
        assert value(store, "a") == "value a"

    as_nobody(tmp_path, use)


@pytest.mark.requires("POSIX files")
def test_vault_in_a_directory_that_cannot_be_written_is_not_made(tmp_path: Path) -> None:
    """`AccessDenied`, and nothing is left behind."""
    place = tmp_path / "closed"
    place.mkdir()
    place.chmod(0o500)

    def use() -> None:
        with pytest.raises(AccessDenied):
            open_store(place).write(item("a"), Secret("x"), call())

    as_nobody(tmp_path, use)
    assert [] == list(place.iterdir())
