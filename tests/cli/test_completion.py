"""Shells complete verbs and options, from the script that `completion` writes."""

from __future__ import annotations

import shutil

import click
import pytest

from cli.shell import Shell
from support.verbs import command_of, verbs

pytestmark = pytest.mark.requires("terminal")


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_every_common_shell_has_a_script(shell: Shell, shell_name: str) -> None:
    """The script names the command and the variable by which it is asked."""
    answer = shell.tokenkeep("completion", shell_name)
    assert 0 == answer.code
    assert b"_TOKENKEEP_COMPLETE" in answer.out
    if shutil.which(shell_name) is not None:
        shell.plays(f"$ tokenkeep completion {shell_name} > script && {shell_name} -n script")


def test_an_unknown_shell_is_a_usage_error(shell: Shell) -> None:
    """The shells that there are, are named."""
    answer = shell.tokenkeep("completion", "tcsh")
    assert (2, b"") == (answer.code, answer.out)
    assert "'bash', 'zsh', 'fish'" in answer.err


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
