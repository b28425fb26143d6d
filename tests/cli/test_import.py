"""`import SOURCE` as a person types it: what moves, what is said, and the way back."""

from __future__ import annotations

import json
import sqlite3

import pytest

from cli.conftest import Server
from cli.shell import Shell
from support.desktop import gnome_desktop, put

pytestmark = pytest.mark.requires("terminal")


def test_a_dotenv_file_moves_in_two_steps(shell_with_vault: Shell) -> None:
    """Look first, copy, try, then let go of the old place; values are never shown."""
    (shell_with_vault.home / ".env").write_text("# mine\nAPI_KEY=s3cret\nDEBUG=1\n")
    shell_with_vault.plays("""
        $ tokenkeep import dotenv .env --name API_KEY=api_key --dry-run
        copy       API_KEY -> api_key
        $ tokenkeep list
        $ tokenkeep import dotenv .env --name API_KEY=api_key
        items copied: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ tokenkeep get api_key; echo
        s3cret
        $ tokenkeep import dotenv .env --name API_KEY=api_key
        items copied earlier: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ tokenkeep import dotenv .env --confirm
        error: an import of other names from this place is open
        hint: give the same names, or confirm or undo that import first
        [2]
        $ tokenkeep import dotenv .env --name API_KEY=api_key --confirm
        items taken from the old place: 1
        $ cat .env
        # mine
        DEBUG=1
        $ tokenkeep list
        api_key
        $ tokenkeep import dotenv .env --name API_KEY=api_key --confirm
        error: this store has no import from there to confirm
        hint: tokenkeep import dotenv --help
        [3]
    """)


def test_an_import_is_undone(shell_with_vault: Shell) -> None:
    """What was replaced comes back; the old place was never touched."""
    (shell_with_vault.home / ".env").write_text("A=1\nB=2\n")
    shell_with_vault.plays("""
        $ printf other | tokenkeep set B
        $ tokenkeep import dotenv .env --dry-run
        copy       A
        conflict   B
        [1]
        $ tokenkeep import dotenv .env
        error: items that the new place has with another value: 1
        hint: skip or replace existing items
        [1]
        $ tokenkeep list
        B
        $ tokenkeep import dotenv .env --existing replace
        items copied: 1
        items replaced: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ tokenkeep get B; echo
        2
        $ tokenkeep list
        A
        B
        $ tokenkeep import dotenv .env --undo
        items restored: 2
        $ tokenkeep list
        B
        $ tokenkeep get B; echo
        other
        $ cat .env
        A=1
        B=2
    """)


def test_what_was_replaced_is_kept_until_it_can_come_back(shell_with_vault: Shell) -> None:
    """Whatever became of the old place: what to do is said, and doing it brings the item back."""
    (shell_with_vault.home / ".env").write_text("A=1\nB=2\n")
    shell_with_vault.plays("""
        $ printf before | tokenkeep set A
        $ tokenkeep import dotenv .env --existing replace
        items copied: 1
        items replaced: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ echo B=2 > .env
        $ tokenkeep import dotenv .env --undo
        items restored: 1
        items not restored, so that nothing is lost: 1
          unrestored A
        error: the import is not undone: what these items replaced is still kept
        hint: tokenkeep delete NAME, after tokenkeep get NAME if you need it, then --undo again
        [1]
        $ tokenkeep import dotenv .env --existing replace
        error: an import is not undone yet
        hint: undo it again
        [1]
        $ tokenkeep import dotenv .env --confirm
        error: it is being undone
        hint: undo it again
        [1]
        $ tokenkeep get A; echo
        1
        $ tokenkeep delete A
        $ tokenkeep import dotenv .env --undo
        items restored: 2
        $ tokenkeep get A; echo
        before
        $ tokenkeep list
        A
        $ tokenkeep import dotenv .env --undo
        error: this store has no import from there to undo
        hint: tokenkeep import dotenv --help
        [3]
        $ tokenkeep import dotenv .env
        items copied: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ tokenkeep delete B
        $ echo > .env
        $ tokenkeep import dotenv .env --undo
        nothing was left to restore
    """)


def test_a_netrc_file_moves_at_once(shell_with_vault: Shell) -> None:
    """`--remove` is a run and its confirmation in one."""
    (shell_with_vault.home / ".netrc").write_text("machine a.org login ada password s3cret\n")
    shell_with_vault.plays("""
        $ tokenkeep import netrc --remove
        items taken from the old place: 1
        $ tokenkeep get ada@a.org; echo
        s3cret
        $ cat .netrc
        $ tokenkeep import netrc --remove
        there is nothing to import
        $ tokenkeep import netrc nothing
        error: there is no such file: ~/nothing
        [6]
    """)


def test_a_password_that_was_not_copied_stays_in_the_netrc_file(shell_with_vault: Shell) -> None:
    """Of a machine's two entries only the last is read: none is erased, and the copy is undone."""
    (shell_with_vault.home / ".netrc").write_text(
        "machine a.org login ada password one\nmachine a.org login bob password two\n"
    )
    shell_with_vault.plays("""
        $ tokenkeep import netrc --remove
        error: ~/.netrc, line 2: this hides what was not copied
        hint: keep one of them with an editor, then try again
        [2]
        $ cat .netrc
        machine a.org login ada password one
        machine a.org login bob password two
        $ tokenkeep import netrc --undo
        items restored: 1
        $ tokenkeep list
    """)


def test_items_move_from_vault_to_vault_and_back(shell_with_vault: Shell) -> None:
    """Another vault, another key; the first one is empty afterwards, and full again."""
    shell_with_vault.plays("""
        $ printf s3cret | tokenkeep set name
        $ tokenkeep vault create --path second --key-file second.key
        ...
    """)
    second = "tokenkeep --store vault:second --key-file second.key"
    shell_with_vault.plays(f"""
        $ {second} import store vault --from-key-file $HOME/.config/tokenkeep/vault.key --remove
        items taken from the old place: 1
        $ tokenkeep list
        $ {second} list
        name
        $ tokenkeep import store vault:second --from-key-file second.key --remove
        items taken from the old place: 1
        $ tokenkeep get name; echo
        s3cret
        $ tokenkeep import store vault
        error: the old place and the new one are the same place
        [2]
        $ tokenkeep list
        name
    """)


def test_an_import_into_a_second_vault_is_one_of_its_own(shell_with_vault: Shell) -> None:
    """Each vault knows what came to it: the first one's way back stays."""
    (shell_with_vault.home / ".env").write_text("A=1\n")
    second = "tokenkeep --store vault:second --key-file second.key"
    shell_with_vault.plays(f"""
        $ tokenkeep vault create --path second --key-file second.key
        ...
        $ tokenkeep import dotenv .env
        items copied: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ {second} import dotenv .env --undo
        error: this store has no import from there to undo
        hint: tokenkeep import dotenv --help
        [3]
        $ {second} import dotenv .env
        items copied: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ tokenkeep import dotenv .env --undo
        items restored: 1
        $ tokenkeep list
        $ {second} import dotenv .env --confirm
        items taken from the old place: 1
        $ {second} list
        A
    """)


def test_what_cannot_be_asked_for_is_a_usage_error(shell_with_vault: Shell) -> None:
    """Two acts, one name twice, and names that are not there."""
    (shell_with_vault.home / ".env").write_text("A=1\n")
    shell_with_vault.plays("""
        $ tokenkeep import dotenv .env --confirm --undo
        error: --confirm and --undo cannot be had at once
        hint: tokenkeep import dotenv --help
        [2]
        $ tokenkeep import dotenv .env --name A --name A=b
        error: an item was named twice
        hint: --name OLD[=NEW], once for each item
        [2]
        $ tokenkeep import dotenv .env --name B
        items not found: 1
          missing    B
        [3]
        $ tokenkeep import nothing
        error: no such command 'nothing'
        hint: tokenkeep import --help
        [2]
    """)
    answer = shell_with_vault.tokenkeep("import", "dotenv", ".env", "--json")
    assert [{"old": "A", "new": "A", "outcome": "copy"}] == json.loads(answer.out)


@pytest.mark.requires("gnome-keyring")
def test_a_vault_moves_to_a_real_keyring_and_back(shell_with_vault: Shell) -> None:
    """The platform's store and the vault are each other's way out."""
    with gnome_desktop() as desktop:
        name = "DBUS_SESSION_BUS_ADDRESS"
        shell_with_vault.variables[name] = desktop.bus.env[name]
        shell_with_vault.plays("""
            $ printf s3cret | tokenkeep set name
            $ printf 'a\\377b' | tokenkeep set bytes
            $ tokenkeep --store secret-service import store vault --remove
            items taken from the old place: 2
            $ tokenkeep list
            $ tokenkeep --store secret-service get name; echo
            s3cret
            $ tokenkeep import store secret-service
            items copied: 2
            both places have them now: --confirm takes them from the old one, --undo back
            $ tokenkeep import store secret-service --undo
            items restored: 2
            $ tokenkeep import store secret-service --remove
            items taken from the old place: 2
            $ tokenkeep get bytes | od -An -c
               a 377   b
            $ tokenkeep --store secret-service list
        """)


def test_a_session_moves_only_when_asked(signed_in: tuple[Shell, Server]) -> None:
    """In one go, whatever else is on its way from there; the provider's token goes on."""
    shell, _server = signed_in
    second = "tokenkeep --store vault:second --key-file second.key"
    old = "vault --from-key-file .config/tokenkeep/vault.key"
    shell.plays(f"""
        $ tokenkeep vault create --path second --key-file second.key
        ...
        $ {second} import store vault --sessions
        error: a session cannot be in two places
        hint: --sessions goes with --remove
        [2]
        $ {second} import store {old} --from-app org.example.other --remove --sessions
        error: a session stays with its application
        hint: --sessions without --from-app
        [2]
        $ {second} import store {old} --from-app "$UNSET"
        error: a service must not be empty
        hint: --app SERVICE
        [1]
        $ {second} import store {old} --remove
        there is nothing to import
        $ {second} token
        error: ...
        ...
        [5]
        $ printf s3cret | tokenkeep set name
        $ tokenkeep vault create --path third --key-file third.key
        ...
        $ tokenkeep --store vault:third --key-file third.key import store {old}
        items copied: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ tokenkeep delete name
        $ {second} import store {old} --remove --sessions
        there is nothing to import
        sessions moved: 1
        $ {second} token | wc -l
        0
        $ tokenkeep accounts
        $ {second} accounts
        default
        $ {second} import store {old} --confirm --sessions
        error: this store has no import from there to confirm
        hint: tokenkeep import store --help
        [3]
    """)


def test_the_key_in_the_variables_is_the_new_vaults(shell_with_vault: Shell) -> None:
    """As its flags' is; where both are one vault, or only the old place is one, it opens that."""
    key = "TOKENKEEP_KEY_FILE=second.key"
    second = f"TOKENKEEP_STORE=vault:second {key} tokenkeep"
    again = "import store vault:second --from-app org.example.notes"
    shell_with_vault.plays(f"""
        $ tokenkeep vault create --path second --key-file second.key
        ...
        $ printf s3cret | tokenkeep set name
        $ {second} import store vault
        items copied: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ {second} --app other {again}
        items copied: 1
        both places have them now: --confirm takes them from the old one, --undo back
        $ {key} tokenkeep --app third --store kernel-keyring {again} --dry-run
        copy       name
    """)


def test_sessions_move_though_no_import_is_left_to_confirm(
    signed_in: tuple[Shell, Server],
) -> None:
    """They are no part of it: none were ever copied."""
    shell, _server = signed_in
    second = "tokenkeep --store vault:second --key-file second.key"
    old = "vault --from-key-file .config/tokenkeep/vault.key"
    shell.plays(f"""
        $ tokenkeep vault create --path second --key-file second.key
        ...
        $ {second} import store {old} --confirm --sessions --json
        []
        sessions moved: 1
        $ {second} accounts
        default
    """)


def test_a_session_that_does_not_open_is_not_passed_over(signed_in: tuple[Shell, Server]) -> None:
    """It stays, and the exit code says so as for an item."""
    shell, _server = signed_in
    database = sqlite3.connect(shell.home / ".local/share/tokenkeep/vault/vault.db")
    database.execute("UPDATE item SET envelope = zeroblob(length(envelope))")
    database.commit()
    database.close()
    second = "tokenkeep --store vault:second --key-file second.key"
    old = "vault --from-key-file .config/tokenkeep/vault.key"
    shell.plays(f"""
        $ tokenkeep vault create --path second --key-file second.key
        ...
        $ {second} import store {old} --remove --sessions
        there is nothing to import
        sessions moved: 0
          default stayed
        [7]
    """)


@pytest.mark.requires("gnome-keyring")
def test_a_flutter_application_and_keyring_on_linux(shell_with_vault: Shell) -> None:
    """What other programs left in the same keyring."""
    with gnome_desktop() as desktop:
        item = {"account": "com.example.notes.secureStorage"}
        put(desktop.bus, desktop.collection, item, b'{"token":"s3cret"}')
        bus = {"DBUS_SESSION_BUS_ADDRESS": desktop.bus.address}
        shell_with_vault.variables |= bus
        shell_with_vault.plays("""
            $ tokenkeep import flutter-linux com.example.notes --remove
            items taken from the old place: 1
            $ tokenkeep get token; echo
            s3cret
            $ printf 'pass\\n' | python -m keyring set example.org ada
            $ tokenkeep import keyring example.org --name ada=password --remove
            items taken from the old place: 1
            $ tokenkeep get password; echo
            pass
            $ python -m keyring get example.org ada
            [1]
        """)
