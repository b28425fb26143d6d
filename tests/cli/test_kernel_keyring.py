"""The command over the kernel keyring: items and a session, from login to logout."""

from __future__ import annotations

import pytest

from cli.conftest import StartServer, sign_in
from cli.shell import Shell
from support.keyrings import join_new_session

pytestmark = pytest.mark.requires("terminal", "kernel keyring")


def test_items_and_a_session_live_in_the_kernel(shell: Shell, start_server: StartServer) -> None:
    """Every process of the login finds them; nothing of them is in any file."""
    join_new_session()
    shell.variables |= {"TOKENKEEP_APP": "org.example.notes", "TOKENKEEP_STORE": "kernel-keyring"}
    server = start_server()
    sign_in(shell, server)
    shell.plays("""
        $ printf 'a value that is found' | tokenkeep set name
        $ tokenkeep get name; echo
        a value that is found
        $ tokenkeep list
        name
        $ tokenkeep status | grep state
        state: active
        $ tokenkeep doctor | grep -e ^store -e ^protection -e login
        store: kernel-keyring
        protection: memory
        ...
        $ grep -r 'a value that is found' .
        [1]
    """)
    token = shell.tokenkeep("token").out
    assert server.admin.accepts(token.decode())
    files = [path for path in shell.home.rglob("*") if path.is_file()]
    assert [] == [path for path in files if token in path.read_bytes()]
    shell.plays("""
        $ tokenkeep logout | grep revoke
        revoke: done (revoked at the provider)
        $ tokenkeep clear --yes 2> said
        $ tokenkeep list
        $ tokenkeep get name
        error: there is no item of this name
        hint: tokenkeep --app org.example.notes list
        [3]
    """)
