"""`vault replace-all`: after a compromise, everything that somebody may have had is worth nothing.

The order: sessions first, as their tokens are what works from afar; then the keys, in one step that
counts; last the configuration. Whatever it is interrupted by, the same call again goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tokenkeep import config, config_edit
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.cli import exits
from tokenkeep.cli.commands.vault.key_options import platform_key, platform_keys
from tokenkeep.cli.commands.vault.opening import (
    calls,
    chosen_vault,
    given_passphrase,
    lasting_file,
)
from tokenkeep.cli.commands.vault.rekey import lock_again, say_rekeyed
from tokenkeep.cli.exits import UsageError
from tokenkeep.cli.progress import progress
from tokenkeep.cli.session_output import client_secret
from tokenkeep.cli.terminal import is_interactive, require_yes, shown, tell, write_json, write_lines
from tokenkeep.cli.tree import FILE, consent, options, settings_of
from tokenkeep.database_item import is_database_key
from tokenkeep.errors import SecretDamaged, StoreError, StoreUnavailable
from tokenkeep.item import ITEM, SESSION, ItemName
from tokenkeep.session.stored import sign_out_stored
from tokenkeep.storage import SecureStorage
from tokenkeep.tokens.accounts import stored_accounts
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.replace import every_name, replace_all, was_begun
from tokenkeep.vault.vault import Vault

if TYPE_CHECKING:
    from tokenkeep.cli.settings import Settings
    from tokenkeep.item import Call
    from tokenkeep.secret import Secret
    from tokenkeep.vault.format import Header, Slot
    from tokenkeep.vault.slots import Key

#: What replaces a database's key together with the encryption of the database.
_REKEY = "DatabaseKey.rekey()"


@click.command("replace-all")
@click.option(
    "--new-key-file", metavar="FILE", type=FILE, help="a key file to come; made if it is not there"
)
@click.option(
    "--new-passphrase-file", metavar="FILE", type=FILE, help="a file that holds a new passphrase"
)
@platform_keys
@click.option(
    "--client-secret-file",
    metavar="FILE",
    type=FILE,
    envvar="TOKENKEEP_CLIENT_SECRET_FILE",
    help="for a confidential client",
)
@click.option("--dry-run", is_flag=True, help="say what would be done, and do nothing")
@consent("--yes", is_flag=True, help="do it without asking")
@options(json=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    new_key_file: str | None,
    new_passphrase_file: str | None,
    client_secret_file: str | None,
    dry_run: bool,
    yes: bool,
    **platform: Any,
) -> int:
    """Replace every key of the vault and end every session in it, as after a compromise.

    Signs out every account of every application and tells the providers; then new keys, root key
    and item keys take the place of all old ones, and the old bytes are erased. What is left for a
    person to do is said at the end. Interrupted, the same call goes on.
    """
    settings = settings_of(ctx)
    secret = client_secret(settings, client_secret_file)
    header = _header(settings)
    keys = () if dry_run else _new_keys(settings, new_key_file, new_passphrase_file, platform)
    goes_on = not dry_run and was_begun(header, keys, calls(settings)())
    old = () if goes_on else chosen_vault(settings, every_slot=True).keys
    vault = Vault(settings.vault().path, (*old, *keys), False)
    try:
        names, unnamed = every_name(vault, calls(settings))
        items = [name for name in names if name.kind == ITEM]
        databases = [name for name in items if _is_database_key(vault, name, calls(settings)())]
        by_hand = [name for name in items if name not in databases]
        if dry_run:
            return _say_plan(settings, header, names, unnamed, by_hand, databases)
        require_yes(yes, f"replace all keys of {vault.path} and end all its sessions?")
        sessions = _end_sessions(settings, vault, names, secret)

        def step(name: str) -> None:
            if name == "unmark":  # as long as the new key is not chosen, this is not through
                _choose(settings, keys, new_passphrase_file)

        with progress("replacing") as told:
            report = replace_all(vault, keys, calls(settings), progress=told, step=step)
        lock_again(vault, calls(settings)())
        slots = (vault.header() or header).slots
    finally:
        vault.close()
    if settings.wants_json:
        write_json(
            {
                "items": report.rekeyed.items,
                "damaged": report.rekeyed.damaged,
                "pending": report.rekeyed.pending,
                "sessions": sessions,
                "keys": [slot.id.hex() for slot in slots],
                "keys_dropped": [slot.id.hex() for slot in report.dropped],
                "replace": _as_json(by_hand),
                "rekey": _as_json(databases),
            }
        )
    else:
        write_lines(*(_spoken_session(each) for each in sessions))
        write_lines(*(f"opens no more: {_spoken(each)}" for each in report.dropped))
        write_lines(*(f"opens now: {_spoken(each)}" for each in slots))
        write_lines(*(f"replace where it comes from: {_named(each)}" for each in by_hand))
        write_lines(*(f"replace only with {_REKEY}: {_named(each)}" for each in databases))
    _say_what_is_left(sessions, old, databases)
    tell(*(shown(str(problem)) for problem in report.problems))
    code = say_rekeyed(report.rekeyed)
    return exits.FAILED if any(_lives_on(each) for each in sessions) else code


def _header(settings: Settings) -> Header:
    path = settings.vault().path
    header = Vault(path, (), False).header()
    if header is None:
        raise StoreUnavailable(f"there is no vault: {path}", hint="tokenkeep vault create")
    return header


def _new_keys(
    settings: Settings,
    key_file: str | None,
    passphrase_file: str | None,
    platform: dict[str, Any],
) -> tuple[Key, ...]:
    """Every key that the command line names; else a passphrase, asked for."""
    named: list[Key] = []
    key = platform_key(settings, platform)
    if key is not None:
        named.append(key)
    if key_file is not None:
        named.append(KeyFile(key_file))
    option = "--new-passphrase-file"
    if passphrase_file is not None:
        named.append(given_passphrase(settings, passphrase_file, "", option=option))
    if named:
        return tuple(named)
    if not is_interactive():
        raise UsageError(
            "there is no terminal to ask for a new passphrase on",
            "--new-key-file FILE",
            f"{option} FILE",
        )
    return (given_passphrase(settings, None, "new passphrase: ", option=option),)


def _end_sessions(
    settings: Settings, vault: Vault, names: list[ItemName], secret: Secret | None
) -> list[dict[str, Any]]:
    """Signs out every account of every application, and what each step of that gave."""
    done = []
    store = VaultStore(VaultOptions(vault.path, vault.keys, create=False))
    try:
        for service in sorted({name.service for name in names if name.kind == SESSION}):
            storage = SecureStorage(service, store, timeout=settings.timeout)
            for tokens in stored_accounts(storage):
                steps = [
                    {"name": step.name, "outcome": step.outcome, "detail": step.detail}
                    for step in sign_out_stored(tokens, lambda: secret).steps
                ]
                done.append({"service": service, "account": tokens.account, "steps": steps})
    finally:
        store.close()
    return done


def _lives_on(session: dict[str, Any]) -> bool:
    return any(step["name"] == "end" and step["outcome"] != "done" for step in session["steps"])


def _choose(settings: Settings, keys: tuple[Key, ...], passphrase_file: str | None) -> None:
    """Lets the configuration name the new key, where it named an old one or the default one."""
    chosen = settings.config
    written = config.read_file(chosen.path).get("store")
    if written != chosen.store:
        tell(f"{shown(chosen.path)} chooses another store and stays as it is")
        return
    paths = [key.path for key in keys if isinstance(key, KeyFile)]
    try:
        config_edit.save(
            chosen.path,
            key_file=paths[0] if paths else None,
            passphrase_file=None if paths else lasting_file(passphrase_file),
        )
    except StoreError as exc:
        tell(f"{shown(chosen.path)} still names the old key: {shown(str(exc))}")


def _say_plan(
    settings: Settings,
    header: Header,
    names: list[ItemName],
    unnamed: int,
    by_hand: list[ItemName],
    databases: list[ItemName],
) -> int:
    sessions = [each for each in names if each.kind == SESSION]
    if settings.wants_json:
        write_json(
            {
                "items": len(names) + unnamed,
                "sessions": _as_json(sessions),
                "keys_dropped": [slot.id.hex() for slot in header.slots],
                "replace": _as_json(by_hand),
                "rekey": _as_json(databases),
            }
        )
    else:
        write_lines(
            *(f"would sign out: {_named(each)}" for each in sessions),
            *(f"would open no more: {_spoken(each)}" for each in header.slots),
            f"would encrypt anew: {len(names) + unnamed}",
            *(f"would have to be replaced where it comes from: {_named(each)}"
              for each in by_hand),
            *(f"would have to be replaced, only with {_REKEY}: {_named(each)}"
              for each in databases),
        )  # fmt: skip
    tell("nothing was changed")
    return exits.OK


def _say_what_is_left(
    sessions: list[dict[str, Any]], old: tuple[Key, ...], databases: list[ItemName]
) -> None:
    if any(step["outcome"] == "failed" for each in sessions for step in each["steps"]):
        tell("a provider could not be told: end those sessions on its own account page")
    paths = [key.path for key in old if isinstance(key, KeyFile)]
    tell(*(f"{shown(path)} opens nothing any more: delete it" for path in paths))
    tell(
        "whoever had a key may have read the items: replace each where it comes from",
        "exports and copies of the vault still open with what they were made under: delete them",
    )
    if databases:
        tell(f"{_REKEY} is for the application to call: replaced by hand, the database is lost")


def _is_database_key(vault: Vault, name: ItemName, call: Call) -> bool:
    try:
        value = vault.read(name, call)
    except SecretDamaged:
        return False  # it opens nothing any more
    return value is not None and is_database_key(value)


def _as_json(names: list[ItemName]) -> list[dict[str, str]]:
    return [{"service": each.service, "name": each.name} for each in names]


def _named(name: ItemName) -> str:
    return f"{shown(name.name)} of {shown(name.service)}"


def _spoken(slot: Slot) -> str:
    label = f" ({shown(slot.label)})" if slot.label else ""
    return f"{slot.id.hex()}: {slot.kind or 'damaged'}{label}"


def _spoken_session(session: dict[str, Any]) -> str:
    steps = ", ".join(
        f"{step['name']} {step['outcome']}" + (f" ({step['detail']})" if step["detail"] else "")
        for step in session["steps"]
        if step["outcome"] != "not needed"
    )
    return shown(f"signed out: {session['account']} of {session['service']}: {steps}")
