"""`set NAME`: the value comes from stdin or from a hidden prompt, never from the arguments."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import click

from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.terminal import ask_hidden_twice, read_input, without_newline
from tokenkeep.cli.tree import options, settings_of
from tokenkeep.database_item import require_no_key_lost
from tokenkeep.errors import (
    SecretDamaged,
    SecretInvalidated,
    StoreUnavailable,
    ValueTooLarge,
    WriteConflict,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.store import Transactional

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        _required_no_database_key(storage, words[0], Secret(b""))
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
    keep(storage, words[0], value)
    storage.close()
    return 0


def keep(storage: SecureStorage, name: str, value: Secret) -> None:
    """Writes a value, but for a database's key: not for one either that is made this very moment.

    A store that cannot make a write depend on what it finds leaves that moment open.

    Raises:
        WriteConflict: the item is the key of a database.
        StoreError: as `SecureStorage.write`.
    """
    item, store, call = ItemName(storage.service, name), storage.store, None
    while True:
        there, is_damaged = _required_no_database_key(storage, name, value)
        call = call or storage.call()  # opening the store, for which the first look was, is over
        if is_damaged or not isinstance(store, Transactional):
            storage.write(name, value)
            return
        try:
            with _claimed(storage, name, call):
                store.replace(item, there, value, call)
            return
        except WriteConflict:
            call.check("writing")  # somebody was quicker, and what they wrote is looked at


def _claimed(storage: SecureStorage, name: str, call: Call) -> AbstractContextManager[None]:
    """As `SecureStorage.write` does: the item is this installation's own."""
    try:
        return storage.marker.claimed(call, name)
    except StoreUnavailable:
        return nullcontext()  # without a state directory nobody can have asked whose it is


def _required_no_database_key(
    storage: SecureStorage, name: str, value: Secret
) -> tuple[Secret | None, bool]:
    """What the item holds, and whether that is there and does not open.

    Raises:
        WriteConflict: it is the key of a database, and the value another one.
    """
    try:
        there = storage.read(name)
    except (SecretDamaged, SecretInvalidated):
        return None, True  # it opens nothing any more; the write says whether it can be replaced
    require_no_key_lost(there, value, "choose another name, or tokenkeep delete NAME first")
    return there, False
