"""Platform keys from the command line: a vault's own header says what opens it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cli.person import Person
from cli.shell import Shell
from support.tpm import Emulator

pytestmark = pytest.mark.requires("shell")


@pytest.fixture
def shell_with_tpm(shell: Shell, tpm: Emulator) -> Shell:
    """A person's shell on a machine whose TPM is an emulator."""
    shell.variables |= {"TOKENKEEP_TPM_DEVICE": tpm.device, "TOKENKEEP_APP": "org.example.notes"}
    return shell


@pytest.mark.requires("swtpm")
def test_vault_of_a_tpm_opens_without_options(shell_with_tpm: Shell, tpm: Emulator) -> None:
    """Made with --tpm, it is read, checked and rekeyed as any other; then the machine changes."""
    shell_with_tpm.plays("""
        $ tokenkeep vault create --tpm
        ~/.local/share/tokenkeep/vault
        nothing but this machine opens it, and a reset takes the key: add a second one
        hint: tokenkeep vault add-key
        $ printf v | tokenkeep set name
        $ tokenkeep get name; echo
        v
        $ ls ~/.config/tokenkeep
        config.toml
        $ tokenkeep vault check
        vault: ~/.local/share/tokenkeep/vault
        key ...: tpm2, PCR 7
        items that open: 1
        kept in quarantine: 0
        $ tokenkeep doctor | grep -e ^protection -e ^state
        protection: file permissions
        state: ...
        $ tokenkeep vault rekey --root
        items encrypted anew: 1
        $ (umask 077; echo on paper > phrase)
        $ tokenkeep vault add-key --new-passphrase-file phrase --label paper > slot
        $ tokenkeep vault add-key --tpm --pcr none --label second > second
        $ tokenkeep vault remove-key --yes $(cat second)
        its holder may know the root key: `remove-key --rekey` would have replaced it
    """)
    tpm.extend(7)
    shell_with_tpm.plays("""
        $ tokenkeep --passphrase-file phrase get name; echo
        v
        $ tokenkeep --passphrase-file phrase vault check | grep tpm2
        key ...: tpm2, PCR 7, does not open here: unsealing the key: a PCR that the key is ...
        $ tokenkeep --passphrase-file phrase vault add-key --tpm > again
        $ tokenkeep get name; echo
        v
        $ tokenkeep vault remove-key --yes $(cat slot)
        its holder may know the root key: `remove-key --rekey` would have replaced it
    """)
    tpm.tool("tpm2_clear")
    shell_with_tpm.plays("""
        $ tokenkeep get name
        error: this TPM is not the one that the key was sealed in, or it was cleared
        hint: open the vault with another of its keys, then: tokenkeep vault add-key --tpm
        [7]
        $ tokenkeep vault check 2> hint | sed -n '/^wrong/p'; cat hint
        wrong: key: this TPM is not the one that the key was sealed in, or it was cleared
        hint: open the vault with another of its keys, then: tokenkeep vault add-key --tpm
        $ TOKENKEEP_TPM_DEVICE=/dev/none tokenkeep get name
        error: this machine has no TPM 2.0: /dev/none (ENOENT)
        hint: switch the TPM on in the firmware, or open the vault with another of its keys
        [6]
        $ tokenkeep doctor > said
        hint: open the vault with another of its keys, then: tokenkeep vault add-key --tpm
        hint: if the key is lost for good: tokenkeep vault reset, or storage.reset() in Python
        [7]
        $ grep -e ^state -e ^problem said
        state: invalidated
        problem: this TPM is not the one that the key was sealed in, or it was cleared
        $ tokenkeep vault reset --yes
        ~/.local/share/tokenkeep/vault.set-aside-...
        hint: tokenkeep vault create
        $ ls ~/.local/share/tokenkeep/vault.set-aside-*/header | wc -l
        1
    """)


@pytest.mark.requires("swtpm")
def test_pin_comes_from_a_file_or_a_person(shell_with_tpm: Shell, tpm: Emulator) -> None:
    """A slot that has a PIN asks for it, and each command sends a wrong one once."""
    shell_with_tpm.plays("""
        $ (umask 077; echo 1234 > pin; echo 4321 > wrong)
        $ tokenkeep vault create --tpm --tpm-pin-file pin --pcr 0 --pcr 7 2> /dev/null
        ~/.local/share/tokenkeep/vault
        $ printf v | tokenkeep set name
        error: the vault's TPM key needs its PIN, and there is no terminal to ask on
        hint: export TOKENKEEP_TPM_PIN_FILE=FILE
        [4]
        $ export TOKENKEEP_TPM_PIN_FILE=pin; printf v | tokenkeep set name && tokenkeep get name
        v
        $ TOKENKEEP_TPM_PIN_FILE=wrong tokenkeep get name
        error: unsealing the key: the TPM refuses this authorization (0x98e)
        hint: give the PIN of the vault's TPM key; wrong ones lock the TPM for a while
        [4]
        $ TOKENKEEP_TPM_PIN_FILE=pin tokenkeep vault check --json | grep -e about -e problem
              "about": "PCR 0, 7, PIN",
              "problem": null,
        $ TOKENKEEP_TPM_PIN_FILE=wrong tokenkeep vault check 2> /dev/null | grep -e PIN -e key:
        key ...: tpm2, PCR 0, 7, PIN
        wrong: key: unsealing the key: the TPM refuses this authorization (0x98e)
    """)
    counter = tpm.tool("tpm2_getcap", "properties-variable")
    assert "TPM2_PT_LOCKOUT_COUNTER: 0x2" in counter


@pytest.mark.requires("swtpm", "terminal")
def test_pin_is_asked_for_on_a_terminal_and_not_shown(shell_with_tpm: Shell) -> None:
    """Twice when it is new, once when the vault is opened."""
    with Person(shell_with_tpm, "vault", "create", "--tpm", "--tpm-pin") as person:
        for question in ("new PIN of the TPM key: ", "again: "):
            person.sees(question)
            assert not person.echoes()
            person.types("1234\n")
        assert person.code() == 0
    setting = shell_with_tpm.tokenkeep("set", "name", stdin=b"v")
    assert setting.code == 4
    (shell_with_tpm.home / "pin").write_text("1234\n")
    (shell_with_tpm.home / "pin").chmod(0o600)
    pin = {"TOKENKEEP_TPM_PIN_FILE": "pin"}
    assert shell_with_tpm.tokenkeep("set", "name", stdin=b"s3cret", **pin).code == 0
    with Person(shell_with_tpm, "get", "name") as person:
        person.sees("PIN of the vault's TPM key: ")
        person.types("1234\n")
        person.sees("s3cret")
        assert person.code() == 0
        assert "1234" not in person.screen


@pytest.mark.requires("swtpm")
def test_configured_key_file_that_is_lost_is_not_the_only_way(shell_with_tpm: Shell) -> None:
    """What the configuration names is tried first; what a flag names is the only key."""
    shell_with_tpm.plays("""
        $ tokenkeep --key-file my.key vault create 2> /dev/null
        ~/.local/share/tokenkeep/vault
        $ printf v | tokenkeep set name
        $ tokenkeep vault add-key --tpm > slot; rm my.key
        $ tokenkeep get name; echo
        v
        $ tokenkeep --key-file my.key get name
        error: the key file is not there: ~/my.key
        hint: bring the key file back
        [6]
    """)


@pytest.mark.requires("swtpm", "kernel keyring")
def test_unlocked_vault_asks_for_no_pin(shell_with_tpm: Shell, tpm: Emulator) -> None:
    """`vault unlock` spares the PIN too, and the TPM is not even asked."""
    shell_with_tpm.plays("""
        $ (umask 077; echo 1234 > pin)
        $ tokenkeep vault create --tpm --tpm-pin-file pin 2> /dev/null
        ~/.local/share/tokenkeep/vault
        $ TOKENKEEP_TPM_PIN_FILE=pin sh -c 'printf v | tokenkeep set name'
        $ TOKENKEEP_TPM_PIN_FILE=pin tokenkeep vault unlock --for 30m 2> /dev/null
    """)
    tpm.freeze()
    shell_with_tpm.plays("""
        $ tokenkeep get name; echo
        v
        $ tokenkeep vault lock 2> /dev/null
    """)
    tpm.thaw()
    assert shell_with_tpm.tokenkeep("get", "name").code == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tpm", "--systemd-credential", "x"), "one key at a time"),
        (("--pcr", "7"), "--pcr and --tpm-pin are about a TPM's key"),
        (("--tpm", "--pcr", "seven"), "a PCR is a number from 0 to 23, or none"),
        (("--tpm", "--pcr", "24"), "a PCR is a number from 0 to 23, or none\nhint: --pcr 7\n"),
        (("--tpm", "--pcr", "9" * 5000), "a PCR is a number from 0 to 23, or none"),
        (("--store-item", "vault"), "a vault's key cannot lie in a vault"),
        (("--store-item", "no-such"), "unknown store 'no-such'"),
        (("--tpm", "--passphrase"), "two keys for a new vault"),
        (("--tpm", "--key-file", "k"), "two keys for a new vault"),
        (("--store-item", ""), "unknown store ''"),
    ],
)
def test_options_that_cannot_be_are_refused(
    shell: Shell, words: tuple[str, ...], message: str
) -> None:
    """A mistake costs nothing: no vault is made, no key either."""
    answer = shell.tokenkeep("vault", "create", *words)
    assert answer.code == 2
    assert f"error: {message}" in answer.err
    assert not (shell.home / ".local" / "share" / "tokenkeep").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--systemd-credential", ""),
        ("--tpm", "--tpm-pin-file", ""),
        ("--key-file", ""),
        ("--passphrase-file", ""),
    ],
)
def test_a_key_that_an_unset_variable_names_makes_no_lesser_one(
    shell: Shell, words: tuple[str, ...]
) -> None:
    """The default key file in another key's place, or a TPM's key without its PIN."""
    answer = shell.tokenkeep("vault", "create", *words)
    assert (True, b"") == (answer.code > 0, answer.out)
    assert "TPM 2.0" not in answer.err, "the PIN is looked at first"
    assert not (shell.home / ".local" / "share" / "tokenkeep").exists()


def test_name_that_leads_elsewhere_is_refused(shell: Shell) -> None:
    """A credential's name is no path."""
    answer = shell.tokenkeep("vault", "create", "--systemd-credential", "../../etc/shadow")
    assert (1, b"") == (answer.code, answer.out)
    assert "error: a credential's name" in answer.err


def test_new_key_on_stdout_goes_to_a_program(shell: Shell) -> None:
    """32 bytes for what keeps them; a file or stdout, not both."""
    assert len(shell.tokenkeep("vault", "new-key", "--stdout").out) == 32
    assert shell.tokenkeep("vault", "new-key").code == 2
    assert shell.tokenkeep("vault", "new-key", "--stdout", "file").code == 2
    assert not (shell.home / "file").exists()


@pytest.mark.requires("terminal")
def test_new_key_is_not_shown_on_a_terminal(shell: Shell) -> None:
    """What scrolls by on a screen is no secret any more."""
    import pty

    ours, theirs = pty.openpty()
    done = subprocess.run(
        shell.command("vault", "new-key", "--stdout"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=shell.environment,
        cwd=shell.home,
        timeout=60,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"not shown on a terminal" in done.stderr


def test_vault_of_a_service_opens_with_its_credential(shell: Shell, tmp_path: Path) -> None:
    """What systemd gives at start opens the vault, without an option; else the unit's line."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "notes").write_bytes(os.urandom(32))
    (credentials / "notes").chmod(0o400)
    shell.variables |= {
        "CREDENTIALS_DIRECTORY": str(credentials),
        "TOKENKEEP_APP": "org.example.notes",
    }
    shell.plays("""
        $ tokenkeep vault create --systemd-credential notes 2> /dev/null
        ~/.local/share/tokenkeep/vault
        $ printf v | tokenkeep set name && tokenkeep get name; echo
        v
        $ tokenkeep vault check | grep key
        key ...: systemd-credential, notes
        $ tokenkeep doctor | grep ^protection
        protection: file permissions
        $ env -u CREDENTIALS_DIRECTORY tokenkeep get name
        error: systemd gave this process no credentials
        hint: in the service's unit: LoadCredentialEncrypted=notes:/etc/credstore.encrypted/notes
        [6]
    """)


@pytest.mark.requires("kernel keyring")
def test_vault_whose_key_is_an_item_elsewhere(shell: Shell) -> None:
    """The key lies in another store, and goes from there with its slot."""
    shell.variables["TOKENKEEP_APP"] = "org.example.notes"
    shell.plays("""
        $ tokenkeep --app tokenkeep.vault --store kernel-keyring list > before
        $ tokenkeep vault create --store-item kernel-keyring 2> /dev/null
        ~/.local/share/tokenkeep/vault
        $ printf v | tokenkeep set name && tokenkeep get name; echo
        v
        $ tokenkeep vault check | grep key
        key ...: store-item, kernel-keyring
        $ tokenkeep --app tokenkeep.vault --store kernel-keyring list | comm -13 before - | wc -l
        1
        $ (umask 077; echo on paper > phrase)
        $ tokenkeep vault add-key --new-passphrase-file phrase > paper
        $ tokenkeep vault rekey --root --with-passphrase-file phrase
        items encrypted anew: 1
        $ tokenkeep get name; echo
        v
        $ tokenkeep vault check --json > keys.json
    """)
    keys = json.loads((shell.home / "keys.json").read_text())["keys"]
    slot = next(each["id"] for each in keys if each["kind"] == "store-item")
    # By the passphrase alone, the slot's own key is at hand all the same.
    answer = shell.tokenkeep(
        "--passphrase-file", "phrase", "vault", "remove-key", "--yes", "--rekey", slot
    )
    assert answer.code == 0, answer.err
    shell.plays("""
        $ tokenkeep --app tokenkeep.vault --store kernel-keyring list | cmp before -
        $ tokenkeep --passphrase-file phrase get name; echo
        v
    """)


@pytest.mark.requires("swtpm")
def test_vault_that_its_own_slots_open_is_not_reset(shell_with_tpm: Shell) -> None:
    """A lost key file is named by a flag, and the only key then; the vault has another one."""
    shell_with_tpm.plays("""
        $ tokenkeep vault create --key-file my.key > /dev/null 2>&1
        $ printf v | tokenkeep set name && mv my.key elsewhere
        $ tokenkeep --key-file elsewhere vault add-key --tpm > slot
        $ tokenkeep --key-file my.key vault reset --yes
        error: the vault opens, so there is nothing to reset
        hint: tokenkeep --app SERVICE clear erases an application's items
        [2]
        $ tokenkeep --key-file elsewhere get name; echo
        v
    """)
