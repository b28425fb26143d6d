"""Every option has a twin in the environment that works, or is one of a few that say why not."""

from __future__ import annotations

import json
import re
from typing import Any

import click
import pytest

from cli.conftest import Server, StartServer
from cli.shell import Shell
from support.driven_browser import BROWSER
from support.services import REPOSITORY
from support.verbs import command_of, options_of, verbs
from tokenkeep import KeyFile, SecureStorage, TokenStorage, VaultOptions
from tokenkeep.cli.settings import Settings
from tokenkeep.session.stored import provider_of

PAGE = (REPOSITORY / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
#: What all verbs take, on either side of them; `Settings` reads their variables.
EVERYWHERE = {"app", "store", "key_file", "passphrase_file", "timeout", "json", "account"}
OPTIONS = [(verb, option) for verb in ("", *verbs()) for option in options_of(verb)]
OWN = [
    (verb, option)
    for verb, option in OPTIONS
    if option.envvar is not None and option.name not in EVERYWHERE
]
NAMED = [f"{verb} {option.opts[0]}" for verb, option in OWN]


def test_an_option_without_a_variable_is_on_the_short_list() -> None:
    """With its reason; and what is on the list has none."""
    (listed,) = re.findall(
        r"^### Options without a variable\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL
    )
    without = {
        option.opts[0]
        for _verb, option in OPTIONS
        if option.envvar is None and option.name not in EVERYWHERE
    }
    assert without | {"--help"} == set(re.findall(r"`(--[a-z-]+)`", listed))
    assert len(without) < 17
    assert len(OWN) > 60


def test_every_variable_has_the_name_that_the_page_gives_it() -> None:
    """One of the table, or the rule's: the verb and the option."""
    listed = dict(re.findall(r"^\| `(TOKENKEEP_[A-Z_]+)` \| `([^`]+)` \|", PAGE, re.MULTILINE))
    assert EVERYWHERE <= {name.removeprefix("TOKENKEEP_").lower() for name in listed}
    for verb, option in OWN:
        flag = option.opts[0]
        by_rule = f"tokenkeep {verb} {flag[2:]}".replace(" ", "_").replace("-", "_").upper()
        if option.envvar != by_rule:
            assert listed[str(option.envvar)] == flag, (verb, flag)
        elif by_rule in listed:
            assert listed[by_rule] == f"{verb} {flag}"


@pytest.mark.parametrize(("verb", "option"), OWN, ids=NAMED)
def test_a_variable_says_what_the_flag_says(
    verb: str, option: click.Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same value, several of them too; a flag wins; empty is not set."""
    default = _parsed(verb, option)
    for values in _values(option):
        by_flag = _parsed(verb, option, *_words(option, values))
        assert by_flag != default
        monkeypatch.setenv(str(option.envvar), _variable(option, values))
        assert by_flag == _parsed(verb, option)
    first, second, _several = _values(option)
    expected = _parsed(verb, option, *_words(option, first))
    monkeypatch.setenv(str(option.envvar), _variable(option, second))
    assert expected == _parsed(verb, option, *_words(option, first))
    monkeypatch.setenv(str(option.envvar), "")
    assert default == _parsed(verb, option)


def _values(option: click.Option) -> tuple[list[str], list[str], list[str]]:
    """Two values, and several where several can be given; none of what takes none."""
    if option.is_flag:
        return [], [], []
    return ["7"], ["8"], ["7", "8"] if option.multiple else ["9"]


def _words(option: click.Option, values: list[str]) -> list[str]:
    flag = option.opts[0]
    return [word for value in values for word in (flag, value)] or [flag]


def _variable(option: click.Option, values: list[str]) -> str:
    return (option.type.envvar_list_splitter or " ").join(values) or "1"


def _parsed(verb: str, option: click.Option, *words: str) -> Any:
    command = command_of(verb)
    needed = ["x" for each in command.params if isinstance(each, click.Argument) and each.required]
    with command.make_context(verb, [*words, *needed], obj=Settings({})) as context:
        return context.params[str(option.name)]


@pytest.mark.parametrize("name", sorted(EVERYWHERE))
def test_what_every_verb_takes_may_stand_in_the_environment(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command goes by is the same, whichever way it was said; a flag wins."""

    def seen(settings: Settings) -> object:
        match name:
            case "timeout" | "account":
                return getattr(settings, name)
            case "json":
                return settings.wants_json
            case _:
                return getattr(settings.config, name)

    value, other = {"timeout": ("7", "8"), "json": ("1", "0"), "store": ("vault", "auto")}.get(
        name, ("one", "two")
    )
    by_flag = seen(Settings({name: value}))
    assert by_flag != seen(Settings({}))
    monkeypatch.setenv(f"TOKENKEEP_{name.upper()}", value)
    assert by_flag == seen(Settings({}))
    assert by_flag != seen(Settings({name: other}))
    monkeypatch.setenv(f"TOKENKEEP_{name.upper()}", "")
    assert by_flag != seen(Settings({}))


@pytest.mark.requires("terminal")
def test_a_whole_session_is_said_in_the_environment(
    shell_with_vault: Shell, start_server: StartServer
) -> None:
    """As a container says it: no option on any command line."""
    shell, server = shell_with_vault, start_server()
    shell.variables |= {
        "TOKENKEEP_ISSUER": server.issuer,
        "TOKENKEEP_CLIENT_ID": "notes",
        "TOKENKEEP_SCOPE": "openid offline_access email",
        "TOKENKEEP_REPLAY_WINDOW": "45",
        "TOKENKEEP_JSON": "1",
    }
    answer = shell.tokenkeep("login", BROWSER=BROWSER)
    assert 0 == answer.code, answer.err
    assert "alice" == json.loads(answer.out)["subject"]
    asked = [each for each in server.admin.requests() if each["endpoint"] == "authorize"]
    assert {"openid offline_access email"} == {each["parameters"]["scope"] for each in asked}
    assert "active" == json.loads(shell.tokenkeep("status").out)["state"]
    assert 45.0 == _replay_window(shell)
    assert 2 == shell.tokenkeep("status", TOKENKEEP_TIMEOUT="soon").code
    _signs_in_on_another_device(shell, server)


def _replay_window(shell: Shell) -> float:
    options = VaultOptions(
        shell.home / ".local" / "share" / "tokenkeep" / "vault",
        KeyFile(shell.home / ".config" / "tokenkeep" / "vault.key"),
    )
    with SecureStorage("org.example.notes", options) as storage:
        record = TokenStorage(storage).kept.stored()
        assert record is not None
        return provider_of(record).replay_window


def _signs_in_on_another_device(shell: Shell, server: Server) -> None:
    variables = {"TOKENKEEP_LOGIN_DEVICE": "1", "TOKENKEEP_LOGIN_TIMEOUT": "1"}
    answer = shell.tokenkeep("login", **variables)
    assert 1 == answer.code
    assert f"open   {server.issuer}/activate\n" in answer.err
    assert "within 1 s\n" in answer.err
    assert "error: nobody approved the login in time\n" in answer.err
