"""The command-line tool in Windows' Python: what a person does first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tokenkeep import config
from tokenkeep.native import dpapi
from tokenkeep.secret import Secret


@pytest.fixture(autouse=True)
def folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENKEEP_APP", "org.example.notes")
    monkeypatch.chdir(home)


def run(*arguments: str, stdin: bytes = b"", expected: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "tokenkeep.cli", *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
    )
    assert expected == done.returncode, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8")


def test_first_value_makes_a_vault_that_dpapi_opens() -> None:
    """No choice, no file, no question; the vault's verbs find the same vault."""
    run("set", "password", stdin=b"kept")
    assert "kept" == run("get", "password").rstrip("\r\n")
    assert Path(config.default_vault_path()).is_dir()
    assert not Path(config.default_key_path()).exists()
    assert "dpapi" in run("vault", "check")


def test_created_vault_is_opened_by_dpapi_too() -> None:
    """`vault create` asks for nothing; another key can be added beside."""
    run("vault", "create")
    run("set", "password", stdin=b"kept")
    run("vault", "add-key", "--new-key-file", "spare.key")
    assert "kept" == run("get", "password", "--key-file", "spare.key").rstrip("\r\n")
    run("vault", "rekey")
    assert "kept" == run("get", "password").rstrip("\r\n")


def test_key_file_on_request() -> None:
    """Named, it is the only key, and is found again without being named."""
    run("vault", "create", "--key-file", config.default_key_path())
    run("set", "password", stdin=b"kept")
    assert "kept" == run("get", "password").rstrip("\r\n")
    assert "dpapi" not in run("vault", "check")


def test_flutter_s_file_is_moved_and_rewritten(home: Path) -> None:
    """Sealed by Windows for this user without entropy, as the plugin does; the rest stays so."""
    file = home / "flutter_secure_storage.dat"
    file.write_bytes(dpapi.protect(Secret('{"token": "kept", "other": "stays"}')))
    moving = "import", "flutter-windows", str(file), "--name", "token"
    run(*moving)
    assert "kept" == run("get", "token").rstrip("\r\n")
    run(*moving, "--confirm")
    assert '{"other":"stays"}' == dpapi.unprotect(file.read_bytes()).reveal().replace(" ", "")


def test_doctor_names_every_store() -> None:
    """Which one is used, and why not the others."""
    told = run("doctor", "--json")
    assert '"vault"' in told
    assert "secret-service" in told
