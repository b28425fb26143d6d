"""The vault's verbs: keys added and removed, everything encrypted anew, moved, checked."""

from __future__ import annotations

import json
import os
import sqlite3

import pytest

from cli.conftest import Server
from cli.shell import Shell, tree_of

pytestmark = pytest.mark.requires("terminal")


def vault_of(shell: Shell) -> str:
    return str(shell.home / ".local" / "share" / "tokenkeep" / "vault")


def test_keys_come_and_go(shell_with_vault: Shell) -> None:
    """A second key opens the vault; removed and rekeyed, it does not open it any more."""
    shell_with_vault.plays("""
        $ (umask 077; echo on paper > phrase)
        $ printf v | tokenkeep set name
        $ tokenkeep vault add-key --new-passphrase-file phrase --label paper > slot
        $ tokenkeep vault check | sort -t: -k2
        vault: ~/.local/share/tokenkeep/vault
        kept in quarantine: 0
        items that open: 1
        key ...: key-file
        key ...: passphrase (paper)
        $ tokenkeep --passphrase-file phrase get name; echo
        v
        $ tokenkeep vault rekey
        items encrypted anew: 1
        $ tokenkeep vault rekey --root
        error: a new root key needs every key that shall go on opening the vault; missing: ...
        hint: give all of them, or remove those keys first: tokenkeep vault remove-key
        [6]
        $ tokenkeep vault rekey --root --with-passphrase-file phrase
        items encrypted anew: 1
        $ tokenkeep --passphrase-file phrase get name; echo
        v
        $ tokenkeep vault remove-key $(cat slot)
        error: there is no terminal to ask on
        hint: --yes does it without asking
        [2]
        $ tokenkeep vault remove-key --rekey --yes $(cat slot)
        items encrypted anew: 1
        $ tokenkeep --passphrase-file phrase get name
        error: none of the given keys opens this vault
        hint: give its key-file
        [7]
        $ tokenkeep get name; echo
        v
        $ tokenkeep vault add-key --new-key-file second > slot2
        $ tokenkeep vault remove-key --yes $(cat slot2)
        its holder may know the root key: `remove-key --rekey` would have replaced it
        $ tokenkeep vault remove-key --yes 00000000
        error: the vault has no key 00000000
        hint: tokenkeep vault check
        [2]
        $ tokenkeep vault remove-key --yes paper
        error: a key's id has hexadecimal digits
        hint: tokenkeep vault check
        [2]
        $ tokenkeep vault add-key
        error: there is no terminal to ask for a passphrase on
        hint: --new-key-file FILE
        hint: --new-passphrase-file FILE
        [2]
    """)


def test_a_vault_in_the_home_directory_is_named_with_a_tilde(shell: Shell) -> None:
    """Where a shell leaves it alone, behind `vault:`, by flag and by variable."""
    shell.variables |= {"TOKENKEEP_APP": "a", "TOKENKEEP_STORE": "vault:~/new/v"}
    made = shell.tokenkeep("vault", "create", "--store", "vault:~/new/v")
    assert (0, f"{shell.home}/new/v\n") == (made.code, made.out.decode())
    assert 0 == shell.tokenkeep("set", "name", stdin=b"v").code
    assert b"v" == shell.tokenkeep("get", "name").out
    assert not (shell.home / "~").exists()


@pytest.mark.parametrize(
    ("before", "path"),
    [
        ("cat phrase |", "/dev/stdin"),
        ("< phrase", "/dev/stdin"),
        ("< phrase", "/dev/fd/0"),
        ("< phrase", "/proc/self/fd/0"),
        ("(cat phrase > pipe &);", "pipe"),
    ],
)
def test_passphrase_from_a_pipe_is_not_recorded(shell: Shell, before: str, path: str) -> None:
    """The next command could not read it there: it is told, or asks. What was recorded goes, too.

    A name for what this process has open is no better, whatever lies behind it.
    """
    shell.plays(f"""
        $ (umask 077; echo correct horse > phrase; mkfifo pipe; mkdir -p .config/tokenkeep)
        $ echo 'passphrase_file = "old"' > .config/tokenkeep/config.toml
        $ {before} tokenkeep vault create --passphrase-file {path}
        ~/.local/share/tokenkeep/vault
        {path} brought the passphrase to this command only, so that none is recorded
        hint: tokenkeep --passphrase-file FILE VERB
        $ cat .config/tokenkeep/config.toml
        store = "vault"
        $ tokenkeep --app a get name
        error: the vault needs its passphrase, and there is no terminal to ask on
        hint: --passphrase-file FILE
        [4]
        $ printf v | tokenkeep --app a --passphrase-file phrase set name
        $ (cat phrase > pipe &); tokenkeep --app a --passphrase-file pipe get name; echo
        v
    """)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("add-key", "--new-passphrase-file"),
        ("rekey", "--with-passphrase-file"),
        ("export all", "--export-passphrase-file"),
        ("import all", "--export-passphrase-file"),
    ],
)
def test_missing_passphrase_file_is_asked_for_by_the_option_that_named_it(
    shell_with_vault: Shell, command: str, option: str
) -> None:
    """The hint can be followed: another option of the same kind means another passphrase."""
    what = option.removeprefix("--").replace("-", " ")
    shell_with_vault.plays(f"""
        $ tokenkeep vault {command} {option} none
        error: none: no such {what}
        hint: {option} FILE
        [6]
    """)


def test_items_move_to_another_vault_and_sessions_do_not(
    signed_in: tuple[Shell, Server],
) -> None:
    """An export holds every application's items, and no refresh token that would live twice."""
    shell, _server = signed_in
    shell.plays("""
        $ (umask 077; echo on paper > phrase; echo other > wrong)
        $ printf v | tokenkeep set name
        $ printf w | tokenkeep --app org.other set name
        $ tokenkeep vault export all --export-passphrase-file phrase
        items exported: 2
        $ stat -c %a all
        600
        $ tokenkeep vault export all --export-passphrase-file phrase
        error: there is a file already: ~/all
        hint: choose another path
        [2]
        $ tokenkeep vault export one --only org.other --export-passphrase-file phrase
        items exported: 1
        $ tokenkeep vault export none --only org.othre --export-passphrase-file phrase
        error: there are no items of org.othre: nothing was written
        hint: tokenkeep --app org.othre list
        [3]
        $ ls none 2>/dev/null
        [2]
        $ tokenkeep vault create --path new --key-file new.key
        ~/new
        its key: ~/new.key
        whoever can read both can read every item
        ~/.config/tokenkeep/config.toml still chooses vault
        hint: tokenkeep --store vault:~/new uses the new one
    """)
    shell.variables |= {
        "TOKENKEEP_STORE": "vault:new",
        "TOKENKEEP_KEY_FILE": "new.key",
        "TOKENKEEP_EXPORT_PASSPHRASE_FILE": "phrase",
    }
    shell.plays("""
        $ tokenkeep vault import all --export-passphrase-file wrong
        error: the passphrase does not open this export
        hint: give the right one
        [7]
        $ tokenkeep vault import all
        items imported: 2
        $ tokenkeep --app org.other get name; echo
        w
        $ tokenkeep accounts
        $ tokenkeep vault import one
        error: an item of the export is in the vault already
        hint: skip or replace existing items
        [1]
        $ tokenkeep vault import one --existing skip
        items imported: 0
        items that were there already and stayed: 1
        $ tokenkeep vault import phrase
        error: this is not a tokenkeep export
        hint: give the file of an export
        [7]
        $ tokenkeep vault import missing
        error: cannot use the export: No such file or directory
        hint: check the path
        [6]
        $ TOKENKEEP_EXPORT_PASSPHRASE_FILE= tokenkeep vault export x
        error: there is no terminal to ask on
        hint: --export-passphrase-file FILE
        [4]
        $ TOKENKEEP_EXPORT_PASSPHRASE_FILE= tokenkeep vault import all
        error: there is no terminal to ask on
        hint: --export-passphrase-file FILE
        [4]
    """)


def test_a_vault_is_made_once(shell: Shell) -> None:
    """A second `create` changes nothing; a key of another vault is not used for a new one."""
    shell.plays("""
        $ tokenkeep vault create
        ~/.local/share/tokenkeep/vault
        its key: ~/.config/tokenkeep/vault.key
        whoever can read both can read every item
        $ tokenkeep vault create
        error: there is a vault already: ~/.local/share/tokenkeep/vault
        hint: --store vault uses it, --path and --key-file make another
        [2]
        $ tokenkeep vault create --path "$UNSET" --key-file another
        error: --path names no directory
        hint: --path DIRECTORY
        [2]
        $ tokenkeep vault create --path second
        error: the key file belongs to another vault: ~/.config/tokenkeep/vault.key
        hint: give the vault's own path, or another key file
        [6]
        $ tokenkeep vault new-key key
        ~/key
        $ tokenkeep vault new-key key
        error: there is a file already: ~/key
        hint: choose another path for the new key
        [2]
        $ tokenkeep vault create --path second --key-file key
        ~/second
        its key: ~/key
        ...
        ~/.config/tokenkeep/config.toml still chooses vault
        hint: tokenkeep --store vault:~/second uses the new one
        $ tokenkeep vault create --path third --key-file key --passphrase
        error: both a key file and a passphrase
        hint: tokenkeep vault add-key adds a second one
        [2]
        $ tokenkeep vault upgrade
        format 1, nothing to do
        $ mv .local/share/tokenkeep/vault aside
        $ tokenkeep --app a get name
        error: the vault is gone: ~/.local/share/tokenkeep/vault
        hint: ...
        [6]
        $ mv aside .local/share/tokenkeep/vault
        $ tokenkeep --app a list
    """)


def test_a_chosen_place_is_remembered(shell: Shell) -> None:
    """`create --path --key-file` records both, so that the next command needs neither."""
    shell.plays("""
        $ tokenkeep vault create --path here --key-file there
        ~/here
        its key: ~/there
        whoever can read both can read every item
        $ cat ~/.config/tokenkeep/config.toml
        store = "vault:~/here"
        key_file = "~/there"
        $ cd / && printf v | tokenkeep --app a set name && tokenkeep --app a get name; echo
        v
    """)


def test_a_check_finds_what_is_damaged_and_changes_nothing(shell_with_vault: Shell) -> None:
    """One damaged item is named by its place; the others open; exit 7."""
    shell = shell_with_vault
    for name in ("one", "two"):
        shell.tokenkeep("set", name, stdin=b"value")
    assert 0 == shell.tokenkeep("vault", "check").code
    with sqlite3.connect(os.path.join(vault_of(shell), "vault.db")) as database:
        (envelope,) = database.execute("SELECT min(envelope) FROM item").fetchone()
        harmed = envelope[:-1] + bytes([envelope[-1] ^ 1])
        database.execute("UPDATE item SET envelope = ? WHERE envelope = ?", (harmed, envelope))
    database.close()
    answer = shell.tokenkeep("vault", "check", "--json")
    report = json.loads(answer.out)
    assert (7, 1, 1) == (answer.code, report["items"], len(report["findings"]))
    (finding,) = report["findings"]
    assert "secret-damaged" == finding["code"]
    damaged, other = finding["name"], {"one": "two", "two": "one"}[finding["name"]]
    assert 7 == shell.tokenkeep("get", damaged).code
    assert b"value" == shell.tokenkeep("get", other).out
    before = tree_of(shell.home / ".local")
    assert 7 == shell.tokenkeep("vault", "check").code
    assert 7 == shell.tokenkeep("doctor").code
    after = tree_of(shell.home / ".local")
    assert without_index(before) == without_index(after)
    assert 7 == shell.tokenkeep("vault", "rekey").code
    assert 0 == shell.tokenkeep("set", damaged, stdin=b"anew").code
    assert b"anew" == shell.tokenkeep("get", damaged).out
    assert 0 == shell.tokenkeep("vault", "check").code


@pytest.mark.parametrize("file", ["header", "vault.db"])
@pytest.mark.parametrize("harm", ["empty", "cut", "noise"])
def test_a_damaged_vault_is_reported_and_left_alone(
    shell_with_vault: Shell, file: str, harm: str
) -> None:
    """A header or database that is empty, cut off or noise: exit 7, a hint, nothing lost."""
    shell = shell_with_vault
    shell.tokenkeep("set", "name", stdin=b"value")
    with sqlite3.connect(os.path.join(vault_of(shell), "vault.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    path = os.path.join(vault_of(shell), file)
    with open(path, "rb") as opened:
        good = opened.read()
    bad = {"empty": b"", "cut": good[: len(good) // 2], "noise": os.urandom(len(good))}[harm]
    with open(path, "wb") as opened:
        opened.write(bad)
    for words in (
        ("get", "name"),
        ("set", "name"),
        ("list",),
        ("token",),
        ("doctor",),
        ("vault", "check"),
        ("vault", "rekey"),
        ("vault", "create"),
    ):
        answer = shell.tokenkeep(*words, stdin=b"other")
        # The database is not opened for it, only looked at.
        is_there = words == ("vault", "create") and file == "vault.db" and harm != "empty"
        assert (2 if is_there else 7) == answer.code, (words, answer)
        assert "hint: " in answer.err
        assert words != ("vault", "check") or "hint: tokenkeep vault check" not in answer.err
        assert b"value" not in answer.out
        assert "Traceback" not in answer.err
    with open(path, "rb") as opened:
        assert bad == opened.read()
    with open(path, "wb") as opened:
        opened.write(good)
    assert b"value" == shell.tokenkeep("get", "name").out


def without_index(tree: dict[str, tuple[int, bytes]]) -> dict[str, tuple[int, bytes]]:
    """Without SQLite's index of the log, which holds readers' marks and is rebuilt at will."""
    return {path: found for path, found in tree.items() if not path.endswith("-shm")}


@pytest.mark.requires("POSIX paths")
def test_a_label_that_is_no_text_is_refused(shell_with_vault: Shell) -> None:
    """Before anything is made for it."""
    words = ("vault", "add-key", "--label", b"\xff", "--new-key-file", "key")
    answer = shell_with_vault.tokenkeep(*words)
    said = "error: a label must not contain lone surrogates\nhint: choose another one\n"
    assert (1, b"", said) == (
        answer.code,
        answer.out,
        answer.err,
    )
    assert not (shell_with_vault.home / "key").exists()


@pytest.mark.requires("POSIX paths")
def test_a_directory_that_is_gone_is_said_to_be(shell_with_vault: Shell) -> None:
    """Where somebody removed what relative paths start at, whole paths go on."""
    shell_with_vault.plays("""
        $ mkdir here && cd here && rmdir ../here && tokenkeep vault create --path new --key-file key
        ...
        error: the current directory is gone
        hint: cd DIRECTORY
        [1]
        $ mkdir here && cd here && rmdir ../here && tokenkeep list
        ...
    """)


def test_reset_sets_a_lost_vault_aside(shell_with_vault: Shell) -> None:
    """Asked or told to; what opens is left alone; nothing is deleted; a new vault can be made."""
    shell_with_vault.plays("""
        $ tokenkeep vault reset --yes
        error: the vault opens, so there is nothing to reset
        hint: tokenkeep --app SERVICE clear erases an application's items
        [2]
        $ printf phrase > phrase; chmod 600 phrase
        $ tokenkeep --store vault:none --passphrase-file phrase vault reset --yes
        error: there is no vault: ~/none
        hint: tokenkeep vault create
        [6]
        $ rm ~/.config/tokenkeep/vault.key
        $ tokenkeep doctor | tail -n 2
        hint: bring the key file back
        hint: if the key is lost for good: tokenkeep vault reset, or storage.reset() in Python
        state: unavailable
        problem: ...
        $ tokenkeep vault reset --yes
        ~/.local/share/tokenkeep/vault.set-aside-...
        hint: tokenkeep vault create
        $ ls ~/.local/share/tokenkeep/vault.set-aside-*/header | wc -l
        1
        $ tokenkeep vault create
        ...
        $ tokenkeep --app a list
    """)


def test_imported_items_are_this_installation_s(shell_with_vault: Shell) -> None:
    """While a fresh-install check is not through, the command says so where applications do."""
    shell_with_vault.plays("""
        $ (umask 077; echo on paper > phrase)
        $ printf v | tokenkeep set name
        $ tokenkeep vault export all --export-passphrase-file phrase
        items exported: 1
        $ tokenkeep delete name
        $ mkdir -p ~/.local/state/tokenkeep/$TOKENKEEP_APP
        $ echo begun > ~/.local/state/tokenkeep/$TOKENKEEP_APP/installed
        $ tokenkeep vault import all --export-passphrase-file phrase
        items imported: 1
        $ grep -c '^+' ~/.local/state/tokenkeep/$TOKENKEEP_APP/installed
        1
    """)
