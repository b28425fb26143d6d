"""Shells complete verbs and options, from the script that `completion` writes."""

from __future__ import annotations

import shutil

import pytest

from cli.shell import Shell

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


def test_help_for_a_reader_who_leaves_is_no_error_message(shell: Shell) -> None:
    """A closed pipe is not worth a word."""
    shell.plays("$ tokenkeep --help | true")
