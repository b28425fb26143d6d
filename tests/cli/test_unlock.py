"""`vault unlock` and `vault lock`: one question, then none until the time is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.person import Person
from cli.shell import Shell, kill
from support.desktop import gnome_desktop
from support.other_user import let_through

pytestmark = pytest.mark.requires("terminal", "kernel keyring")


#: As a login does: a session keyring that is nobody else's.
LOGGED_IN = """
import os, sys
from support.keyrings import join_new_session
join_new_session()
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
#: A user whom nobody is.
ORDINARY = 54_330


@pytest.fixture
def shell_with_passphrase(shell: Shell) -> Iterator[Shell]:
    """A vault that only a passphrase opens, which lies in a file that no configuration names."""
    shell.variables["TOKENKEEP_APP"] = "org.example.notes"
    shell.plays("""
        $ (umask 077; echo correct horse > phrase)
        $ tokenkeep --passphrase-file phrase vault create 2> made
        ~/.local/share/tokenkeep/vault
        $ echo 'store = "vault"' > .config/tokenkeep/config.toml
        $ printf v | tokenkeep --passphrase-file phrase set name
    """)
    yield shell
    shell.tokenkeep("vault", "lock")


def test_a_question_is_asked_once(shell_with_passphrase: Shell) -> None:
    """Then every command opens the vault, until `lock`."""
    with Person(shell_with_passphrase, "vault", "unlock", "--for", "1h") as person:
        person.sees("passphrase of the vault: ")
        person.types("correct horse\n")
        assert 0 == person.code()
        assert "unlocked until" in person.screen
        assert "kernel-keyring" in person.screen
    shell_with_passphrase.plays("""
        $ tokenkeep get name; echo
        v
        $ tokenkeep doctor 2> /dev/null | grep ^unlocked
        unlocked: until ..., by the kernel-keyring
        $ tokenkeep vault lock
        locked
        $ tokenkeep vault lock
        it was not unlocked
        $ tokenkeep doctor 2> /dev/null | grep ^unlocked
        [1]
        $ tokenkeep get name
        error: the vault needs its passphrase, and there is no terminal to ask on
        hint: --passphrase-file FILE
        [4]
    """)


def test_wrong_passphrase_unlocks_nothing(shell_with_passphrase: Shell) -> None:
    """Nor does it take back what was unlocked before; being unlocked is no proof for more time."""
    shell_with_passphrase.plays("""
        $ (umask 077; echo wrong > wrong)
        $ tokenkeep --passphrase-file wrong vault unlock
        error: none of the given keys opens this vault
        hint: give its passphrase
        [7]
        $ tokenkeep vault unlock
        error: the vault needs its passphrase, and there is no terminal to ask on
        hint: --passphrase-file FILE
        [4]
        $ tokenkeep --passphrase-file phrase vault unlock --for 30m 2> /dev/null
        $ tokenkeep --passphrase-file wrong vault unlock --for 7d 2> /dev/null
        [7]
        $ tokenkeep vault unlock
        error: the vault needs its passphrase, and there is no terminal to ask on
        hint: --passphrase-file FILE
        [4]
        $ tokenkeep get name; echo
        v
    """)


def test_its_time_ends_it(shell_with_passphrase: Shell) -> None:
    """The kernel forgets it by itself; the next command has to ask."""
    unlock = ("--passphrase-file", "phrase", "vault", "unlock", "--for", "3s")
    assert 0 == shell_with_passphrase.tokenkeep(*unlock).code
    assert b"v" == shell_with_passphrase.tokenkeep("get", "name").out
    time.sleep(4.2)
    assert 4 == shell_with_passphrase.tokenkeep("get", "name").code
    assert 0 == shell_with_passphrase.tokenkeep("vault", "lock").code


@pytest.mark.parametrize(
    "duration",
    ["0h", "8", "h", "-1h", "1.5h", "8 h", "9999d", "²h", "", "9" * 5000 + "h"],
    ids=lambda text: text[:8],
)
def test_time_that_is_none_is_refused(shell_with_passphrase: Shell, duration: str) -> None:
    """Usage, with an example, before any question."""
    answer = shell_with_passphrase.tokenkeep("vault", "unlock", "--for", duration)
    assert 2 == answer.code
    assert "tokenkeep vault unlock --for 8h" in answer.err


def test_another_vault_stays_locked(shell_with_passphrase: Shell) -> None:
    """What is kept opens one vault, also if another one has the same passphrase."""
    shell_with_passphrase.plays("""
        $ tokenkeep --passphrase-file phrase vault create --path other > made 2>&1
        $ tokenkeep --passphrase-file phrase vault unlock 2> /dev/null
        $ tokenkeep get name; echo
        v
        $ tokenkeep --store vault:other list
        error: the vault needs its passphrase, and there is no terminal to ask on
        hint: --passphrase-file FILE
        [4]
        $ tokenkeep --store vault:other vault lock
        it was not unlocked
        $ tokenkeep get name; echo
        v
    """)


def test_new_keys_lock_it(shell_with_passphrase: Shell) -> None:
    """A new root key takes back what was given under the old one; new item keys do not."""
    shell_with_passphrase.plays("""
        $ tokenkeep --passphrase-file phrase vault unlock 2> /dev/null
        $ tokenkeep vault rekey
        items encrypted anew: 1
        $ tokenkeep get name; echo
        v
        $ tokenkeep --passphrase-file phrase vault rekey --root
        the vault was unlocked for a while and is locked now
        items encrypted anew: 1
        $ tokenkeep get name
        error: the vault needs its passphrase, and there is no terminal to ask on
        hint: --passphrase-file FILE
        [4]
    """)


def test_a_removed_slot_opens_nothing_any_more(shell_with_passphrase: Shell) -> None:
    """What is left of it is not used, and is no error."""
    shell_with_passphrase.plays("""
        $ tokenkeep vault check --json --passphrase-file phrase > before
        $ (umask 077; echo second > second)
        $ tokenkeep --passphrase-file phrase vault add-key --new-passphrase-file second > slot
        $ tokenkeep --passphrase-file phrase vault unlock 2> /dev/null
    """)
    before = json.loads((shell_with_passphrase.home / "before").read_text())
    first = before["keys"][0]["id"]
    # By Python, which does not lock as the command does: what is left is stale.
    program = (
        "from tokenkeep.vault.vault import Vault; from tokenkeep.vault.access import remove_key;"
        "from tokenkeep.vault.passphrase import Passphrase; from tokenkeep.item import Call;"
        f"remove_key(Vault('.local/share/tokenkeep/vault', (Passphrase('second'),)),"
        f" bytes.fromhex('{first}'), Call(30))"
    )
    shell_with_passphrase.plays(f"""
        $ tokenkeep get name; echo
        v
        $ python -c "{program}"
        $ tokenkeep get name
        error: the vault needs its passphrase, and there is no terminal to ask on
        hint: --passphrase-file FILE
        [4]
        $ tokenkeep --passphrase-file second get name; echo
        v
    """)


def test_python_opens_it_too(shell_with_passphrase: Shell) -> None:
    """`UnlockedVault` before a key that asks: any process of this user, without a question."""
    program = (
        "from tokenkeep import *;"
        "key = (UnlockedVault(), Passphrase(lambda: exit('asked'), prompts=True));"
        "options = VaultOptions('.local/share/tokenkeep/vault', key, create=False);"
        "print(SecureStorage('org.example.notes', options).read('name').reveal())"
    )
    shell_with_passphrase.plays(f"""
        $ tokenkeep --passphrase-file phrase vault unlock 2> /dev/null
        $ python -c "{program}"
        v
    """)


def test_killed_unlock_leaves_the_old_state_or_the_new(shell_with_passphrase: Shell) -> None:
    """Wherever it is killed, the vault opens as before or without a question, and `lock` works."""
    words = ("--passphrase-file", "phrase", "vault", "unlock", "--for", "1h")
    began = time.monotonic()
    assert 0 == shell_with_passphrase.tokenkeep(*words).code
    took = time.monotonic() - began
    shell_with_passphrase.tokenkeep("vault", "lock")
    codes = set()
    for part in (0.2, 0.5, 0.8, 0.9, 1.0):
        process = shell_with_passphrase.start(*words)
        time.sleep(took * part)
        kill(process)
        codes.add(shell_with_passphrase.tokenkeep("get", "name").code)
        assert (
            b"v"
            == shell_with_passphrase.tokenkeep("--passphrase-file", "phrase", "get", "name").out
        )
        assert 0 == shell_with_passphrase.tokenkeep("vault", "lock").code
    assert codes <= {0, 4}


def test_the_kernel_is_not_asked_where_nothing_is_asked(shell_with_vault: Shell) -> None:
    """A vault behind a key file opens without a look at what may be unlocked."""
    program = (
        "import sys; from tokenkeep.cli.main import run; run(['get', 'name']);"
        "unasked = {'ctypes', 'tokenkeep.unlocked_vault', 'tokenkeep.native'};"
        "print(sorted(unasked & set(sys.modules)))"
    )
    path = Path(shell_with_vault.home) / "look.py"
    path.write_text(program, encoding="utf-8")
    shell_with_vault.plays("""
        $ printf v | tokenkeep set name
        $ python look.py
        v[]
    """)


@pytest.mark.requires("ordinary user")
def test_an_ordinary_user_unlocks_in_one_login_and_reads_in_another(tmp_path: Path) -> None:
    """Every process of the user, in whatever session, until one of them locks; nobody else."""
    user = ORDINARY if os.geteuid() == 0 else os.geteuid()
    home = tmp_path / "home"
    let_through(home)
    home.mkdir()
    phrase = home / "phrase"
    phrase.write_text("correct horse", encoding="utf-8")
    phrase.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(home, user, user)
        os.chown(phrase, user, user)
    folders = {f"XDG_{each}_HOME": str(home / each) for each in ("CONFIG", "DATA", "STATE")}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
        "HOME": str(home),
        "TOKENKEEP_APP": "org.example.notes",
        **folders,
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "TOKENKEEP_STORE": "vault",
    }
    # A Python below root's home can be read all the same; keys know no such right.
    become = [
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    ]

    def logged_in(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [
                *(become if os.geteuid() == 0 else []),
                *(sys.executable, "-B", "-c", LOGGED_IN, "-B", "-m", "tokenkeep.cli", *words),
            ],
            input=stdin,
            capture_output=True,
            cwd=home,
            env=environment,
            timeout=60,
        )

    with_phrase = ("--passphrase-file", "phrase")
    assert 0 == logged_in(*with_phrase, "vault", "create").returncode
    (home / "CONFIG" / "tokenkeep" / "config.toml").unlink()
    assert 0 == logged_in(*with_phrase, "set", "name", stdin=b"v").returncode
    assert 4 == logged_in("get", "name").returncode
    unlocked = logged_in(*with_phrase, "vault", "unlock", "--for", "10m")
    assert (0, b"") == (unlocked.returncode, unlocked.stdout)
    assert b"kernel-keyring" in unlocked.stderr
    assert b"v" == logged_in("get", "name").stdout
    assert b"locked\n" == logged_in("vault", "lock").stderr
    assert 4 == logged_in("get", "name").returncode


def test_a_slot_in_the_kernel_keyring_is_rekeyed_and_replaced(shell_with_vault: Shell) -> None:
    """A key that is an item of this store is found without being named."""
    shell_with_vault.plays("""
        $ printf v | tokenkeep set name
        $ tokenkeep vault add-key --store-item kernel-keyring > slot
        $ tokenkeep vault rekey --root
        items encrypted anew: 1
        $ tokenkeep --key-file none get name
        error: the key file is not there: ~/none
        hint: bring the key file back
        [6]
        $ mv .config/tokenkeep/vault.key away
        $ tokenkeep get name; echo
        v
        $ tokenkeep vault replace-all --yes --store-item kernel-keyring 2>&1 | grep store-item
        opens no more: ...: store-item
        opens now: ...: store-item
        $ tokenkeep get name; echo
        v
        $ tokenkeep --key-file away get name
        error: none of the given keys opens this vault
        hint: give its store-item
        [7]
        $ tokenkeep vault add-key --new-key-file last > slot
        $ tokenkeep vault check | grep store-item | cut -d' ' -f2 | tr -d : > kept
        $ tokenkeep vault remove-key --yes $(cat kept) 2> said
    """)


def contained(shell: Shell) -> None:
    """Lets `python contained.py ...` be the command where the kernel's keys are forbidden."""
    tests = Path(__file__).resolve().parents[1]
    program = (
        f"import sys; sys.path.insert(0, '{tests}');"
        "from support.seccomp import forbid_keys; forbid_keys();"
        "from tokenkeep.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    (shell.home / "contained.py").write_text(program, encoding="utf-8")


def test_where_nothing_can_keep_it_nothing_is_unlocked(shell_with_passphrase: Shell) -> None:
    """A container that forbids the kernel's keys, without a desktop: said, with another way."""
    contained(shell_with_passphrase)
    shell_with_passphrase.variables["DBUS_SESSION_BUS_ADDRESS"] = ""
    shell_with_passphrase.variables["XDG_RUNTIME_DIR"] = str(shell_with_passphrase.home)
    shell_with_passphrase.plays("""
        $ python contained.py --passphrase-file phrase vault unlock
        error: there is neither a kernel keyring nor a store of the platform's to keep it in
        hint: --passphrase-file FILE
        [6]
        $ python contained.py --passphrase-file phrase get name; echo
        v
        $ python contained.py vault lock
        it was not unlocked
        $ python contained.py get name
        error: the vault needs its passphrase, and there is no terminal to ask on
        hint: --passphrase-file FILE
        [4]
    """)


@pytest.mark.requires("gnome-keyring")
def test_without_the_kernel_s_keys_the_platform_s_store_keeps_it(
    shell_with_passphrase: Shell,
) -> None:
    """Under its own end, as the desktop's keyring forgets nothing by itself."""
    contained(shell_with_passphrase)
    with gnome_desktop():
        shell_with_passphrase.plays("""
            $ python contained.py --passphrase-file phrase vault unlock --for 6s
            unlocked until ..., by the secret-service
            hint: tokenkeep vault lock
            $ python contained.py get name; echo
            v
            $ sleep 6
            $ python contained.py get name
            error: the vault needs its passphrase, and there is no terminal to ask on
            hint: --passphrase-file FILE
            [4]
            $ python contained.py vault lock
            locked
            $ python contained.py vault lock
            it was not unlocked
        """)
