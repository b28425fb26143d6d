"""`doctor` says what is there and whether all is well, and touches nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Server
from cli.shell import Shell, tree_of
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.cli.commands.doctor import Findings, examine_storage
from tokenkeep.errors import StoreTimeout
from tokenkeep.item import SESSION, Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.select import store_names
from tokenkeep.storage import SecureStorage
from tokenkeep.testing.faulty import Fails, FaultyStore

pytestmark = pytest.mark.requires("terminal")


def test_a_well_machine(signed_in: tuple[Shell, Server]) -> None:
    """Which store, why not the others, what protects it, items, sessions, what would be lost."""
    shell, server = signed_in
    shell.tokenkeep("set", "name", stdin=b"value")
    shell.plays(f"""
        $ tokenkeep doctor
        configuration: ~/.config/tokenkeep/config.toml
        store: vault
        candidates:
          ...
          vault: used, asked for
          ...
          memory: not used, keeps nothing after the process; ...
        path: ~/.local/share/tokenkeep/vault
        protection: file permissions
        notes:
          whoever can read the key file and the vault can read every item
          every program of this user can read the vault's files
        what happens on:
          locking: nothing: items stay readable
          rebooting: nothing
          reinstalling the application: items stay; ...
          restoring a backup: ...
          resetting the device: what is in no backup and no export is lost; sign in again
        state: ok
        items:
          default: session, ok, ...
          name: item, ok, 5
        sessions:
          default: active, signed in, {server.issuer}
    """)


def test_it_changes_nothing(signed_in: tuple[Shell, Server]) -> None:
    """Every byte of the home is what it was, with and without an application named."""
    shell, server = signed_in
    shell.tokenkeep("set", "name", stdin=b"value")
    before, asked = tree_of(shell.home), server.admin.counts()
    for words in (("doctor",), ("doctor", "--json"), ("--app", "org.other", "doctor")):
        assert 0 == shell.tokenkeep(*words).code
    del shell.variables["TOKENKEEP_APP"]
    assert 0 == shell.tokenkeep("doctor").code
    after = tree_of(shell.home)
    # SQLite's index of the log holds readers' marks: not a byte of anybody's data.
    index = ".local/share/tokenkeep/vault/vault.db-shm"
    assert before.pop(index)[0] == after.pop(index)[0]
    assert before == after
    assert asked == server.admin.counts()


def test_nothing_chosen(shell: Shell) -> None:
    """Without a store: exit 6, the reasons, the command that makes one; nothing is made."""
    before = tree_of(shell.home)
    shell.plays("""
        $ tokenkeep doctor
        configuration: ~/.config/tokenkeep/config.toml
        store: none
        candidates:
          ...
          vault: not used, takes part only when VaultOptions ask for it, tokenkeep vault create
          ...
          memory: not used, keeps nothing after the process; ...
        state: no store is chosen
        hint: tokenkeep vault create
        [6]
    """)
    assert before == tree_of(shell.home)


@pytest.mark.parametrize("chosen", ["auto", *store_names()])
def test_every_store_is_named_with_its_reason_whichever_is_chosen(
    shell: Shell, chosen: str
) -> None:
    """Also where the chosen one is another platform's: the findings are printed, and exit is 6."""
    answer = shell.tokenkeep("--app", "a", "--store", chosen, "doctor", "--json")
    found = json.loads(answer.out)
    assert [*store_names(), "memory"] == [each["store"] for each in found["candidates"]]
    assert all(each["reason"] for each in found["candidates"])
    own = [each for each in found["candidates"] if each["use"] != "not used"]
    is_here = chosen in ("vault", "kernel-keyring")
    assert (None if chosen == "auto" else chosen) == found["store"]
    if is_here:
        assert [(chosen, "used", "asked for")] == [
            (each["store"], each["use"], each["reason"]) for each in own
        ]
        return
    assert 6 == answer.code
    assert answer.err.startswith("hint: ")
    assert ["cannot be used"] == [each["use"] for each in own]
    assert ("secret-service" if chosen == "auto" else chosen) == own[0]["store"]
    if chosen != "auto":
        assert "unavailable" == found["state"]
        assert own[0]["reason"] in found["problem"]


def test_missing_extra_is_a_finding(shell: Shell) -> None:
    """What was found is printed, with the command that installs what is missing: exit 2."""
    words = ["--app", "a", "--store", "secret-service", "doctor", "--json"]
    code = (
        "import sys; sys.modules['jeepney'] = None; from tokenkeep.cli.main import run;"
        f" sys.exit(run({words!r}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=shell.environment
    )
    found = json.loads(answer.stdout)
    assert (2, "not installed") == (answer.returncode, found["state"])
    assert "hint: pip install 'tokenkeep[secret-service]'\n" in answer.stderr


@pytest.mark.parametrize(
    ("harm", "code", "state"),
    [
        ("rm ~/.config/tokenkeep/vault.key", 6, "unavailable"),
        ("chmod 644 ~/.config/tokenkeep/vault.key", 4, "denied"),
        ("chmod 755 ~/.local/share/tokenkeep/vault", 4, "denied"),
        ("rm -r ~/.local/share/tokenkeep/vault", 6, "unavailable"),
        ("tokenkeep vault new-key k && cp k ~/.config/tokenkeep/vault.key", 7, "wrong key"),
        ("echo x > ~/.config/tokenkeep/vault.key", 7, "wrong key"),
        ("echo x > ~/.local/share/tokenkeep/vault/header", 7, "damaged"),
    ],
)
def test_what_is_wrong_is_said(shell_with_vault: Shell, harm: str, code: int, state: str) -> None:
    """The store's state in one word, the problem in a clause, a remedy where there is one."""
    shell_with_vault.plays(f"$ {{ {harm}; }} > /dev/null")
    answer = shell_with_vault.tokenkeep("doctor", "--json")
    found = json.loads(answer.out)
    assert (code, state) == (answer.code, found["state"])
    assert found["problem"]


def test_a_vault_under_a_passphrase_is_locked(shell: Shell) -> None:
    """Without its passphrase nobody can say how the items are: exit 4, not "all is well"."""
    shell.plays("""
        $ (umask 077; echo phrase > phrase)
        $ tokenkeep vault create --passphrase-file phrase
        ~/.local/share/tokenkeep/vault
    """)
    well = shell.tokenkeep("--app", "a", "doctor", "--json")
    assert (0, "file permissions") == (well.code, json.loads(well.out)["protection"])
    (shell.home / ".config" / "tokenkeep" / "config.toml").write_text('store = "vault"\n')
    locked = shell.tokenkeep("--app", "a", "doctor", "--json")
    assert (4, "denied") == (locked.code, json.loads(locked.out)["state"])


def test_a_passphrase_in_a_file_is_worth_a_file(shell: Shell) -> None:
    """What protects a vault whose passphrase lies beside it is the permissions of that file."""
    passphrase = shell.home / "passphrase"
    passphrase.write_text("a long passphrase")
    passphrase.chmod(0o600)
    made = shell.tokenkeep("vault", "create", "--passphrase-file", str(passphrase))
    assert 0 == made.code, made.err
    found = shell.tokenkeep("--passphrase-file", str(passphrase), "doctor", "--json")
    facts = json.loads(found.out)
    assert "file permissions" == facts["protection"]
    assert any(str(passphrase) in note for note in facts["notes"])


def test_store_that_stops_answering_is_asked_nothing_more(home: Path) -> None:
    """At whichever step: no second deadline is spent on it, and what is not known is said."""
    inner = MemoryStore()
    for number in range(4):
        inner.write(ItemName("a", f"item {number}"), Secret("value"), Call())
        inner.write(ItemName("a", f"account {number}", SESSION), Secret("record"), Call())
    faulty = FaultyStore(inner)
    with SecureStorage("a", faulty) as storage:
        examine_storage(storage, Findings(), knows_app=True)
        steps = len(faulty.steps)
        assert steps > 16
        for step in range(1, steps + 1):
            before = len(faulty.steps)
            late = Fails(StoreTimeout("late"))
            faulty.faults = {before + number: late for number in range(step, 2 * steps)}
            found = Findings()
            try:
                examine_storage(storage, found, knows_app=True)
            except StoreTimeout as exc:
                found.failed(exc)
            assert before + step == len(faulty.steps)
            assert "timed out" == found.facts["state"]
            assert found.exit_code in (4, 7)  # records that are none may have been met before
