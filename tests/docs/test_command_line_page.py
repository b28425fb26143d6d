"""docs/reference/cli.md has every verb with every option, and nothing that is not there."""

from __future__ import annotations

import re
from importlib import import_module

import click
import pytest

from support.services import REPOSITORY
from support.verbs import GROUPS, command_of, options_of, verbs
from tokenkeep.cli import exits
from tokenkeep.cli.commands.vault.opening import PATIENCE_SECONDS
from tokenkeep.cli.settings import DEFAULT_TIMEOUT
from tokenkeep.cli.tree import root
from tokenkeep.migrate.source import Source
from tokenkeep.select import store_names

PAGE = (REPOSITORY / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
#: verb -> the text below its heading.
SECTIONS = dict(
    re.findall(r"^### `([a-z -]+)`.*?\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
)
EVERYWHERE = {"--help"}


def names_of(verb: str) -> set[str]:
    return {
        name
        for option in options_of(verb)
        for name in (*option.opts, *option.secondary_opts)
        if name.startswith("--")
    }


GLOBAL = names_of("")
VERBS = list(verbs())


def test_the_page_has_every_verb_and_no_other() -> None:
    """No verb is undocumented; no documented verb is gone."""
    assert sorted(VERBS) == sorted(SECTIONS)


def test_every_global_option_is_described() -> None:
    """What is accepted before every verb stands in one table."""
    table = PAGE.partition("\n## ")[0]
    assert len(GLOBAL) > 4
    assert [] == [option for option in sorted(GLOBAL) if f"| `{option}" not in table]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_described_with_every_option_of_its_own(verb: str) -> None:
    """Each option of the command is in the verb's section, and no option that it has not."""
    own = names_of(verb) - GLOBAL - EVERYWHERE
    described = set(re.findall(r"--[a-z][a-z-]*", SECTIONS[verb]))
    assert own <= described
    assert described <= names_of(verb) | GLOBAL | EVERYWHERE


def test_every_group_of_verbs_is_known() -> None:
    """The verbs of a group are looked at one by one."""
    names = root.list_commands(click.Context(root))
    assert list(GROUPS) == [name for name in names if isinstance(command_of(name), click.Group)]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_explains_itself(verb: str) -> None:
    """`--help` says what a verb does and what each of its options means."""
    command = command_of(verb)
    assert command.help
    assert [] == [
        parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden and not parameter.help
    ]


def test_the_seconds_that_are_said_are_those_that_hold() -> None:
    """The verbs of a vault wait longer, in `--help` and on the page."""
    seconds = DEFAULT_TIMEOUT, PATIENCE_SECONDS
    (option,) = (each for each in options_of("") if "--timeout" in each.opts)
    assert option.help is not None
    assert option.help.endswith("(default: {:g}; verbs of vault: {:g})".format(*seconds))
    assert "({:g}; the verbs of `vault`: {:g})".format(*seconds) in PAGE


def test_every_store_is_named_where_one_is_chosen() -> None:
    """In both tables and in the help."""
    environment = (REPOSITORY / "docs/reference/environment.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `--store STORE` \| (.*) \|$", PAGE, re.MULTILINE)
    (twin,) = re.findall(
        r"^\| `TOKENKEEP_STORE` \| `--store` \| (.*) \|$", environment, re.MULTILINE
    )
    names = {"auto", "vault:PATH", *store_names()}
    assert names == set(re.findall(r"`([^`]+)`", row)) == set(re.findall(r"`([^`]+)`", twin))
    (option,) = (each for each in options_of("") if "--store" in each.opts)
    assert names == set(re.findall(r"[\w:-]+", option.help or "")) - {"or"}


def test_every_source_of_a_migration_is_a_verb_or_said_to_have_none() -> None:
    """Where no verb can help, `import --help` and the how-to page say so, and why."""
    page = (REPOSITORY / "docs" / "how-to" / "migrate.md").read_text(encoding="utf-8")
    without = page.partition("\nWhat flutter_secure_storage and Jetpack Security kept on Android")[
        2
    ]
    without = without.partition("\n\n")[0]
    assert page.count("has no verb") == 1
    names = [path.stem for path in (REPOSITORY / "src/tokenkeep/migrate").glob("*.py")]
    offered = {name.partition(" ")[2].replace("-", "_") for name in VERBS}
    # Two of flutter's verbs build on its map; `renamed` is for the application's own items.
    without_verb = {name for name in names if holds_source(name)} - offered - {"flutter", "renamed"}
    assert {"flutter_android", "jetpack_security"} == without_verb
    assert [] == [name for name in without_verb if f"`{name}." not in without]
    assert "Android" in (command_of("import").help or "")


def holds_source(name: str) -> bool:
    """Whether a file of `migrate` has a class that items can be taken from."""
    module = import_module(f"tokenkeep.migrate.{name}")
    return any(
        {"identity", "names", "read", "remove"} <= vars(each).keys()
        for each in vars(module).values()
        if isinstance(each, type) and each is not Source
    )


def test_every_exit_code_is_in_the_table() -> None:
    """The table of exit codes has every code that an error can have."""
    documented = {int(code) for code in re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)}
    used = {
        *exits.CODES.values(),
        *(exits.OK, exits.USAGE, exits.NOT_FOUND, exits.INTERRUPTED),
    }
    assert used == documented
