"""The command, and storage without options, on a machine with a keyring, as a person meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.desktop import gnome_desktop
from support.gnome_keyring import GnomeKeyring
from tokenkeep import Protection, Require, SecureStorage
from tokenkeep.errors import StoreUnavailable

pytestmark = pytest.mark.requires("gnome-keyring")

APP = "org.example.notes"


@pytest.fixture
def keyring() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as keyring:
        yield keyring


def tokenkeep(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tokenkeep.cli", "--app", APP, *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("store", [("--store", "secret-service"), ()], ids=["asked for", "auto"])
def test_items_by_the_command(keyring: GnomeKeyring, store: tuple[str, ...]) -> None:
    """set, get, list, delete: the keyring is what `auto` uses, too."""
    assert 0 == tokenkeep(*store, "set", "api_key", given="s3cret\n").returncode
    assert "s3cret" == tokenkeep(*store, "get", "api_key").stdout
    assert ["api_key"] == tokenkeep(*store, "list").stdout.split()
    assert 0 == tokenkeep(*store, "delete", "api_key").returncode
    gone = tokenkeep(*store, "get", "api_key")
    assert (3, "") == (gone.returncode, gone.stdout)


def test_doctor_names_the_keyring(keyring: GnomeKeyring) -> None:
    """It is the store that is used, and every other candidate has its reason."""
    answer = tokenkeep("doctor", "--json")
    report = json.loads(answer.stdout)
    assert (0, "secret-service", "ok") == (answer.returncode, report["store"], report["state"])
    said = {each["store"]: (each["use"], each["reason"]) for each in report["candidates"]}
    assert ("used", "the platform's own") == said.pop("secret-service")
    assert ("not used", "takes part only when VaultOptions ask for it") == said["vault"]
    assert {"not used"} == {use for use, _reason in said.values()}
    assert "login" == report["protection"]


def test_locked_keyring_is_exit_4(keyring: GnomeKeyring) -> None:
    """No screen, so no prompt: an error with a hint, and no value."""
    tokenkeep("set", "api_key", given="s3cret\n")
    keyring.lock()
    answer = tokenkeep("get", "api_key")
    assert (4, "") == (answer.returncode, answer.stdout)
    assert answer.stderr.startswith("error: ")


def test_storage_without_options_uses_the_keyring(keyring: GnomeKeyring) -> None:
    """And a requirement that it meets changes nothing."""
    with SecureStorage(APP) as storage:
        storage.write("api_key", "s3cret")
        assert "secret-service" == storage.facts.backend
    with SecureStorage(APP, require=Require(protection=Protection.LOGIN)) as storage:
        found = storage.read("api_key")
        assert found is not None
        assert "s3cret" == found.reveal()


def test_storage_without_options_and_without_a_bus_falls_back_to_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One error names every candidate and the command that makes a vault."""
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(StoreUnavailable) as caught, SecureStorage(APP) as storage:
        storage.read("api_key")
    assert "secret-service: there is no D-Bus session bus" in str(caught.value)
    assert "tokenkeep vault create" == caught.value.hint


#: A program whose Python has no jeepney, as without the extra.
WITHOUT_JEEPNEY = "import sys; sys.modules['jeepney'] = None; "


@pytest.mark.parametrize("store", [["--store", "secret-service"], []], ids=["asked for", "auto"])
def test_missing_extra_is_said_with_the_command_that_installs_it(
    keyring: GnomeKeyring, store: list[str]
) -> None:
    """Where there is a bus, nothing else stands in the way: exit 2, and no advice to move on."""
    words = ["--app", APP, *store, "get", "api_key"]
    code = f"{WITHOUT_JEEPNEY}from tokenkeep.cli.main import run; sys.exit(run({words!r}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (2, "") == (answer.returncode, answer.stdout)
    assert "hint: pip install 'tokenkeep[secret-service]'" in answer.stderr
    assert "vault create" not in answer.stderr


def test_missing_extra_is_no_reason_where_no_bus_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a server the package would not help: the way on is a vault."""
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    words = ["--app", APP, "get", "api_key"]
    code = f"{WITHOUT_JEEPNEY}from tokenkeep.cli.main import run; sys.exit(run({words!r}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 6 == answer.returncode
    assert "secret-service: there is no D-Bus session bus" in answer.stderr
    assert "hint: tokenkeep vault create" in answer.stderr


@pytest.mark.parametrize("options", ["", ", tokenkeep.SecretServiceOptions()"])
def test_storage_without_the_extra_says_so(keyring: GnomeKeyring, options: str) -> None:
    """`MissingExtra` from Python, too, whether the store was asked for or is the platform's own."""
    code = WITHOUT_JEEPNEY + (
        "import tokenkeep; from tokenkeep.errors import MissingExtra\n"
        f"try: tokenkeep.SecureStorage('a'{options}).read('b')\n"
        "except MissingExtra as exc: print(exc.hint)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ("", "pip install 'tokenkeep[secret-service]'\n") == (answer.stderr, answer.stdout)


def test_bus_is_found_where_systemd_puts_it(
    keyring: GnomeKeyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without an address in the environment: the socket `bus` in the runtime directory."""
    path = keyring.bus.address.removeprefix("unix:path=").partition(",")[0]
    if not os.path.exists(path):
        pytest.fail(f"the bus listens at {keyring.bus.address}")
    runtime = tmp_path / "run time"
    runtime.mkdir()
    (runtime / "bus").symlink_to(path)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with SecureStorage(APP) as storage:
        storage.write("api_key", "s3cret")
        assert storage.contains("api_key")
