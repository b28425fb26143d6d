"""Items on the command line: what a person types, what comes back, which exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli.shell import Shell
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.cli.commands.set import keep
from tokenkeep.database_item import KEY_BYTES, SALT_BYTES, packed
from tokenkeep.errors import WriteConflict
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage

pytestmark = pytest.mark.requires("terminal")


def test_a_first_session_with_items(shell: Shell) -> None:
    """Create a vault, keep a value, read it, list it, delete it."""
    shell.plays(r"""
        $ tokenkeep vault create
        ~/.local/share/tokenkeep/vault
        its key: ~/.config/tokenkeep/vault.key
        whoever can read both can read every item
        $ cat ~/.config/tokenkeep/config.toml
        store = "vault"
        $ printf 's3cret\n' | tokenkeep --app org.example.notes set api_key
        $ tokenkeep --app org.example.notes get api_key | od -An -c
           s   3   c   r   e   t
        $ tokenkeep --app org.example.notes list
        api_key
        $ tokenkeep delete api_key --app org.example.notes
        $ tokenkeep delete api_key --app org.example.notes
        error: there is no item of this name
        hint: tokenkeep --app org.example.notes list
        [3]
        $ tokenkeep --app org.example.notes get api_key
        error: there is no item of this name
        hint: tokenkeep --app org.example.notes list
        [3]
        $ tokenkeep --app org.example.notes list
    """)


def test_nothing_falls_back_where_no_store_was_chosen(shell: Shell) -> None:
    """A machine without a chosen store is not given one; the hint is the one command to type."""
    shell.plays("""
        $ tokenkeep --app a get name
        error: no store qualifies
          ...
          vault: takes part only when VaultOptions ask for it (tokenkeep vault create)
          ...
          memory: keeps nothing after the process; ...
        hint: tokenkeep vault create
        [6]
        $ printf v | tokenkeep --app a set name
        error: no store qualifies
          ...
          vault: takes part only when VaultOptions ask for it (tokenkeep vault create)
          ...
          memory: keeps nothing after the process; ...
        hint: tokenkeep vault create
        [6]
        $ tokenkeep --app a --store vault get name
        error: there is no vault: ~/.local/share/tokenkeep/vault
        hint: tokenkeep vault create
        [6]
        $ tokenkeep --app a --store memory list
        error: unknown store 'memory'
        hint: --store takes auto, vault:PATH, ...
        [2]
        $ find ~/.local ~/.config -type f
    """)


def test_the_application_is_named_in_one_of_three_ways(shell: Shell) -> None:
    """Without an application nothing is read, and the three ways to name it are said."""
    shell.tokenkeep("vault", "create")
    shell.plays("""
        $ tokenkeep list
        error: no application is named
        hint: tokenkeep --app SERVICE ...
        hint: export TOKENKEEP_APP=SERVICE
        hint: write app = "SERVICE" in ~/.config/tokenkeep/config.toml
        [2]
        $ printf 1 | tokenkeep --app flag set name
        $ TOKENKEEP_APP=flag tokenkeep get name; echo
        1
        $ echo 'app = "flag"' >> ~/.config/tokenkeep/config.toml
        $ tokenkeep get name; echo
        1
        $ TOKENKEEP_APP=other tokenkeep list
        $ TOKENKEEP_APP=other tokenkeep --app flag list
        name
    """)


def test_two_applications_never_see_each_other(shell: Shell) -> None:
    """The same name in two applications is two items; clearing one leaves the other."""
    shell.tokenkeep("vault", "create")
    shell.plays("""
        $ printf one | tokenkeep --app org.one set name
        $ printf two | tokenkeep --app org.two set name
        $ printf three | tokenkeep --app org.two set other
        $ tokenkeep --app org.one get name; echo
        one
        $ tokenkeep --app org.one list
        name
        $ tokenkeep --app org.two clear --yes
        items erased: 2
        sessions ended: 0
        $ tokenkeep --app org.two list
        $ tokenkeep --app org.one get name; echo
        one
        $ tokenkeep --app Org.One list
    """)


def test_a_value_in_the_arguments_is_refused_and_not_repeated(shell_with_vault: Shell) -> None:
    """Arguments can be read by every user of the machine."""
    answer = shell_with_vault.tokenkeep("set", "name", "s3cret")
    assert (2, b"") == (answer.code, answer.out)
    assert "a value is never an argument" in answer.err
    assert "s3cret" not in answer.err
    assert b"" == shell_with_vault.tokenkeep("list").out


def test_clearing_asks_and_without_a_terminal_wants_yes(shell_with_vault: Shell) -> None:
    """What destroys everything needs a person's word, or the option that stands for it."""
    shell_with_vault.plays("""
        $ printf 1 | tokenkeep set name
        $ tokenkeep clear
        error: there is no terminal to ask on
        hint: --yes does it without asking
        [2]
        $ echo y | tokenkeep clear
        error: there is no terminal to ask on
        hint: --yes does it without asking
        [2]
        $ tokenkeep list
        name
    """)


@pytest.mark.parametrize(
    ("words", "given", "kept"),
    [
        ((), b"text\n", b"text"),
        ((), b"text\n\n", b"text\n"),
        ((), b"text\r\n", b"text\r"),
        ((), b"no end", b"no end"),
        ((), b"", b""),
        ((), b"\n", b""),
        (("--raw",), b"text\n", b"text\n"),
        (("--raw",), b"", b""),
        ((), bytes(range(256)), bytes(range(256))),
        (("--raw",), b"\xff\xfe\n\0", b"\xff\xfe\n\0"),
    ],
)
def test_one_trailing_newline_is_dropped_and_every_other_byte_kept(
    shell_with_vault: Shell, words: tuple[str, ...], given: bytes, kept: bytes
) -> None:
    """`echo value | tokenkeep set name` keeps the value; binary values come back as they were."""
    assert 0 == shell_with_vault.tokenkeep("set", "name", *words, stdin=given).code
    answer = shell_with_vault.tokenkeep("get", "name")
    assert (0, kept, "") == (answer.code, answer.out, answer.err)


@pytest.mark.parametrize(
    "name", ["with space", "söße/π", "-dash", "a\nb", "..", "UPPER", "upper", "\x1b[31m", "'\"$`"]
)
def test_odd_names_are_names(shell_with_vault: Shell, name: str) -> None:
    """Whatever a store takes as a name, the command takes too."""
    assert 0 == shell_with_vault.tokenkeep("set", "--", name, stdin=b"value").code
    assert b"value" == shell_with_vault.tokenkeep("get", "--", name).out
    assert [name] == json.loads(shell_with_vault.tokenkeep("list", "--json").out)
    assert f"{name}\n".encode() == shell_with_vault.tokenkeep("list").out
    assert 0 == shell_with_vault.tokenkeep("delete", "--", name).code


@pytest.mark.parametrize("verb", ["get", "set", "delete"])
@pytest.mark.parametrize(
    "name", ["", "n" * 10_000, "é" * 128, os.fsdecode(b"not \xff utf-8")], ids=repr
)
def test_what_cannot_be_a_name_is_said_and_not_repeated(
    shell_with_vault: Shell, verb: str, name: str
) -> None:
    """An empty, overlong or malformed name is an error of its own; nothing is kept."""
    answer = shell_with_vault.tokenkeep(verb, os.fsencode(name), stdin=b"value")
    assert (1, b"") == (answer.code, answer.out)
    assert answer.err.startswith("error: a name ")
    assert not name or name not in answer.err
    assert b"" == shell_with_vault.tokenkeep("list").out


def test_a_value_beyond_the_limit_is_refused_and_the_old_one_stays(
    shell_with_vault: Shell,
) -> None:
    """64 KiB are kept whole; one byte more changes nothing."""
    largest = os.urandom(65536)
    assert 0 == shell_with_vault.tokenkeep("set", "--raw", "name", stdin=largest).code
    assert 0 == shell_with_vault.tokenkeep("set", "n2", stdin=b"x" * 65536 + b"\n").code
    for much in (b"x" * 65537, b"x" * 70_000, b"x" * 10_000_000):
        answer = shell_with_vault.tokenkeep("set", "name", stdin=much)
        assert (1, b"") == (answer.code, answer.out)
        assert (
            "error: the value is too large: at most 65536 bytes are allowed\n"
            "hint: encrypt a file, and keep its key here\n"
        ) == answer.err
    assert largest == shell_with_vault.tokenkeep("get", "name").out


def test_the_key_of_a_database_is_not_replaced(shell_with_vault: Shell) -> None:
    """Without it the database never opens again; another name, or deleting it first, goes."""
    key = packed(Secret(bytes(KEY_BYTES)), bytes(SALT_BYTES), "/notes.db").reveal_bytes()
    assert 0 == shell_with_vault.tokenkeep("set", "--raw", "key", stdin=key).code
    for value in (b"s3cret", key[:-1] + b"x"):
        answer = shell_with_vault.tokenkeep("set", "--raw", "key", stdin=value)
        assert (1, b"") == (answer.code, answer.out)
        assert (
            "error: the item is the key of a database, which would never open again\n"
            "hint: choose another name, or tokenkeep delete NAME first\n"
        ) == answer.err
        assert key == shell_with_vault.tokenkeep("get", "key").out
    assert 0 == shell_with_vault.tokenkeep("set", "--raw", "key", stdin=key).code
    assert 0 == shell_with_vault.tokenkeep("set", "another", stdin=b"s3cret").code
    assert 0 == shell_with_vault.tokenkeep("delete", "key").code
    assert 0 == shell_with_vault.tokenkeep("set", "key", stdin=b"s3cret").code


class MemoryThatOthersWrite(MemoryStore):
    """In which somebody else writes an item right after it was read, once."""

    def __init__(self, theirs: Secret) -> None:
        super().__init__()
        self.theirs: Secret | None = theirs

    def read(self, name: ItemName, call: Call) -> Secret | None:
        found = super().read(name, call)
        theirs, self.theirs = self.theirs, None
        if theirs is not None:
            self.write(name, theirs, call)
        return found


def test_a_database_key_made_at_that_moment_is_not_replaced(tmp_path: Path) -> None:
    """`set` looks and writes in one step; of any other value the last writer's stays."""
    key = packed(Secret(bytes(KEY_BYTES)), bytes(SALT_BYTES), "/notes.db")
    for before in (None, "old"):
        storage = SecureStorage(
            "org.example.notes", store := MemoryThatOthersWrite(key), state_directory=str(tmp_path)
        )
        if before is not None:
            storage.write("key", before)
        with pytest.raises(WriteConflict, match="the key of a database"):
            keep(storage, "key", Secret("s3cret"))
        assert key == storage.read("key")
        store.theirs = Secret("theirs")
        keep(storage, "another", Secret("s3cret"))
        assert Secret("s3cret") == storage.read("another")


def test_what_is_set_is_this_installations_own(tmp_path: Path) -> None:
    """A check for a fresh install that was interrupted before does not erase it."""
    storage = SecureStorage("org.example.notes", MemoryStore(), state_directory=str(tmp_path))
    with storage.marker.hold(storage.clock, storage.call()):
        storage.marker.begin()
    for name in ("one", "one", "two"):
        keep(storage, name, Secret("s3cret"))
    assert ["three"] == storage.marker.left_over(["one", "two", "three"])


def test_options_stand_before_or_after_the_verb_and_the_later_one_wins(shell: Shell) -> None:
    """Where an option stands makes no difference."""
    shell.tokenkeep("vault", "create", "--path", "v", "--key-file", "k")
    place = ("--store", f"vault:{shell.home}/v")
    first = ("--app", "a", *place, "--key-file", "k")
    assert 0 == shell.tokenkeep(*first, "set", "name", stdin=b"1").code
    assert b"1" == shell.tokenkeep("get", "name", *first).out
    assert b"1" == shell.tokenkeep("--app=a", "get", "--key-file=k", *place, "name").out
    assert b"1" == shell.tokenkeep("--app", "b", "get", "name", *first).out


def test_a_damaged_configuration_is_an_error_and_stays_as_it_is(shell_with_vault: Shell) -> None:
    """Nothing is guessed where a person's choice cannot be read; the line is named."""
    file = shell_with_vault.home / ".config" / "tokenkeep" / "config.toml"
    for damaged in ('store = "vault\n', "store = 3\n", "\xff", "[[["):
        file.write_bytes(damaged.encode("latin-1"))
        for words in (("get", "name"), ("list",), ("token",), ("doctor",), ("vault", "create")):
            answer = shell_with_vault.tokenkeep(*words)
            assert (2, b"") == (answer.code, answer.out), (damaged, words, answer)
            assert answer.err.startswith(f"error: {file}")
        assert damaged.encode("latin-1") == file.read_bytes()


def test_a_passphrase_comes_from_a_file(shell: Shell) -> None:
    """A vault without a key file opens with the passphrase that a file holds."""
    shell.variables["TOKENKEEP_APP"] = "a"
    shell.plays("""
        $ (umask 077; echo correct horse > phrase; echo wrong > other)
        $ tokenkeep vault create --passphrase-file phrase
        ~/.local/share/tokenkeep/vault
        $ cat ~/.config/tokenkeep/config.toml
        store = "vault"
        passphrase_file = "~/phrase"
        $ printf v | tokenkeep set name
        $ tokenkeep get name; echo
        v
        $ tokenkeep --passphrase-file other get name
        error: none of the given keys opens this vault
        hint: give its passphrase
        [7]
        $ tokenkeep --passphrase-file missing get name
        error: missing: no such passphrase file
        hint: --passphrase-file FILE
        [6]
        $ tokenkeep --passphrase-file phrase --key-file k get name
        error: flags: both a key file and a passphrase file
        hint: give one of them
        [2]
        $ rm ~/.config/tokenkeep/config.toml
        $ tokenkeep --store vault get name
        error: the vault needs its passphrase, and there is no terminal to ask on
        hint: --passphrase-file FILE
        [4]
        $ TOKENKEEP_STORE=vault TOKENKEEP_PASSPHRASE_FILE=phrase tokenkeep get name; echo
        v
    """)


def test_a_user_without_a_home_is_told_so(shell: Shell) -> None:
    """Neither a configuration nor a vault of the directory we happen to run in is trusted."""
    trap = shell.home / "~" / ".config" / "tokenkeep"
    trap.mkdir(parents=True)
    (trap / "config.toml").write_text('store = "vault"\n')
    shell.plays("""
        $ unset XDG_CONFIG_HOME; HOME='~' tokenkeep --app a get name
        error: this user has no home directory to keep files in
        hint: export HOME=DIRECTORY
        [6]
    """)


def test_a_passphrase_comes_through_a_pipe(shell: Shell) -> None:
    """From a password manager that takes longer than a store may; with --timeout, as long as that.

    A pipe that nobody writes into ends by the same deadline, whichever secret it should bring.
    """
    shell.variables |= {"TOKENKEEP_APP": "a", "TOKENKEEP_CLIENT_ID": "c"}
    shell.variables["TOKENKEEP_ISSUER"] = "https://issuer.example"
    hint = "tokenkeep --timeout SECONDS VERB"  # behind `login` it is the person's time
    never = f"did not come to an end within 0.5 s\n        hint: {hint}\n        [4]"
    shell.plays(f"""
        $ (umask 077; echo correct horse > phrase; mkfifo pipe)
        $ tokenkeep vault create --passphrase-file phrase
        ~/.local/share/tokenkeep/vault
        $ printf v | tokenkeep set name
        $ (sleep 6; cat phrase) | tokenkeep --passphrase-file /dev/stdin get name; echo
        v
        $ (cat phrase > pipe &) && tokenkeep --passphrase-file pipe get name; echo
        v
        $ tokenkeep --passphrase-file pipe --timeout 0.5 get name
        error: pipe: the passphrase file {never}
        $ tokenkeep --passphrase-file pipe --timeout 0.5 list
        error: pipe: the passphrase file {never}
        $ tokenkeep --timeout 0.5 vault export file --export-passphrase-file pipe
        error: pipe: the export passphrase file {never}
        $ tokenkeep --timeout 0.5 vault add-key --tpm --tpm-pin-file pipe
        error: pipe: the tpm pin file {never}
        $ tokenkeep --timeout 0.5 login --client-secret-file pipe
        error: pipe: the client secret file {never}
        $ tokenkeep --timeout 0.5 login --client-secret-file pipe --timeout 300
        error: pipe: the client secret file {never}
        $ TOKENKEEP_TIMEOUT=0.5 tokenkeep login --client-secret-file pipe
        error: pipe: the client secret file {never}
    """)


def test_wrong_permissions_are_named_with_the_command_that_mends_them(
    shell_with_vault: Shell,
) -> None:
    """What other users could read is not used until somebody mends it."""
    shell_with_vault.plays("""
        $ printf v | tokenkeep set name
        $ chmod 644 ~/.config/tokenkeep/vault.key
        $ tokenkeep get name
        error: other users can reach ~/.config/tokenkeep/vault.key
        hint: chmod 600 ~/.config/tokenkeep/vault.key
        [4]
        $ chmod 600 ~/.config/tokenkeep/vault.key
        $ tokenkeep get name; echo
        v
        $ rm ~/.config/tokenkeep/vault.key
        $ tokenkeep get name
        error: the key file is not there: ~/.config/tokenkeep/vault.key
        hint: bring the key file back
        [6]
    """)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        ("mkdir v && chmod 700 v", 7),
        ("mkdir v && chmod 700 v && touch v/notes.txt", 7),
        ("touch v", 7),
        ("printf 'SQLite format 3' > v", 7),
        ("ln -s elsewhere v", 7),
        ("true", 6),
    ],
)
def test_what_is_no_vault_is_never_adopted(shell: Shell, make: str, code: int) -> None:
    """An empty or foreign thing at the vault's path is left as it is."""
    shell.variables |= {"TOKENKEEP_APP": "a", "TOKENKEEP_STORE": "vault:v"}
    shell.plays(f"$ (umask 022; {make}); ls -ld v > before 2>&1; ls -A v >> before 2>&1; true")
    for words in (("get", "name"), ("set", "name"), ("list",), ("token",), ("doctor",)):
        assert code == shell.tokenkeep(*words, stdin=b"value").code, words
    assert "hint: " in shell.tokenkeep("get", "name").err
    if code == 7:
        assert 7 == shell.tokenkeep("vault", "create").code
    shell.plays("$ ls -ld v > after 2>&1; ls -A v >> after 2>&1; diff before after")
