"""A damaged session log on the command line: said, not guessed, and mended by signing out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.conftest import Server, sign_in
from cli.shell import Shell
from support.driven_browser import BROWSER
from tokenkeep import KeyFile, SecureStorage, TokenStorage, VaultOptions

pytestmark = pytest.mark.requires("terminal")
MESSAGE = "error: the session log is damaged\nhint: tokenkeep logout, then login\n"


def log_of(shell: Shell) -> Path:
    (found,) = (shell.home / ".local" / "state" / "tokenkeep").rglob("log")
    return found


def is_stored(shell: Shell) -> bool:
    """Whether the account's record is in the vault, dead or alive."""
    vault = shell.home / ".local" / "share" / "tokenkeep" / "vault"
    key = shell.home / ".config" / "tokenkeep" / "vault.key"
    with SecureStorage("org.example.notes", VaultOptions(vault, KeyFile(key))) as storage:
        return TokenStorage(storage, account="default").kept.stored() is not None


@pytest.mark.parametrize("damage", ["a flipped bit", "zeros", "garbage"])
def test_a_damaged_log_is_an_error_that_erases_nothing(
    signed_in: tuple[Shell, Server], damage: str
) -> None:
    """Neither signed in nor out: exit 7 for who asks, until a logout and a login."""
    shell, server = signed_in
    log = log_of(shell)
    spoilt = bytearray(log.read_bytes())
    spoilt[-9] ^= 1
    log.write_bytes({"a flipped bit": spoilt, "zeros": bytes(90), "garbage": b"garbage"}[damage])
    for verb in ("status", "token"):
        answer = shell.tokenkeep(verb)
        assert (7, b"") == (answer.code, answer.out)
        assert answer.err.endswith(MESSAGE)
    assert is_stored(shell)
    answer = shell.tokenkeep("logout")
    assert 0 == answer.code
    assert b"end: done\n" in answer.out
    assert not is_stored(shell)
    assert 3 == shell.tokenkeep("status").code
    sign_in(shell, server)
    assert 0 == shell.tokenkeep("status").code


def test_a_flipped_bit_in_a_sign_out_does_not_undo_it(signed_in: tuple[Shell, Server]) -> None:
    """The older line, which says that the session lives, does not count again."""
    shell, _server = signed_in
    log = log_of(shell)
    begun = log.read_bytes()
    assert 0 == shell.tokenkeep("logout").code
    ended = bytearray(log.read_bytes())
    ended[len(begun)] ^= 1
    log.write_bytes(ended)
    assert 7 == shell.tokenkeep("status").code


def test_a_login_mends_a_damaged_log(signed_in: tuple[Shell, Server]) -> None:
    """It ends whatever lived, so nothing has to be known of what was there."""
    shell, server = signed_in
    log_of(shell).write_bytes(bytes(90))
    sign_in(shell, server)
    assert 0 == shell.tokenkeep("status").code


def test_one_damaged_log_does_not_hide_the_other_accounts(
    signed_in: tuple[Shell, Server],
) -> None:
    """`accounts` lists the others, names the damaged one and exits as its error does."""
    shell, server = signed_in
    log = log_of(shell)
    sign_in(shell, server, "--account", "other")
    log.write_bytes(b"garbage\n")
    answer = shell.tokenkeep("accounts")
    assert (7, b"other\n") == (answer.code, answer.out)
    assert (
        "error: account default: the session log is damaged\nhint: tokenkeep logout, then login\n"
    ) == answer.err


@pytest.mark.requires("POSIX paths")
def test_a_state_directory_that_is_none_is_named(signed_in: tuple[Shell, Server]) -> None:
    """Whoever has to mend it learns where it is."""
    shell, server = signed_in
    state = shell.home / ".local" / "state"
    shutil.rmtree(state)
    state.write_bytes(b"")
    words = ("login", "--issuer", server.issuer, "--client-id", "notes")
    for verb in (("token",), words):
        answer = shell.tokenkeep(*verb, BROWSER=BROWSER)
        assert (6, b"") == (answer.code, answer.out), answer.err
        assert f"\nhint: check the path {state}/" in answer.err


def test_an_account_s_name_goes_into_a_pipe_as_it_is(signed_in: tuple[Shell, Server]) -> None:
    """As an item's does: a script can hand it to the next command."""
    shell, server = signed_in
    sign_in(shell, server, "--account", "b\u200db")
    assert "b\u200db\ndefault\n".encode() == shell.tokenkeep("accounts").out
