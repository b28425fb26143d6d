"""`vault replace-all`: after a compromise nothing that was known before is worth anything."""

from __future__ import annotations

import json
import time

import pytest

from cli.conftest import Server, sign_in
from cli.person import Person
from cli.shell import Shell, kill, tree_of
from tokenkeep.backends.vault import VaultOptions
from tokenkeep.database import DatabaseKey
from tokenkeep.storage import SecureStorage
from tokenkeep.vault.key_file import KeyFile

pytestmark = pytest.mark.requires("terminal")


def live_grants(server: Server) -> int:
    return len([grant for grant in server.admin.grants() if not grant["revoked"]])


def test_everything_is_replaced(signed_in: tuple[Shell, Server]) -> None:
    """Sessions of every application end at the provider, old keys open nothing, items stay."""
    shell, server = signed_in
    sign_in(shell, server, "--account", "other")
    sign_in(shell, server, "--app", "org.other")
    assert 3 == live_grants(server)
    shell.plays("""
        $ printf v | tokenkeep set name
        $ cp -r .local/share/tokenkeep/vault stolen && cp .config/tokenkeep/vault.key stolen.key
        $ tokenkeep vault replace-all --yes --new-key-file new.key 2> said
        signed out: default of org.example.notes: end done, erase done, revoke done (...)
        signed out: other of org.example.notes: end done, erase done, revoke done (...)
        signed out: default of org.other: end done, erase done, revoke done (...)
        opens no more: ...: key-file
        opens now: ...: key-file
        replace where it comes from: name of org.example.notes
        $ cat said
        ~/.config/tokenkeep/vault.key opens nothing any more: delete it
        whoever had a key may have read the items: replace each where it comes from
        exports and copies of the vault still open with what they were made under: delete them
        items encrypted anew: 1
        $ tokenkeep get name; echo
        v
        $ tokenkeep status > /dev/null 2>&1
        [3]
        $ tokenkeep --key-file .config/tokenkeep/vault.key get name
        error: none of the given keys opens this vault
        hint: give its key-file
        [7]
        $ tokenkeep vault check | grep -c rekey
        0
        [1]
    """)
    assert 0 == live_grants(server)
    # What was stolen before still opens with the stolen key: that is what the last lines are about.
    stolen = shell.tokenkeep("--store", "vault:stolen", "--key-file", "stolen.key", "get", "name")
    assert b"v" == stolen.out


def test_dry_run_says_it_and_does_nothing(signed_in: tuple[Shell, Server]) -> None:
    """No key is made, no provider told, no byte of the vault touched."""
    shell, server = signed_in
    shell.tokenkeep("set", "name", stdin=b"v")
    before = {
        name: found
        for name, found in tree_of(shell.home / ".local").items()
        if not name.endswith(("-shm", "-wal"))
    }
    shell.plays("""
        $ tokenkeep vault replace-all --dry-run --new-key-file new.key
        would sign out: default of org.example.notes
        would open no more: ...: key-file
        would encrypt anew: 2
        would have to be replaced where it comes from: name of org.example.notes
        nothing was changed
        $ ls new.key 2> /dev/null
        [2]
    """)
    after = tree_of(shell.home / ".local")
    assert before == {name: after[name] for name in before}
    assert 1 == live_grants(server)
    found = json.loads(shell.tokenkeep("vault", "replace-all", "--dry-run", "--json").out)
    assert (2, 1, 1) == (found["items"], len(found["sessions"]), len(found["keys_dropped"]))


def database_key(shell: Shell, key_file: str) -> DatabaseKey:
    """A key in the vault, of a database beside it."""
    vault = VaultOptions(
        shell.home / ".local/share/tokenkeep/vault", KeyFile(shell.home / key_file)
    )
    storage = SecureStorage("org.example.notes", vault, state_directory=str(shell.home / "state"))
    return DatabaseKey(storage, shell.home / "notes.db")


def test_a_databases_key_is_never_to_be_replaced_by_hand(shell_with_vault: Shell) -> None:
    """It is told from the other items, as a new one in its place would lose the database."""
    shell = shell_with_vault
    connection = database_key(shell, ".config/tokenkeep/vault.key").connect()
    connection.execute("CREATE TABLE note (text)")
    connection.close()
    shell.plays("""
        $ printf v | tokenkeep set name
        $ tokenkeep vault replace-all --dry-run
        would open no more: ...: key-file
        would encrypt anew: 2
        would have to be replaced where it comes from: name of org.example.notes
        would have to be replaced, only with DatabaseKey.rekey(): database key of org.example.notes
        nothing was changed
    """)
    found = json.loads(shell.tokenkeep("vault", "replace-all", "--dry-run", "--json").out)
    assert ["name"] == [each["name"] for each in found["replace"]]
    assert ["database key"] == [each["name"] for each in found["rekey"]]
    shell.plays("""
        $ tokenkeep vault replace-all --yes --new-key-file new.key 2> said
        opens no more: ...: key-file
        opens now: ...: key-file
        replace where it comes from: name of org.example.notes
        replace only with DatabaseKey.rekey(): database key of org.example.notes
        $ grep -c "replaced by hand, the database is lost" said
        1
    """)
    database_key(shell, "new.key").rekey()
    connection = database_key(shell, "new.key").connect()
    assert (0,) == connection.execute("SELECT count(*) FROM note").fetchone()
    connection.close()


def test_offline_it_replaces_all_the_same(signed_in: tuple[Shell, Server]) -> None:
    """Sessions are erased here, and the report says who could not be told."""
    shell, server = signed_in
    server.goes("offline")
    answer = shell.tokenkeep(
        *("vault", "replace-all", "--yes", "--json", "--new-key-file", "new.key")
    )
    assert 0 == answer.code
    (session,) = json.loads(answer.out)["sessions"]
    outcomes = {step["name"]: step["outcome"] for step in session["steps"]}
    assert ("done", "done", "failed") == (outcomes["end"], outcomes["erase"], outcomes["revoke"])
    assert "a provider could not be told" in answer.err
    assert 3 == shell.tokenkeep("status").code


def test_it_asks_and_needs_a_new_key(shell_with_vault: Shell) -> None:
    """Nobody to ask, no new key, or the old key again: nothing has changed."""
    shell_with_vault.plays("""
        $ printf v | tokenkeep set name
        $ tokenkeep vault replace-all --new-key-file new.key
        error: there is no terminal to ask on
        hint: --yes does it without asking
        [2]
        $ tokenkeep vault replace-all --yes
        error: there is no terminal to ask for a new passphrase on
        hint: --new-key-file FILE
        hint: --new-passphrase-file FILE
        [2]
        $ tokenkeep vault replace-all --yes --new-key-file .config/tokenkeep/vault.key
        error: this key opens the vault already: after a compromise it takes a new one
        hint: give another key file or passphrase
        [2]
        $ tokenkeep get name; echo
        v
        $ ls new.key 2> /dev/null
        [2]
    """)
    with Person(shell_with_vault, "vault", "replace-all", "--new-key-file", "new.key") as person:
        person.sees("end all its sessions? [y/N]")
        person.types("n\n")
        assert 4 == person.code()
    assert b"v" == shell_with_vault.tokenkeep("get", "name").out


def test_new_passphrase_from_a_file_is_what_the_configuration_names(
    shell_with_vault: Shell,
) -> None:
    """The next command opens the vault without being told how."""
    shell_with_vault.plays("""
        $ printf v | tokenkeep set name
        $ (umask 077; echo correct horse > phrase)
        $ tokenkeep vault replace-all --yes --new-passphrase-file phrase > said 2>&1
        $ tokenkeep get name; echo
        v
        $ cat .config/tokenkeep/config.toml
        store = "vault"
        passphrase_file = "~/phrase"
        $ tokenkeep vault replace-all --yes --new-passphrase-file phrase
        error: this key opens the vault already: after a compromise it takes a new one
        hint: give another key file or passphrase
        [2]
    """)


def test_new_passphrase_from_a_pipe_is_not_recorded(shell_with_vault: Shell) -> None:
    """The next command could not read it there: it is told, or asks."""
    shell_with_vault.plays("""
        $ printf v | tokenkeep set name
        $ (umask 077; echo correct horse > phrase; mkfifo pipe)
        $ (cat phrase > pipe &) && tokenkeep vault replace-all --yes --new-passphrase-file pipe
        ...
        pipe brought the passphrase to this command only, so that none is recorded
        hint: tokenkeep --passphrase-file FILE VERB
        ...
        $ cat .config/tokenkeep/config.toml
        store = "vault"
        $ tokenkeep --passphrase-file phrase get name; echo
        v
    """)


@pytest.mark.requires("kernel keyring")
def test_an_unlocked_vault_is_locked(shell_with_vault: Shell) -> None:
    """What was given under an old key opens nothing, and is taken back."""
    shell_with_vault.plays("""
        $ printf v | tokenkeep set name
        $ tokenkeep vault unlock 2> /dev/null
        $ tokenkeep vault replace-all --yes --new-key-file new.key 2>&1 | grep unlocked
        the vault was unlocked for a while and is locked now
        $ tokenkeep vault lock
        it was not unlocked
    """)


@pytest.mark.load
def test_killed_it_goes_on_when_it_is_called_again(shell_with_vault: Shell) -> None:
    """At any moment: the vault opens by the old key or the new one, and the same call ends it."""
    program = (
        "from tokenkeep import *; storage = SecureStorage('org.example.notes', VaultOptions());"
        "[storage.write(str(number), 'v') for number in range(600)]"
    )
    shell_with_vault.plays(f'$ python -c "{program}"')
    began, key = time.monotonic(), "key0"
    words = ("vault", "replace-all", "--yes", "--new-key-file")
    assert 0 == shell_with_vault.tokenkeep(*words, key).code
    took = time.monotonic() - began
    for number, part in enumerate((0.3, 0.5, 0.6, 0.7, 0.8, 0.9), 1):
        old, key = key, f"key{number}"
        process = shell_with_vault.start(*words, key)
        time.sleep(took * part)
        kill(process)
        opened = [
            shell_with_vault.tokenkeep("--key-file", each, "get", "599").out for each in (old, key)
        ]
        assert b"v" in opened
        answer = shell_with_vault.tokenkeep(*words, key)
        assert answer.code == 0 or "opens the vault already" in answer.err
        assert b"v" == shell_with_vault.tokenkeep("--key-file", key, "get", "599").out
        assert 7 == shell_with_vault.tokenkeep("--key-file", old, "get", "599").code
        assert 0 == shell_with_vault.tokenkeep("--key-file", key, "vault", "check").code
