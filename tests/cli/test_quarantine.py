"""`tokenkeep vault quarantine`: what did not open when it was replaced."""

from __future__ import annotations

import os
import sqlite3

from cli.shell import Shell


def test_what_was_replaced_unopened_is_listed_restored_and_erased(shell_with_vault: Shell) -> None:
    """Nothing goes without being asked for, and nothing over another item without `--replace`."""
    shell = shell_with_vault
    shell.plays("""
        $ tokenkeep vault quarantine
        $ for name in a b; do printf old | tokenkeep set $name; done
    """)
    database = sqlite3.connect(
        os.path.join(shell.home, ".local/share/tokenkeep/vault/vault.db"), isolation_level=None
    )
    database.execute("UPDATE item SET place_b = zeroblob(24)")
    database.close()
    shell.plays("""
        $ for name in a b; do printf new | tokenkeep set $name; done
        $ tokenkeep vault quarantine
        1: org.example.notes a: opens
        2: org.example.notes b: opens
        $ tokenkeep vault quarantine --restore 1
        error: there is an item of that name
        hint: tokenkeep vault quarantine --restore 1 --replace
        [1]
        $ tokenkeep vault quarantine --restore 1 --replace
        $ tokenkeep get a; echo
        old
        $ tokenkeep vault quarantine --erase 2
        error: there is no terminal to ask on
        hint: --yes does it without asking
        [2]
        $ tokenkeep vault quarantine --erase 2 --yes
        erased: 1
        $ tokenkeep vault quarantine --erase 2 --yes
        error: quarantine has no entry 2
        hint: tokenkeep vault quarantine
        [2]
        $ tokenkeep vault quarantine --json
        []
        $ tokenkeep get b; echo
        new
        $ tokenkeep vault quarantine --replace
        error: restore one, erase some, or erase all
        hint: tokenkeep vault quarantine --help
        [2]
    """)
