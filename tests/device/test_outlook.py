"""What `doctor` and the page of stores say becomes of items is what becomes of them.

The truth stands here as a table, from the platforms' own words (platform headers and documents) and
held against what the real stores do, wherever one can run. It knows nothing of `outlook`'s rules.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from docs.stores_page import ENTRIES
from support.bus import Bus
from support.children import in_child
from support.desktop import gnome_desktop, in_environment
from support.fake_dpapi import FakeDpapi
from support.gnome_keyring import GnomeKeyring
from support.keyrings import join_new_session
from support.keyrings import store as kernel_store
from support.tpm import Emulator, call
from support.waiting import eventually
from tokenkeep.backends.dpapi import DpapiKey
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.backends.secret_service import SecretServiceStore
from tokenkeep.backends.store_item import StoreItemKey
from tokenkeep.backends.systemd_credential import SystemdCredential
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import StoreError, StoreLocked
from tokenkeep.native import dpapi
from tokenkeep.outlook import outlook
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Store, StoreFacts
from tokenkeep.vault.key import Key
from vault.places import SERVICE, item, key_file, passphrase


class Truth(NamedTuple):
    """What items do, in a word: open, are locked, closed for good, or lost; "unknown"."""

    locking: str
    rebooting: str
    reinstalling: str
    restored_here: str
    restored_elsewhere: str


#: What each text means, for whoever reads it.
LOCKING = {
    "nothing: items stay readable": "open",
    "items are refused with StoreLocked until the store is unlocked; nothing is lost": "locked",
    "items may be refused with StoreLocked until the store is unlocked; nothing is lost": "unknown",
}
REBOOTING = {
    "nothing": "open",
    "items are there, and refused with StoreLocked until the first unlocking": "locked",
    "everything is lost: items live for the process; sign in again": "lost",
    "everything is lost: items live for the login; sign in again": "lost",
    "everything is lost: items live for the boot; sign in again": "lost",
}
_POLICY = "sessions of the old installation are treated as the policy says"
REINSTALLING = {
    f"items stay; {_POLICY}": "open",
    "everything is lost: the store goes with the application; sign in again": "lost",
    "nothing, within the process": "open",
    "nothing, within the login": "open",
    "nothing, within the boot": "open",
}
_NEWER = "what is newer than the backup is lost; sessions may need a new login"
_RESET = "there storage.reset(), then sign in again"
RESTORING = {
    "items are in no backup; where the application's data is, sign in again": ("lost", "lost"),
    f"items open again, on another machine too with what opens them; {_NEWER}": ("open", "open"),
    f"on the same machine items open again; {_NEWER}; another machine does not open them:"
    f" {_RESET}": ("open", "closed"),
    f"on the same machine items open again; {_NEWER}; another machine may not open them:"
    f" {_RESET}": ("open", "unknown"),
    f"items open within the boot that the backup was made in, and nowhere else: {_RESET}": (
        "until the reboot",
        "closed",
    ),
    f"items open in the installation that wrote them, and nowhere else: {_RESET}": (
        "until it is removed",
        "closed",
    ),
}
RESETTING = {
    "what is in no backup and no export is lost; sign in again": "backup",
    "everything is lost that was not exported; sign in again": "lost",
    "what was synced comes back with the account; what is in no backup and no export is lost;"
    " sign in again": "synced, backup",
    "what was synced comes back with the account; everything is lost that was not exported;"
    " sign in again": "synced",
}

_FILES = Truth("open", "open", "open", "open", "open")
_THIS_MACHINE = Truth("open", "open", "open", "open", "closed")
_KEYRING = Truth("locked", "locked", "open", "open", "open")
_UNTIL_REBOOT = Truth("open", "lost", "open", "lost", "lost")
_KEYSTORE = Truth("open", "open", "lost", "lost", "lost")
_KEYSTORE_LOCKED = Truth("locked", "locked", "lost", "lost", "lost")
TRUTH = {
    "`secret-service`": _KEYRING,
    # CryptUnprotectData: NTE_BAD_KEY_STATE for another user or machine; a roaming profile brings
    # its keys along, where there is one. CRED_PERSIST_SESSION: this logon session only.
    "`windows-credentials`": _THIS_MACHINE,
    "`windows-credentials`, ENTERPRISE": _THIS_MACHINE._replace(restored_elsewhere="unknown"),
    "`windows-credentials`, SESSION": _UNTIL_REBOOT,
    "`vault`, key file": _FILES,
    "`vault`, passphrase": _FILES,
    "`vault`, TPM 2.0": _THIS_MACHINE,
    "`vault`, systemd credential": _THIS_MACHINE,
    "`vault`, DPAPI": _THIS_MACHINE,
    "`vault`, item in `secret-service`": _KEYRING,
    "`vault`, item in `kernel-keyring`, user": Truth(
        "open", "lost", "open", "until the reboot", "closed"
    ),
    # keyrings(7): nothing survives a reboot.
    "`kernel-keyring`, session": _UNTIL_REBOOT,
    "`kernel-keyring`, user": _UNTIL_REBOOT,
    "`kernel-keyring`, persistent": _UNTIL_REBOOT,
    # KeyGenParameterSpec, and Context.getNoBackupFilesDir(): a key goes with its application and
    # never leaves the device.
    "`android`": _KEYSTORE,
    "`android`, `unlocked_device_required`": _KEYSTORE_LOCKED,
    "`android`, `user_authentication`": _KEYSTORE_LOCKED,
    "`android`, `Place.FILES`": Truth("open", "open", "lost", "until it is removed", "closed"),
    "`apple-keychain`, macOS file keychain": Truth("unknown", "locked", "open", "open", "open"),
    # SecItemConstants.c: ak "unlocked; migrates in encrypted backup", ck "after first unlock;
    # migrates", aku and cku "no migration", akpu "needs passcode". Of access control and of a
    # Mac's backups nobody says so.
    "`apple-keychain`, macOS data-protection keychain": Truth(
        "locked", "locked", "open", "open", "unknown"
    ),
    "`apple-keychain`, iOS": Truth("locked", "locked", "open", "open", "open"),
    "`apple-keychain`, iOS, `AFTER_FIRST_UNLOCK`": Truth("open", "locked", "open", "open", "open"),
    "`apple-keychain`, iOS, `WHEN_UNLOCKED_THIS_DEVICE_ONLY`": Truth(
        "locked", "locked", "open", "lost", "lost"
    ),
    "`apple-keychain`, iOS, `AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY`": Truth(
        "open", "locked", "open", "lost", "lost"
    ),
    "`apple-keychain`, iOS, `WHEN_PASSCODE_SET_THIS_DEVICE_ONLY`": Truth(
        "locked", "locked", "open", "lost", "lost"
    ),
    "`apple-keychain`, iOS, access control": Truth("locked", "locked", "open", "open", "unknown"),
    "`apple-keychain`, iOS, `synchronizable`": Truth("locked", "locked", "open", "open", "open"),
    "memory (no name)": _UNTIL_REBOOT,
}
SYNCS = {"`windows-credentials`, ENTERPRISE", "`apple-keychain`, iOS, `synchronizable`"}


def told(facts: StoreFacts) -> Truth:
    """What a reader of the texts takes from them."""
    texts = outlook(facts)
    return Truth(
        LOCKING[texts["locking"]],
        REBOOTING[texts["rebooting"]],
        REINSTALLING[texts["reinstalling the application"]],
        *RESTORING[texts["restoring a backup"]],
    )


def test_every_row_is_told_as_it_is() -> None:
    """Each store of the page, and each text of it, is in the table, and none is left over."""
    assert TRUTH == {entry.name: told(entry.facts) for entry in ENTRIES}


def test_reset_device_has_what_another_machine_would_have() -> None:
    """What a backup brings to another machine it brings to a device that was reset, too."""
    for entry in ENTRIES:
        truth = TRUTH[entry.name]
        comes_back = ["synced"] if entry.name in SYNCS else []
        comes_back += ["backup"] if truth.restored_elsewhere == "open" else []
        said = RESETTING[outlook(entry.facts)["resetting the device"]]
        assert (", ".join(comes_back) or "lost") == said, entry.name


def assert_as_told(name: str, seen: Truth, facts: StoreFacts) -> None:
    """The page's row, and the real store's own outlook, are what was seen of it."""
    assert TRUTH[name] == seen == told(facts)


def outcome(read: Callable[[], Secret | None]) -> str:
    """What became of an item, in the words of `Truth`."""
    try:
        found = read()
    except StoreLocked:
        return "locked"
    except StoreError:
        return "closed"
    return "lost" if found is None else "open"


def vault(place: Path, key: Key) -> VaultStore:
    return VaultStore(VaultOptions(place / "vault", key))


def filled(store: VaultStore) -> StoreFacts:
    """Its facts, once it has an item."""
    store.write(item("a"), Secret("kept"), call())
    store.close()
    return store.facts


def read(store: Store) -> str:
    return outcome(lambda: store.read(item("a"), call()))


def restored(place: Path, to: Path) -> Path:
    """A backup of everything in a place, brought to another one, or to the same after a loss."""
    backup = place.parent / "backup"
    shutil.copytree(place, backup, dirs_exist_ok=True)
    if to == place:
        shutil.rmtree(place)
    shutil.copytree(backup, to)
    return to


def closed_until_reset(place: Path, key: Key) -> str:
    """What a vault does on another machine; `storage.reset()` is the way out, as is told."""
    found = read(vault(place, key))
    storage = SecureStorage(SERVICE, vault(place, key), state_directory=str(place / "state"))
    assert storage.reset().set_aside is not None
    assert storage.read("a") is None
    return found


@pytest.mark.parametrize("kind", ["key file", "passphrase"])
def test_vault_of_files(tmp_path: Path, kind: str) -> None:
    """There is nothing to lock; wherever the files and what opens them are, the items are."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()

    def key(place: Path) -> Key:
        return key_file(place) if kind == "key file" else passphrase()

    facts = filled(vault(here, key(here)))
    rebooted = read(vault(here, key(here)))
    restored(here, here)
    same = read(vault(here, key(here)))
    restored(here, there)
    other = read(vault(there, key(there)))
    assert_as_told(f"`vault`, {kind}", Truth("open", rebooted, "open", same, other), facts)


@pytest.mark.requires("swtpm")
def test_vault_of_a_tpm(tmp_path: Path) -> None:
    """The machine opens it after a reboot and from a backup, and no other machine does."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    with Emulator() as tpm, Emulator() as other:
        key = TpmKey(device=tpm.device)
        facts = filled(vault(here, key))
        tpm.stop()
        tpm.start()
        rebooted = read(vault(here, key))
        restored(here, here)
        same = read(vault(here, key))
        restored(here, there)
        elsewhere = closed_until_reset(there, TpmKey(device=other.device))
    assert_as_told("`vault`, TPM 2.0", Truth("open", rebooted, "open", same, elsewhere), facts)


def test_vault_of_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each start of the service on this machine is given it; another machine's is not."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    given = os.urandom(32)

    def start(content: bytes | None) -> None:
        directory = tmp_path / f"credentials-{os.urandom(4).hex()}"
        directory.mkdir(mode=0o700)
        if content is not None:
            (directory / "notes").write_bytes(content)
            (directory / "notes").chmod(0o400)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))

    key = SystemdCredential("notes")
    start(given)
    facts = filled(vault(here, key))
    start(given)
    rebooted = read(vault(here, key))
    restored(here, here)
    same = read(vault(here, key))
    restored(here, there)
    start(None)
    elsewhere = read(vault(there, key))
    storage = SecureStorage(SERVICE, vault(there, key), state_directory=str(tmp_path / "state"))
    assert storage.reset().set_aside is not None
    seen = Truth("open", rebooted, "open", same, elsewhere)
    assert_as_told("`vault`, systemd credential", seen, facts)


@pytest.mark.parametrize("code", [None, 0x8009000B], ids=["as Wine says", "as Windows says"])
def test_vault_of_dpapi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None) -> None:
    """This user of this machine opens it; another one's Windows says that it cannot."""
    here, there, windows = tmp_path / "here", tmp_path / "there", FakeDpapi()
    here.mkdir()
    monkeypatch.setattr(dpapi, "Crypt32", windows)
    facts = filled(vault(here, DpapiKey()))
    rebooted = read(vault(here, DpapiKey()))
    restored(here, here)
    same = read(vault(here, DpapiKey()))
    restored(here, there)
    windows.user = b"another machine's"
    windows.code, windows.times = code or 0, 2  # for the reading, and for the reset
    elsewhere = closed_until_reset(there, DpapiKey())
    assert_as_told("`vault`, DPAPI", Truth("open", rebooted, "open", same, elsewhere), facts)


@pytest.fixture
def desktop() -> Iterator[GnomeKeyring]:
    with gnome_desktop() as keyring:
        yield keyring


@pytest.mark.requires("gnome-keyring")
@pytest.mark.parametrize("kind", ["`secret-service`", "`vault`, item in `secret-service`"])
def test_keyring_of_a_desktop(desktop: GnomeKeyring, tmp_path: Path, kind: str) -> None:
    """Locked, rebooted, restored here and on another machine with the keyring's password."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()

    def store(place: Path) -> Store:
        """What a new process would make."""
        keyring = SecretServiceStore()
        return vault(place, StoreItemKey(keyring)) if kind.startswith("`vault`") else keyring

    first = store(here)
    first.write(item("a"), Secret("kept"), call())
    facts = first.facts
    desktop.lock()
    locked = read(store(here))
    restart(desktop)
    rebooted = read(store(here))
    desktop.unlock()
    assert "open" == read(store(here))
    keyrings = Path(desktop.bus.env["XDG_DATA_HOME"]) / "keyrings"
    shutil.copytree(keyrings, here / "keyrings")
    restored(here, here)
    same = read(store(here))
    with Bus() as bus, in_environment(bus):
        shutil.copytree(here / "keyrings", Path(bus.env["XDG_DATA_HOME"]) / "keyrings")
        GnomeKeyring(bus)
        elsewhere = read(store(restored(here, there)))
    seen = Truth(locked, rebooted, "open", same, elsewhere)
    assert_as_told(kind, seen, facts)


@pytest.mark.requires("gnome-keyring")
def test_vault_without_its_keyring(desktop: GnomeKeyring, tmp_path: Path) -> None:
    """Brought to a machine without what opens it, the vault is closed until it is reset."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    filled(vault(here, StoreItemKey(SecretServiceStore())))
    restored(here, there)
    with gnome_desktop():
        assert "closed" == closed_until_reset(there, StoreItemKey(SecretServiceStore()))


def restart(keyring: GnomeKeyring) -> None:
    """The machine comes up with a keyring that nobody has unlocked."""
    keyring.bus.end(keyring.process)
    eventually(lambda: not keyring.bus.has("org.freedesktop.secrets"), "the name stayed")
    keyring.process = keyring.bus.spawn(
        "gnome-keyring-daemon", "--foreground", "--components=secrets", "--start"
    )
    keyring.bus.wait_for("org.freedesktop.secrets")


@pytest.mark.requires("kernel keyring", "fork")
def test_keyring_of_a_login_session() -> None:
    """Gone with the login; a process of the same session that starts later still has it."""

    def work() -> list[object]:
        join_new_session()
        kernel_store().write(item("a"), Secret("kept"), call())
        again = in_child(lambda: read(kernel_store()))
        join_new_session()
        return [again, read(kernel_store())]

    again, rebooted = in_child(work)  # type: ignore[misc]
    seen = Truth("open", rebooted, again, rebooted, rebooted)
    assert_as_told("`kernel-keyring`, session", seen, kernel_store().facts)


def test_memory_of_a_process() -> None:
    """Another process, or this one started anew, has none of it."""
    store = MemoryStore()
    store.write(item("a"), Secret("kept"), call())
    lost = read(MemoryStore())
    seen = Truth(read(store), lost, "open", lost, lost)
    assert_as_told("memory (no name)", seen, store.facts)
