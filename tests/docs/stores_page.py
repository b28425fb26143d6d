"""Writes docs/reference/stores.md from what the stores say of themselves.

Run as `python tests/docs/stores_page.py` after a change of a store's facts; a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenkeep.backends.android.options import AndroidOptions, Place, UserAuthentication
from tokenkeep.backends.android.store import facts_of as android_facts
from tokenkeep.backends.apple import AppleOptions
from tokenkeep.backends.apple.options import AccessControl, Accessibility, Constraint, Keychain
from tokenkeep.backends.apple.store import facts_of as apple_facts
from tokenkeep.backends.dpapi import DpapiKey
from tokenkeep.backends.kernel_keyring import KernelKeyringOptions, Keyring
from tokenkeep.backends.kernel_keyring import facts_of as kernel_facts
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore
from tokenkeep.backends.store_item import StoreItemKey
from tokenkeep.backends.systemd_credential import SystemdCredential
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.backends.windows import (
    WindowsCredentialStore,
    WindowsOptions,
    WindowsPersistence,
)
from tokenkeep.native.keyctl import MAX_PAYLOAD_BYTES
from tokenkeep.outlook import outlook
from tokenkeep.store import StoreFacts
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase

if TYPE_CHECKING:
    from tokenkeep.vault.slots import Key

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "stores.md"

_HEAD = """\
# Stores: what protects an item, and what becomes of it

This page is written from what each store says of itself (`StoreFacts`, also in `tokenkeep doctor`); a test
holds it against the code. The names are what `--store` takes.

## What protects the items

| store | protection | stays | who else can read | prompts | readable while locked | in backups | opens on another machine | syncs | largest value |
|---|---|---|---|---|---|---|---|---|---|
"""

_AFTER_FACTS = """
`HARDWARE` > `LOGIN` > `PASSPHRASE` > `FILE_PERMISSIONS` > `MEMORY`; a vault is as strong as its weakest key.
`SecureStorage(..., require=Require(...))` refuses a store that offers less.

## What happens to the items

| store | on lock | on reboot | on reinstall | on restore of a backup | on reset of the device |
|---|---|---|---|---|---|
"""

_WAY_OUT = """
## The way out

| what is raised | what it means | what to do |
|---|---|---|
| `StoreLocked` | the store or device is locked; nothing is lost | unlock it; `storage.wait_until_unlocked(timeout)`; a session looks again by itself |
| `StoreUnavailable` | the store is not on this machine, or not reachable now | start it, or choose another: `tokenkeep doctor` lists every store with its reason |
| `VaultKeyMissing` | the vault is there, and its key file or credential is not | bring the key back |
| `SecretInvalidated` | the key behind the items is gone for good | restore a backup of the key or add another slot's key; else `storage.reset()` or `tokenkeep vault reset`, then sign in again |
| `SecretDamaged` and kin | the bytes do not open though the key is there | restore a backup; `tokenkeep vault check` says what is damaged |
| `InteractionDenied` | the person said no, or prompting was not allowed | do not ask again at once |
| `StoreTimeout` | the store did not answer in time | try again later, or with a longer deadline |

Nothing is erased until the application asks. `storage.reset()` sets a vault that nothing opens aside and
deletes nothing of it.

## What was run, and what was not

| store | proved on | not run |
|---|---|---|
"""


@dataclass(frozen=True)
class Entry:
    """One row of the page."""

    name: str
    facts: StoreFacts
    proved: str
    not_run: str


class OnPaper(MemoryStore):
    """A store of which nothing but the facts is wanted."""

    def __init__(self, facts: StoreFacts) -> None:
        super().__init__()
        self._facts = facts

    @property
    def facts(self) -> StoreFacts:
        return self._facts


def kernel(keyring: Keyring) -> StoreFacts:
    """Of a current kernel with its defaults, whoever asks."""
    return kernel_facts(
        KernelKeyringOptions(keyring),
        version=(6, 1),
        unused_seconds=259_200,
        limit=MAX_PAYLOAD_BYTES,
    )


def android(options: AndroidOptions) -> StoreFacts:
    """Of a device with secure hardware, before there is a vault."""
    return android_facts(options, None, promises_hardware=True)


def ios(**options: Any) -> StoreFacts:
    return apple_facts(AppleOptions(**options), "ios", "arm64")


def vault(*keys: Key) -> StoreFacts:
    """Of a vault that the first write will make."""
    return VaultStore(VaultOptions("/nowhere/vault", keys)).facts


_ON_A_JVM = (
    "a Java machine with stand-ins for Android's classes, checked against the API's signatures"
)
_NO_DEVICE = "a real device: its Keystore, StrongBox, biometrics"
_IN_C = "a stand-in for Apple's frameworks, written in C"
#: The classes that are not deprecated.
CURRENT = tuple(each for each in Accessibility if not each.name.startswith("ALWAYS"))

ENTRIES = (
    Entry(
        "`secret-service`",
        SecretServiceStore(SecretServiceOptions()).facts,
        "gnome-keyring, KWallet and KeePassXC of Debian 12",
        "newer implementations (oo7, KDE 6's ksecretd)",
    ),
    Entry(
        "`windows-credentials`",
        WindowsCredentialStore(WindowsOptions()).facts,
        "Windows CPython under Wine; documented limits on a stand-in",
        "Windows itself",
    ),
    Entry(
        "`windows-credentials`, ENTERPRISE",
        WindowsCredentialStore(WindowsOptions(WindowsPersistence.ENTERPRISE)).facts,
        "as before, but for the roaming",
        "Windows itself; a roaming profile",
    ),
    Entry(
        "`windows-credentials`, SESSION",
        WindowsCredentialStore(WindowsOptions(WindowsPersistence.SESSION)).facts,
        "as before",
        "Windows itself; the end of a real logon",
    ),
    Entry(
        "`vault`, key file",
        vault(KeyFile("/nowhere/key")),
        "Linux; Windows CPython under Wine",
        "macOS; Windows itself",
    ),
    Entry("`vault`, passphrase", vault(Passphrase("x")), "Linux", "macOS; Windows itself"),
    Entry(
        "`vault`, TPM 2.0",
        vault(TpmKey()),
        "swtpm: sealed to PCRs, changed, cleared, locked out",
        "a TPM in hardware",
    ),
    Entry(
        "`vault`, systemd credential",
        vault(SystemdCredential("tokenkeep")),
        "systemd-creds 252 with the host's key",
        "credentials sealed to a TPM",
    ),
    Entry(
        "`vault`, DPAPI",
        vault(DpapiKey()),
        "Windows' own CPython 3.11 under Wine 8",
        "Windows itself",
    ),
    Entry(
        "`vault`, item in `secret-service`",
        vault(StoreItemKey(SecretServiceStore(SecretServiceOptions()))),
        "gnome-keyring of Debian 12: locked, frozen, reset",
        "KWallet and KeePassXC under a vault",
    ),
    Entry(
        "`vault`, item in `kernel-keyring`, user",
        vault(StoreItemKey(OnPaper(kernel(Keyring.USER)))),
        "the Linux kernel",
        "",
    ),
    Entry(
        "`kernel-keyring`, session",
        kernel(Keyring.SESSION),
        "the Linux kernel, as root and as an ordinary user",
        "",
    ),
    Entry(
        "`kernel-keyring`, user",
        kernel(Keyring.USER),
        "the Linux kernel, as root and as an ordinary user",
        "",
    ),
    Entry(
        "`kernel-keyring`, persistent",
        kernel(Keyring.PERSISTENT),
        "the Linux kernel, as root and as an ordinary user",
        "",
    ),
    Entry("`android`", android(AndroidOptions()), _ON_A_JVM, _NO_DEVICE),
    Entry(
        "`android`, `unlocked_device_required`",
        android(AndroidOptions(unlocked_device_required=True)),
        _ON_A_JVM,
        _NO_DEVICE,
    ),
    Entry(
        "`android`, `user_authentication`",
        android(AndroidOptions(user_authentication=UserAuthentication())),
        _ON_A_JVM,
        _NO_DEVICE,
    ),
    Entry(
        "`android`, `Place.FILES`",
        android(AndroidOptions(place=Place.FILES)),
        _ON_A_JVM,
        f"{_NO_DEVICE}; its backups",
    ),
    Entry(
        "`apple-keychain`, macOS file keychain",
        apple_facts(AppleOptions(), "darwin", "arm64"),
        _IN_C,
        "a Mac",
    ),
    Entry(
        "`apple-keychain`, macOS data-protection keychain",
        apple_facts(AppleOptions(keychain=Keychain.DATA_PROTECTION), "darwin", "arm64"),
        _IN_C,
        "a Mac, whose processor decides about `HARDWARE`",
    ),
    Entry("`apple-keychain`, iOS", ios(), _IN_C, "an iPhone"),
    *(
        Entry(
            f"`apple-keychain`, iOS, `{each.name}`",
            ios(accessibility=each),
            _IN_C,
            "an iPhone, its backups",
        )
        for each in CURRENT
        if each is not AppleOptions().accessible
    ),
    Entry(
        "`apple-keychain`, iOS, access control",
        ios(access_control=AccessControl(Constraint.USER_PRESENCE)),
        _IN_C,
        "an iPhone, its prompts and backups",
    ),
    Entry(
        "`apple-keychain`, iOS, `synchronizable`",
        ios(synchronizable=True),
        _IN_C,
        "an iPhone, iCloud",
    ),
    Entry("memory (no name)", MemoryStore().facts, "everywhere the tests run", ""),
)


def text() -> str:
    """The page."""
    return "".join(
        (
            _HEAD,
            *(_row(entry.name, *_facts(entry.facts)) for entry in ENTRIES),
            _AFTER_FACTS,
            *(_row(entry.name, *outlook(entry.facts).values()) for entry in ENTRIES),
            "\nWhat to know besides:\n\n",
            *(
                f"* {entry.name}: {'; '.join(_lasting(entry.facts))}.\n"
                for entry in ENTRIES
                if _lasting(entry.facts)
            ),
            _WAY_OUT,
            *(_row(entry.name, entry.proved, entry.not_run or "-") for entry in ENTRIES),
        )
    )


def _facts(facts: StoreFacts) -> tuple[str, ...]:
    return (
        f"`{facts.protection.name}`",
        "until deleted" if facts.persistence.value == "until deleted" else facts.persistence.value,
        "the user's other programs" if facts.isolation.value == "user" else "nobody",
        "may" if facts.may_prompt else "never",
        _maybe(facts.readable_when_locked),
        _maybe(facts.in_backups),
        "-" if facts.in_backups is False else _maybe(facts.opens_elsewhere),
        _maybe(facts.syncs),
        "no limit" if facts.max_value_bytes is None else f"{facts.max_value_bytes:,} bytes",
    )


def _lasting(facts: StoreFacts) -> list[str]:
    return [note for note in facts.notes if not note.startswith("there is no vault yet")]


def _maybe(fact: bool | None) -> str:
    return {True: "yes", False: "no", None: "depends"}[fact]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
