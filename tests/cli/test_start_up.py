"""What a cold `get` and a cold `token` import: a closed list, because each entry costs time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cli.conftest import Server
from cli.shell import Shell

pytestmark = pytest.mark.requires("terminal")

#: The package's own modules on the way of a `get`.
GET = {
    "tokenkeep",
    "tokenkeep.backends",
    "tokenkeep.backends.vault",
    "tokenkeep.cli",
    "tokenkeep.cli.fast",
    "tokenkeep.cli.main",
    "tokenkeep.cli.settings",
    "tokenkeep.cli.terminal",
    "tokenkeep.clock",
    "tokenkeep.config",
    "tokenkeep.crypto",
    "tokenkeep.errors",
    "tokenkeep.fence",
    "tokenkeep.fields",
    "tokenkeep.item",
    "tokenkeep.paths",
    "tokenkeep.secret",
    "tokenkeep.select",
    "tokenkeep.storage",
    "tokenkeep.vault",
    "tokenkeep.vault.engine",
    "tokenkeep.vault.envelope",
    "tokenkeep.vault.files",
    "tokenkeep.vault.format",
    "tokenkeep.vault.holding",
    "tokenkeep.vault.key_file",
    "tokenkeep.vault.keys",
    "tokenkeep.vault.passphrase",
    "tokenkeep.vault.rows",
    "tokenkeep.vault.slots",
    "tokenkeep.vault.sqlite",
    "tokenkeep.vault.store",
    "tokenkeep.vault.vault",
}
#: And on the way of a `token`, beside them.
TOKEN = {
    "tokenkeep.session",
    "tokenkeep.session.shared",
    "tokenkeep.sessionlog",
    "tokenkeep.tokens",
    "tokenkeep.tokens.kept",
    "tokenkeep.tokens.record",
    "tokenkeep.tokens.storage",
}
#: Everybody else's that either may load.
OTHERS = {
    "__future__",
    "_blake2",
    "_cffi_backend",
    "_operator",
    "_sqlite3",
    "_weakref",
    "cryptography",
    "cryptography.__about__",
    "cryptography.hazmat",
    "cryptography.hazmat.bindings",
    "cryptography.hazmat.bindings._rust",
    "encodings.idna",
    "errno",
    "fcntl",
    "resource",
    "warnings",
}
#: The script that pip writes imports `re` before us.
PROGRAM = (
    "import re, sys; before = set(sys.modules); from tokenkeep.cli.main import run;"
    "code = run(sys.argv[1:]);"
    "print(*sorted(set(sys.modules) - before), file=sys.stderr); sys.exit(code)"
)


def loaded_by(shell: Shell, *words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        env=shell.environment,
        cwd=shell.home,
        timeout=60,
    )
    assert 0 == done.returncode, done.stderr
    assert done.stdout
    # Inside the extension module of `cryptography`, modules are made, not imported.
    return {
        name
        for name in done.stderr.split()
        if not name.startswith(("_openssl", "cryptography.hazmat.bindings._rust."))
    }


def test_the_hot_verbs_import_nothing_else(signed_in: tuple[Shell, Server]) -> None:
    """A module that comes to the list has to be worth its time; the list is the decision."""
    shell, _server = signed_in
    shell.tokenkeep("set", "name", stdin=b"value")
    get, token = loaded_by(shell, "get", "name"), loaded_by(shell, "token")
    assert {name for name in get if name.startswith("tokenkeep")} <= GET
    assert {name for name in token if name.startswith("tokenkeep")} <= GET | TOKEN
    assert {name for name in get | token if not name.startswith("tokenkeep")} <= OTHERS
    recorded = 'key_file = "vault.key"\n'  # where it is configured, nobody is asked
    with open(shell.home / ".config" / "tokenkeep" / "config.toml", "a") as configuration:
        configuration.write(recorded)
    assert "tokenkeep.vault.passphrase" not in loaded_by(shell, "get", "name")
    # The list speaks of what happens: most of it is really loaded.
    assert len(get & GET) > 20
    assert token >= TOKEN
