"""Shells complete verbs and options, from the script that `completion` writes."""

from __future__ import annotations

import click
import pytest

from cli.person import Person
from cli.shell import Shell
from support.verbs import command_of, verbs

pytestmark = pytest.mark.requires("terminal")


#: How each shell is started without its own configuration, and told of the script.
SHELLS = {
    "bash": (("--norc", "--noprofile", "-i"), ". ./script"),
    "zsh": (("-f", "-i"), "autoload -U compinit; compinit -u -D; . ./script"),
    "fish": (("--no-config", "-i"), "source script"),
}


@pytest.mark.parametrize("name", SHELLS)
def test_every_common_shell_has_a_script(shell: Shell, name: str) -> None:
    """The script names the command and the variable by which it is asked."""
    answer = shell.tokenkeep("completion", name)
    assert 0 == answer.code
    assert b"_TOKENKEEP_COMPLETE" in answer.out


#: What is typed before the Tab key and after it, and what then is on the screen.
TYPED = [
    ("tokenkeep statu", " --help", "Usage: tokenkeep status"),
    ("tokenkeep vault add", " --help", "Usage: tokenkeep vault add-key"),
    ("tokenkeep token --min", " soon", "--min-ttl takes a number of seconds"),
    ("tokenkeep --store kernel", " --app '' list", "a service must not be empty"),
    (
        "tokenkeep login --client-secret-file my-se",
        "",
        "my-secret: the client secret file is empty",
    ),
    ("tokenkeep vault create --path a-dir", "", "a-directory"),
]


@pytest.mark.requires("shells")
@pytest.mark.parametrize("name", SHELLS)
def test_a_person_s_shell_completes_what_is_begun(shell: Shell, name: str) -> None:
    """Verbs, verbs below a group, options, stores, files and directories, by the Tab key."""
    words, tells = SHELLS[name]
    for variable, value in {"APP": "a", "ISSUER": "https://i.example", "CLIENT_ID": "c"}.items():
        shell.variables[f"TOKENKEEP_{variable}"] = value
    (shell.home / "script").write_bytes(shell.tokenkeep("completion", name).out)
    (shell.home / "my-secret").touch(0o600)
    (shell.home / "a-directory").mkdir()
    with Person(shell, *words, program=name) as person:
        person.types(f"{tells}; echo re''ady\r")
        person.sees("ready")
        for typed, rest, seen in TYPED:
            person.types(f"{typed}\t{rest}\r")
            person.sees(seen)


def test_an_unknown_shell_is_a_usage_error(shell: Shell) -> None:
    """The shells that there are, are named."""
    answer = shell.tokenkeep("completion", "tcsh")
    assert (2, b"") == (answer.code, answer.out)
    assert "'bash', 'zsh', 'fish'" in answer.err
    assert (
        "error: missing argument 'SHELL': choose from bash, zsh, fish\n"
        "hint: tokenkeep completion --help\n"
    ) == shell.tokenkeep("completion").err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tokenkeep l", {"list", "login", "logout"}),
        ("tokenkeep vault re", {"remove-key", "rekey", "replace-all", "reset"}),
        ("tokenkeep token --m", {"--min-ttl"}),
        ("tokenkeep --pass", {"--passphrase-file"}),
        ("tokenkeep --store v", {"vault"}),
        ("tokenkeep get --store ker", {"kernel-keyring"}),
        ("tokenkeep import store au", {"auto"}),
    ],
)
def test_what_is_begun_is_completed(shell: Shell, typed: str, offered: set[str]) -> None:
    """Verbs below groups and options of verbs are found too."""
    answer = shell.tokenkeep(
        _TOKENKEEP_COMPLETE="bash_complete",
        COMP_WORDS=typed,
        COMP_CWORD=str(typed.count(" ")),
    )
    assert 0 == answer.code
    assert offered == {line.partition(",")[2] for line in answer.out.decode().split()}


def test_every_option_that_takes_a_file_lets_the_shell_complete_it() -> None:
    """By its kind in the help: FILE, DIRECTORY, the DEVICE of a TPM; a STORE by its name."""
    kinds = {"FILE": "file", "DIRECTORY": "dir", "DEVICE": "file", "STORE": "plain"}
    seen = set()
    for verb in ("", *verbs()):
        context = click.Context(command_of(verb))
        for parameter in command_of(verb).params:
            is_argument = isinstance(parameter, click.Argument)
            shown = parameter.metavar or (str(parameter.name).upper() if is_argument else "")
            if shown in kinds:
                offered = {each.type for each in parameter.shell_complete(context, "")}
                assert {kinds[shown]} == offered, (verb, parameter.name)
                seen.add(shown)
    assert kinds.keys() == seen


def test_help_for_a_reader_who_leaves_is_no_error_message(shell: Shell) -> None:
    """A closed pipe is not worth a word."""
    shell.plays("$ tokenkeep --help | true")
