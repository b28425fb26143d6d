"""A vault's key that systemd hands to a service, made by the real `systemd-creds`."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.tpm import call, keys
from tokenkeep.backends.systemd_credential import SystemdCredential
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import (
    AccessDenied,
    InvalidName,
    StoreUnavailable,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.secret import Secret
from tokenkeep.store import Protection
from tokenkeep.vault import access
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.vault import Vault
from vault.places import filled_by, item, passphrase, read_by

NAME = "notes.vault"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that systemd would give the service, with one credential."""
    directory = tmp_path / "credentials"
    directory.mkdir(mode=0o500)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    give(directory, os.urandom(32))
    return directory


def give(directory: Path, content: bytes, mode: int = 0o400) -> None:
    """What systemd does: a file that the service can read and nobody write."""
    os.chmod(directory, 0o700)
    (directory / NAME).unlink(missing_ok=True)
    (directory / NAME).write_bytes(content)
    os.chmod(directory / NAME, mode)
    os.chmod(directory, 0o500)


def test_credential_opens_the_vault(given: Path, tmp_path: Path) -> None:
    """Opened with nothing but the file; honestly called what it is."""
    place, key = tmp_path / "vault", SystemdCredential(NAME)
    store = VaultStore(VaultOptions(place, key))
    store.write(item("a"), Secret("kept"), call())
    assert Protection.FILE_PERMISSIONS is store.facts.protection
    assert Secret("kept") == read_by(place, SystemdCredential(NAME))
    rekey(Vault(str(place), keys(key)), call, root=True)
    assert Secret("kept") == read_by(place, SystemdCredential(NAME))


def test_statement_that_a_tpm_sealed_it_is_kept(given: Path, tmp_path: Path) -> None:
    """Only whoever made the credential can know; the slot remembers what was said."""
    key = SystemdCredential(NAME, sealed_to_tpm=True)
    VaultStore(VaultOptions(tmp_path / "vault", key)).write(item("a"), Secret("kept"), call())
    store = VaultStore(VaultOptions(tmp_path / "vault", SystemdCredential(NAME)))
    assert Protection.HARDWARE is store.facts.protection


@pytest.mark.parametrize("missing", ["variable", "file", "directory"])
def test_without_the_credential_the_key_is_missing(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Started outside of its unit, or restored to another machine: the hint is the unit's line."""
    place = tmp_path / "vault"
    filled_by(place, SystemdCredential(NAME))
    if missing == "variable":
        monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    elif missing == "directory":
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "none"))
    else:
        os.chmod(given, 0o700)
        (given / NAME).unlink()
    with pytest.raises(VaultKeyMissing) as caught:
        read_by(place, SystemdCredential(NAME))
    assert f"LoadCredentialEncrypted={NAME}" in str(caught.value.hint)
    assert Secret("kept") == read_by(place, SystemdCredential(NAME), passphrase())


def test_another_key_under_the_name_opens_nothing(given: Path, tmp_path: Path) -> None:
    """A vault copied to a machine whose credential has the same name."""
    place = tmp_path / "vault"
    filled_by(place, SystemdCredential(NAME))
    give(given, os.urandom(32))
    with pytest.raises(WrongKey):
        read_by(place, SystemdCredential(NAME))
    assert Secret("kept") == read_by(place, SystemdCredential(NAME), passphrase())


@pytest.mark.parametrize("content", [b"", b"31 bytes are too few for a key.", bytes(65537)])
def test_what_is_no_key_is_refused(given: Path, tmp_path: Path, content: bytes) -> None:
    """A password, or a file that was taken by mistake."""
    give(given, content)
    with pytest.raises(WrongKey) as caught:
        filled_by(tmp_path / "vault", SystemdCredential(NAME))
    assert "new-key --stdout" in str(caught.value.hint)
    assert not (tmp_path / "vault").exists()


@pytest.mark.parametrize("mode", [0o444, 0o420, 0o404])
def test_credential_that_others_reach_is_refused(given: Path, tmp_path: Path, mode: int) -> None:
    """systemd makes none like that."""
    give(given, os.urandom(32), mode)
    with pytest.raises(AccessDenied):
        filled_by(tmp_path / "vault", SystemdCredential(NAME))


@pytest.mark.skipif(sys.platform != "linux", reason="a file of Linux")
def test_credential_that_cannot_be_read_now_is_unavailable(given: Path, tmp_path: Path) -> None:
    """An error of input is no question of rights."""
    (given / NAME).unlink()
    (given / NAME).symlink_to("/proc/self/mem")  # nothing is mapped at its beginning
    with pytest.raises(StoreUnavailable):
        filled_by(tmp_path / "vault", SystemdCredential(NAME))


def test_credential_of_a_dynamic_user_is_accepted(given: Path, tmp_path: Path) -> None:
    """Root's file with an access list: its group bits show the list's mask."""
    give(given, os.urandom(32), 0o440)
    filled_by(tmp_path / "vault", SystemdCredential(NAME))
    assert Secret("kept") == read_by(tmp_path / "vault", SystemdCredential(NAME))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../key", "/etc/shadow", "a/b", "a\\b", "a:b", "é", "a\nb", "x" * 256]
)
def test_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """Nothing outside the directory is ever read."""
    with pytest.raises(InvalidName):
        SystemdCredential(name)


def test_header_cannot_name_another_file(given: Path, tmp_path: Path) -> None:
    """A slot opens with the credential that the key names, not with one that the slot names."""
    place = tmp_path / "vault"
    filled_by(place, SystemdCredential(NAME))
    with pytest.raises(WrongKey):
        read_by(place, SystemdCredential("other"))


@pytest.mark.requires("systemd-creds")
def test_key_made_and_encrypted_by_the_documented_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`vault new-key --stdout | systemd-creds encrypt`, and what the service is then given."""
    make = [sys.executable, "-m", "tokenkeep.cli", "vault", "new-key", "--stdout"]
    key = subprocess.run(make, capture_output=True, check=True, timeout=60).stdout
    assert len(key) == 32
    sealed = tmp_path / f"{NAME}.cred"
    creds("encrypt", "--with-key=host", f"--name={NAME}", "-", str(sealed), stdin=key)
    assert key not in sealed.read_bytes()
    directory = tmp_path / "credentials"
    directory.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    give(directory, creds("decrypt", f"--name={NAME}", str(sealed), "-"))
    place = tmp_path / "vault"
    filled_by(place, SystemdCredential(NAME))
    # The next start of the service: decrypted anew, the same key.
    give(directory, creds("decrypt", f"--name={NAME}", str(sealed), "-"))
    assert Secret("kept") == read_by(place, SystemdCredential(NAME))
    assert 0o600 == stat.S_IMODE((place / "header").stat().st_mode)
    assert key not in (place / "header").read_bytes()


def creds(*words: str, stdin: bytes = b"") -> bytes:
    """Runs `systemd-creds`; what it wrote."""
    done = subprocess.run(
        ["systemd-creds", *words], input=stdin, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_slots_list_what_they_hang_on(given: Path, tmp_path: Path) -> None:
    """The slot says which credential, so that nobody has to remember."""
    place = tmp_path / "vault"
    filled_by(place, SystemdCredential(NAME))
    slots = access.list_keys(Vault(str(place), ()))
    by_kind = {slot.kind: slot.extra for slot in slots}
    assert {"systemd-credential", "passphrase"} == by_kind.keys()
    assert by_kind["systemd-credential"]["systemd-credential"] == NAME.encode()
