"""`set NAME`: the value comes from stdin or from a hidden prompt, never from the arguments."""

from __future__ import annotations

import sys

import click

from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.terminal import ask_hidden_twice, read_input, without_newline
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.database_item import is_database_key
from tokenkeep.errors import SecretDamaged, SecretInvalidated, ValueTooLarge, WriteConflict
from tokenkeep.item import ItemName

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.secret import Secret
    from tokenkeep.storage import SecureStorage


@click.command()
@click.argument("words", metavar="NAME", nargs=-1)
@click.option("--raw", is_flag=True, help="keep a trailing newline")
@options()
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], raw: bool) -> int:
    """Keep a value, read from stdin or from a hidden prompt.

    One trailing newline of stdin is dropped unless --raw. The key of a database is not replaced.
    """
    if len(words) > 1:
        # What stands there may be the secret: it is not repeated.
        raise UsageError(
            "a value is never an argument: others could read it in the list of processes",
            "tokenkeep set NAME < FILE",
        )
    if not words:
        raise UsageError("set takes the name of an item", "tokenkeep set NAME")
    storage = settings_of(ctx).storage()
    ItemName(storage.service, words[0])  # a wrong name is said before anything is typed
    if sys.stdin is not None and sys.stdin.isatty():
        # Opens the store, too: nobody types a value for nothing.
        _require_no_database_key(storage, words[0])
        value = ask_hidden_twice("value: ")
    else:
        # One byte more than is allowed, with a newline that may be dropped.
        value = read_input(storage.max_value_bytes + 1)
        value = value if raw else without_newline(value)
    most = min(storage.max_value_bytes, storage.facts.max_value_bytes or storage.max_value_bytes)
    if value.size > most:  # how much larger is not known: the rest was not read
        raise ValueTooLarge(
            f"the value is too large: at most {most} bytes are allowed",
            hint="encrypt a file, and keep its key here",
        )
    _require_no_database_key(storage, words[0], value)
    storage.write(words[0], value)
    storage.close()
    return 0


def _require_no_database_key(
    storage: SecureStorage, name: str, value: Secret | None = None
) -> None:
    """Ends what would lose a database for good, unless the value is that very key.

    Raises:
        WriteConflict: the item is the key of a database.
    """
    try:
        there = storage.read(name)
    except (SecretDamaged, SecretInvalidated):
        return  # it opens nothing any more; the write says whether it can be replaced
    if there is not None and there != value and is_database_key(there):
        raise WriteConflict(
            "the item is the key of a database, which would never open again",
            hint="choose another name, or tokenkeep delete NAME first",
        )
