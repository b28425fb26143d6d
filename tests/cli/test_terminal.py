"""At a terminal: hidden questions, a newline to look at, a word before anything is destroyed."""

from __future__ import annotations

import time

import pytest

from cli.shell import Shell
from tokenkeep.database_item import KEY_BYTES, SALT_BYTES, packed
from tokenkeep.secret import Secret

pytestmark = pytest.mark.requires("terminal")
person = pytest.importorskip("cli.person", exc_type=ImportError)

SKIP = ("--existing", "skip")


def test_a_value_is_typed_twice_and_never_shown(shell_with_vault: Shell) -> None:
    """`set` on a terminal asks without echo; the screen never shows the value."""
    with person.Person(shell_with_vault, "set", "name") as typist:
        typist.sees("value: ")
        assert not typist.echoes()
        typist.types("s3cret\n")
        typist.sees("again: ")
        typist.types("s3cret\n")
        assert 0 == typist.code()
    assert "s3cret" not in typist.screen
    assert b"s3cret" == shell_with_vault.tokenkeep("get", "name").out


def test_two_entries_that_differ_keep_nothing(shell_with_vault: Shell) -> None:
    """A slip of the finger is found before it is kept."""
    with person.Person(shell_with_vault, "set", "name") as typist:
        typist.sees("value: ")
        typist.types("one\n")
        typist.sees("again: ")
        typist.types("two\n")
        assert 4 == typist.code()
    assert "the two entries differ" in typist.screen
    assert 3 == shell_with_vault.tokenkeep("get", "name").code


def test_a_name_that_cannot_be_is_said_before_anything_is_typed(shell_with_vault: Shell) -> None:
    """Nobody types a long secret for nothing."""
    with person.Person(shell_with_vault, "set", "n" * 300) as typist:
        assert 1 == typist.code()
    assert "value:" not in typist.screen


def test_a_database_s_key_is_said_before_anything_is_typed(shell_with_vault: Shell) -> None:
    """What is typed could not take its place."""
    key = packed(Secret(bytes(KEY_BYTES)), bytes(SALT_BYTES), "/notes.db").reveal_bytes()
    shell_with_vault.tokenkeep("set", "--raw", "key", stdin=key)
    with person.Person(shell_with_vault, "set", "key") as typist:
        assert 1 == typist.code()
    assert "value:" not in typist.screen


def test_a_newline_is_written_to_a_terminal_only(shell_with_vault: Shell) -> None:
    """A program gets the exact bytes; a person's prompt starts on a line of its own."""
    shell_with_vault.tokenkeep("set", "name", stdin=b"value")
    with person.Person(shell_with_vault, "get", "name") as reader:
        assert 0 == reader.code()
    assert "value\r\n" == reader.screen


def test_a_terminal_is_not_steered_by_a_name(shell_with_vault: Shell) -> None:
    """Control characters of a name are shown, not obeyed."""
    shell_with_vault.tokenkeep("set", "\x1b[31mred", stdin=b"value")
    with person.Person(shell_with_vault, "list") as reader:
        assert 0 == reader.code()
    assert "\\x1b[31mred\r\n" == reader.screen


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, b""), ("n", 4, b"name\n")])
def test_clearing_asks_a_person(
    shell_with_vault: Shell, answer: str, code: int, left: bytes
) -> None:
    """Only a yes erases."""
    shell_with_vault.tokenkeep("set", "name", stdin=b"value")
    with person.Person(shell_with_vault, "clear") as owner:
        owner.sees("erase every item and session of org.example.notes? [y/N] ")
        owner.types(f"{answer}\n")
        assert code == owner.code()
    assert left == shell_with_vault.tokenkeep("list").out


def test_a_passphrase_asked_for_goes_before_a_configured_key(shell: Shell) -> None:
    """A flag wins over `config.toml`, which chooses the new vault and its passphrase then."""
    file = shell.home / ".config" / "tokenkeep" / "config.toml"
    file.parent.mkdir(parents=True)
    for entry in ('key_file = "key"\n', 'passphrase_file = "phrase"\n'):
        file.write_text(entry)
        with person.Person(shell, "vault", "create", "--path", entry[0], "--passphrase") as owner:
            for question in ("passphrase: ", "again: "):
                owner.sees(question)
                owner.types("correct horse\n")
            assert 0 == owner.code(), owner.screen
        assert f'store = "vault:{shell.home}/{entry[0]}"\n' == file.read_text()
    answer = shell.tokenkeep("vault", "create", "--path", "x", "--passphrase", "--key-file", "k")
    assert (2, "error: both a key file and a passphrase") == (
        answer.code,
        answer.err.splitlines()[0],
    )


def test_a_passphrase_is_asked_for_and_thinking_it_over_costs_nothing(shell: Shell) -> None:
    """A vault under a passphrase opens for a person; the store's deadline is not the person's."""
    shell.variables["TOKENKEEP_APP"] = "a"
    (shell.home / "of-export").write_text("another")
    (shell.home / "of-export").chmod(0o600)
    with person.Person(shell, "vault", "create", "--passphrase") as owner:
        for question in ("passphrase: ", "again: "):
            owner.sees(question)
            owner.types("correct horse\n")
        assert 0 == owner.code()
    for words, written in (
        (("set", "name"), b""),
        (("get", "name"), b"value"),
        (("vault", "rekey", "--root"), b""),
        (("vault", "check"), b"items that open: 1"),
        (("vault", "export", "file", "--export-passphrase-file", "of-export"), b""),
        (("vault", "import", "file", "--export-passphrase-file", "of-export", *SKIP), b"stayed: 1"),
    ):
        with person.Person(shell, "--timeout", "0.2", *words) as owner:
            owner.sees("passphrase of the vault: ")
            assert not owner.echoes()
            time.sleep(0.5)
            owner.types("correct horse\n")
            if words[0] == "set":
                owner.sees("value: ")
                owner.types("value\n")
                owner.sees("again: ")
                owner.types("value\n")
            assert 0 == owner.code(), owner.screen
        assert written.decode() in owner.screen
        assert 1 == owner.screen.count("passphrase of the vault"), "asked once"
        assert "passphrase of the vault: \r\n" in owner.screen, "nothing is drawn over the question"
        assert "correct" not in owner.screen
    with person.Person(shell, "get", "name") as stranger:
        stranger.sees("passphrase of the vault: ")
        stranger.types("wrong\n")
        assert 7 == stranger.code()


def test_ctrl_c_leaves_the_terminal_as_it_was(shell_with_vault: Shell) -> None:
    """An interrupted question ends with 130, keeps nothing, and the echo is back."""
    with person.Person(shell_with_vault, "set", "name") as typist:
        typist.sees("value: ")
        assert not typist.echoes()
        typist.types("half\x03")
        typist.sees("\n")
        assert 130 == typist.process.wait(20)
        assert typist.echoes()
    assert "half" not in typist.screen
    assert "Traceback" not in typist.screen
    assert 3 == shell_with_vault.tokenkeep("get", "name").code


def test_bytes_that_are_no_text_are_taken_as_they_are(shell: Shell) -> None:
    """A value may be anything; a passphrase of them is wrong, and no traceback shows them."""
    shell.variables["TOKENKEEP_APP"] = "a"
    with person.Person(shell, "vault", "create", "--passphrase") as owner:
        for question in ("passphrase: ", "again: "):
            owner.sees(question)
            owner.types("correct horse\n")
        assert 0 == owner.code()
    with person.Person(shell, "set", "name") as owner:
        owner.sees("passphrase of the vault: ")
        owner.types("correct horse\n")
        for question in ("value: ", "again: "):
            owner.sees(question)
            owner.types(b"s3cret \xff\xfe\n")
        assert 0 == owner.code()
    for typed, code in ((b"s3cret \xff\xfe\n", 7), (b"correct horse\n", 0)):
        with person.Person(shell, "get", "name", TOKENKEEP_DEBUG="1") as reader:
            reader.sees("passphrase of the vault: ")
            reader.types(typed)
            assert code == reader.code()
        assert (code == 0) == ("s3cret" in reader.screen)


def test_removing_a_key_asks_a_person(shell_with_vault: Shell) -> None:
    """One way less into the vault is a person's decision."""
    added = shell_with_vault.tokenkeep("vault", "add-key", "--new-key-file", "second")
    slot = added.out.decode().strip()
    with person.Person(shell_with_vault, "vault", "remove-key", slot) as owner:
        owner.sees(f"remove key {slot} from ")
        owner.types("n\n")
        assert 4 == owner.code()
    assert slot in shell_with_vault.tokenkeep("vault", "check").out.decode()
    with person.Person(shell_with_vault, "vault", "remove-key", slot) as owner:
        owner.sees("[y/N] ")
        owner.types("yes\n")
        assert 0 == owner.code()
    assert slot not in shell_with_vault.tokenkeep("vault", "check").out.decode()
