"""The tree of verbs, on click: global options, lazy verbs, usage errors in our own words."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.settings import Settings
from tokenkeep.cli.terminal import tell
from tokenkeep.errors import MissingExtra

try:
    import click
except ImportError:
    click = None  # type: ignore[assignment]
if click is None:
    raise MissingExtra("the command line needs click", extra="cli")

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

#: In the order in which `--help` lists them; each names its module and its command there.
VERBS = (
    *("set", "get", "delete", "list", "clear"),
    *("login", "status", "token", "logout", "accounts"),
    *("import", "vault", "doctor", "demo", "completion"),
)


class Completed(click.types.StringParamType):
    """Text that is taken as it is, of a kind that a shell can complete."""

    envvar_list_splitter = os.pathsep

    def __init__(self, name: str) -> None:
        self.name = name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The shell's own files or directories, or the stores' names."""
        from click.shell_completion import CompletionItem

        if self is not STORE:
            return [CompletionItem(incomplete, type=self.name)]
        from tokenkeep.select import store_names

        names = ("auto", *store_names())
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


# Not `click.Path`, which would look at what lies there before we do, and say it in other words.
FILE, DIRECTORY, STORE = Completed("file"), Completed("dir"), Completed("store")


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used.

    A verb's module has its name; `files` says where it cannot. An option that names no variable of
    its own and is no `consent` has one by its place: TOKENKEEP_VAULT_CREATE_PATH.
    """

    def __init__(
        self,
        *args: Any,
        package: str,
        verbs: Sequence[str],
        files: Mapping[str, str] = MappingProxyType({}),
        place: tuple[str, ...] = (),
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self._package = package
        self._place = place
        self._verbs = verbs
        self._files = files

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in their own order."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command."""
        file = self._files.get(cmd_name, cmd_name.replace("-", "_"))
        name = f"{self._package}.{file}"
        if cmd_name not in self._verbs or find_spec(name) is None:
            return None
        module = import_module(name)
        command: click.Command = module.command
        for option in command.params:
            if isinstance(option, click.Option) and option.allow_from_autoenv:
                words = ("tokenkeep", *self._place, cmd_name, option.opts[0].removeprefix("--"))
                option.envvar = option.envvar or "_".join(words).replace("-", "_").upper()
        return command


def consent(*names: str, **more: Any) -> Callable[[F], F]:
    """An option that agrees to something in one call, or has a person asked in it.

    No variable stands for it, where it could be left switched on for all later calls, or be taken
    for what holds the passphrase itself.
    """
    return click.option(*names, allow_from_autoenv=False, **more)


def options(*, json: bool = False, account: bool = False, timeout: bool = True) -> Callable[[F], F]:
    """The options that are accepted before a verb, again after it; they fill the settings."""

    def decorate(function: F) -> F:
        if account:
            function = _kept("--account", "NAME", "whose session (default: default)")(function)
        return _global_options(json=json, timeout=timeout)(function)

    return decorate


def settings_of(ctx: click.Context) -> Settings:
    """What this command was told."""
    found = ctx.find_object(Settings)
    assert found is not None
    return found


def run_tree(words: Sequence[str]) -> int:
    """Runs one command line through click; its exit code.

    Raises:
        UsageError: the command line cannot be right.
    """
    problem: UsageError
    try:
        code = root.main(
            list(words), prog_name="tokenkeep", standalone_mode=False, obj=Settings({})
        )
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as exc:
        tell(exc.format_message())
        return UsageError.code
    except click.UsageError as exc:
        path = "tokenkeep" if exc.ctx is None else exc.ctx.command_path
        problem = UsageError(_spoken(exc.format_message()), f"{path} --help")
    except click.ClickException as exc:
        problem = UsageError(_spoken(exc.format_message()), "tokenkeep --help")
    except click.Abort:
        raise KeyboardInterrupt from None
    raise problem


def _kept(
    flag: str, metavar: str | None, help_text: str, kind: Completed | None = None
) -> Callable[[F], F]:
    """An option whose value goes into the settings, whichever side of the verb it stands."""

    def keep(ctx: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:
        if value not in (None, False) and parameter.name is not None:
            settings_of(ctx).flags[parameter.name] = "1" if value is True else str(value)
            if parameter.name == "timeout":
                settings_of(ctx).seconds("timeout", 0.0)  # also for a verb that waits for nothing

    return click.option(
        flag,
        metavar=metavar,
        type=kind,
        is_flag=metavar is None,
        allow_from_autoenv=False,  # `Settings` looks for its variable, which a flag hides
        default=None,
        expose_value=False,
        callback=keep,
        help=help_text,
    )


def _global_options(*, json: bool, timeout: bool = True) -> Callable[[F], F]:
    made = [
        _kept("--app", "SERVICE", "the application, by its reverse-domain id"),
        _kept(
            "--store",
            "STORE",
            "auto, vault, vault:PATH, secret-service, kernel-keyring, windows-credentials,"
            " apple-keychain or android",
            STORE,
        ),
        _kept("--key-file", "FILE", "the vault's key file", FILE),
        _kept("--passphrase-file", "FILE", "a file that holds the vault's passphrase", FILE),
    ]
    if timeout:
        text = "seconds for one call into the store (default: 5; verbs of vault: 30)"
        made.append(_kept("--timeout", "S", text))
    if json:
        made.append(_kept("--json", None, "structured output"))

    def decorate(function: F) -> F:
        for option in reversed(made):
            function = option(function)
        return function

    return decorate


def _spoken(message: str) -> str:
    """Click's sentence in the way ours are written."""
    text = message.strip().rstrip(".")
    text = text.replace(". Choose from:\n\t", ": choose from ").replace(",\n\t", ", ")
    text = text.replace("\n", " ")
    if text.startswith("Got unexpected extra argument"):
        text = text.partition(" (")[0]  # what stands there may be a secret: it is not repeated
    return text[:1].lower() + text[1:]


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from tokenkeep import __version__
        from tokenkeep.cli.terminal import write_lines

        write_lines(f"tokenkeep {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    package="tokenkeep.cli.commands",
    verbs=VERBS,
    files={"import": "import_from"},  # no module can have a keyword's name
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="show the version",
)
@_global_options(json=True)
def root() -> None:
    """Keep an application's secrets on this machine, and the session built on them true.

    Every option in this list has a twin in the environment (TOKENKEEP_APP for --app), and all but
    --timeout and --json an entry in config.toml. Values are read from stdin, never from arguments.
    """
