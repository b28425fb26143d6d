"""A disk that is full or cannot be written: an error with a hint, and nothing lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.conftest import StartServer, sign_in
from cli.shell import Shell
from support.small_disk import empty_log, fill, set_read_only, small_disk

pytestmark = pytest.mark.requires("terminal", "full disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", kilobytes=512) as place:
        yield place


@pytest.fixture
def shell_on_disk(shell: Shell, disk: Path) -> Shell:
    made = shell.tokenkeep("vault", "create", "--path", f"{disk}/vault", "--key-file", "key")
    assert 0 == made.code, made.err
    shell.variables["TOKENKEEP_APP"] = "org.example.notes"
    assert 0 == shell.tokenkeep("set", "name", stdin=b"old").code
    return shell


def test_a_full_disk_loses_nothing(shell_on_disk: Shell, disk: Path) -> None:
    """What does not fit is refused and the old value stays; with room again it is written."""
    ballast = fill(disk)
    answer = shell_on_disk.tokenkeep("set", "name", stdin=b"n" * 60_000)
    assert 1 == answer.code
    assert answer.err.startswith("error: no room left for the vault")
    assert "hint: make room on the disk" in answer.err
    assert b"old" == shell_on_disk.tokenkeep("get", "name").out
    ballast.unlink()
    assert 0 == shell_on_disk.tokenkeep("set", "name", stdin=b"new").code
    assert b"new" == shell_on_disk.tokenkeep("get", "name").out


def test_a_full_disk_spends_no_refresh_token(
    shell_on_disk: Shell, disk: Path, start_server: StartServer
) -> None:
    """What cannot be noted is not sent: the session is the same one when there is room again."""
    shell, server = shell_on_disk, start_server(access_token_seconds=2)
    sign_in(shell, server)
    time.sleep(2)
    before = server.admin.token_requests
    empty_log(disk / "vault")  # which may hold the room that is missing
    ballast = fill(disk)
    answer = shell.tokenkeep("token")
    assert (1, b"") == (answer.code, answer.out)
    assert "no room left" in answer.err
    assert before == server.admin.token_requests
    ballast.unlink()
    assert 0 == shell.tokenkeep("token").code
    assert 0 == server.admin.reuse_detected


def test_a_read_only_disk_can_be_read(shell_on_disk: Shell, disk: Path) -> None:
    """Reading needs no writing; writing says what is in the way."""
    set_read_only(disk, True)
    try:
        assert b"old" == shell_on_disk.tokenkeep("get", "name").out
        assert 0 == shell_on_disk.tokenkeep("doctor").code
        answer = shell_on_disk.tokenkeep("set", "name", stdin=b"new")
        assert (4, True) == (answer.code, "hint: " in answer.err), answer.err
    finally:
        set_read_only(disk, False)
    assert b"old" == shell_on_disk.tokenkeep("get", "name").out
