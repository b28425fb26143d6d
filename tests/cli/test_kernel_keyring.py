"""The command over the kernel keyring: items and a session, from login to logout."""

from __future__ import annotations

import pytest

from cli.conftest import StartServer, sign_in
from cli.shell import Shell
from support.keyrings import clear, join_new_session, revoke
from tokenkeep.backends.kernel_keyring import Keyring
from tokenkeep.native.keyctl import SESSION, Keyctl

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


def revoke_item(name: str) -> None:
    """Takes the value of one item away, as a logout or an administrator does."""
    keys = Keyctl()
    (found,) = [
        key
        for key in keys.keys(keys.number(SESSION))
        if keys.describe(key)[2].endswith(f":{name}".encode())
    ]
    revoke(found)


def test_doctor_explains_an_item_that_was_revoked(shell: Shell) -> None:
    """Invalidated, exit 7, as `get` says, and with the ways out; the other item is well."""
    join_new_session()
    shell.variables |= {"TOKENKEEP_APP": "org.example.notes", "TOKENKEEP_STORE": "kernel-keyring"}
    shell.plays("""
        $ printf 1 | tokenkeep set x && printf 2 | tokenkeep set y
        $ tokenkeep doctor > /dev/null
    """)
    revoke_item("x")
    shell.plays("""
        $ tokenkeep get x
        error: reading in the kernel keyring failed: it was revoked
        hint: write it anew, or sign in again
        [7]
        $ tokenkeep doctor > said
        hint: write it anew, or sign in again
        hint: what is gone for good: tokenkeep delete NAME, or storage.reset() in Python for everything; ...
        [7]
        $ sed -n '/^state/,/^sessions/p' said
        state: ok
        items:
          x: item, invalidated
          y: item, ok, 1
        sessions: none
        $ tokenkeep delete x && tokenkeep doctor | grep x:
        [1]
        $ tokenkeep doctor > /dev/null && tokenkeep clear --yes 2> said
    """)  # noqa: E501


def test_doctor_explains_a_vault_whose_key_was_revoked(shell: Shell) -> None:
    """The key of a vault is an item too: gone for good, nothing is lost, and reset is the way."""
    join_new_session()
    shell.variables |= {"TOKENKEEP_APP": "org.example.notes"}
    shell.plays("""
        $ tokenkeep vault create --store-item kernel-keyring 2> /dev/null
        ~/.local/share/tokenkeep/vault
        $ printf v | tokenkeep set name
    """)
    keys = Keyctl()
    (key,) = keys.keys(keys.number(SESSION))
    revoke(key)
    shell.plays("""
        $ tokenkeep doctor > said
        hint: open the vault with another of its keys, then: tokenkeep vault add-key --store-item kernel-keyring; ...
        [7]
        $ grep -e ^state -e ^problem said
        state: invalidated
        problem: the vault's key does not open any more: reading in the kernel keyring failed: it was revoked
        $ tokenkeep vault reset --yes 2> /dev/null
        ~/.local/share/tokenkeep/vault.set-aside-...
        $ ls ~/.local/share/tokenkeep/vault.set-aside-*/vault.db | wc -l
        1
    """)  # noqa: E501
    clear(Keyring.SESSION)  # the dead item, which the next test would list
