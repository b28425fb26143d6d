"""Writes docs/reference/stores.md from what the stores say of themselves.

Run as `python tests/docs/stores_page.py` after a change of a store's facts; a test compares.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tokenkeep.backends.android.options import AndroidOptions
from tokenkeep.backends.android.store import AndroidStore
from tokenkeep.backends.apple import AppleOptions, AppleStore
from tokenkeep.backends.dpapi import DpapiKey
from tokenkeep.backends.kernel_keyring import (
    KernelKeyringOptions,
    KernelKeyringStore,
    Keyring,
)
from tokenkeep.backends.memory import MemoryStore
from tokenkeep.backends.secret_service import SecretServiceOptions, SecretServiceStore
from tokenkeep.backends.systemd_credential import SystemdCredential
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.backends.windows import (
    WindowsCredentialStore,
    WindowsOptions,
    WindowsPersistence,
)
from tokenkeep.outlook import outlook
from tokenkeep.store import Persistence, Protection, Store, StoreFacts
from tokenkeep.vault.slots import KeyFile, Passphrase
from tokenkeep.vault.vault import Vault

if TYPE_CHECKING:
    from tokenkeep.vault.slots import Key

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "stores.md"

_HEAD = """\
# Stores: what protects an item, and what becomes of it

This page is written from what each store says of itself (`StoreFacts`, also in `tokenkeep doctor`); a test
holds it against the code. The names are what `--store` takes.

## What protects the items

| store | protection | stays | who else can read | prompts | readable while locked | in backups | syncs | largest value |
|---|---|---|---|---|---|---|---|---|
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
    store: Store
    proved: str
    not_run: str


class AndroidOnPaper(AndroidStore):
    """What the store says on a device with secure hardware, and before there is a vault."""

    @property
    def _vault(self) -> Vault:
        return Vault("/nowhere/vault", (), False)

    def _protection(self, header: object) -> Protection:
        return Protection.HARDWARE


class KernelOnPaper(KernelKeyringStore):
    """What the store says on a current kernel with its defaults, whoever asks."""

    @property
    def facts(self) -> StoreFacts:
        persistence = Persistence.LOGIN if self._keyring is Keyring.SESSION else Persistence.BOOT
        notes = tuple(re.sub(r"\d+ seconds", "three days", note) for note in super().facts.notes)
        return replace(super().facts, max_value_bytes=32_767, persistence=persistence, notes=notes)

    def __init__(self, options: KernelKeyringOptions) -> None:
        super().__init__(options)
        self._keyring = options.keyring


def vault(*keys: Key) -> VaultStore:
    return VaultStore(VaultOptions("/nowhere/vault", keys))


ENTRIES = (
    Entry(
        "`secret-service`",
        SecretServiceStore(SecretServiceOptions()),
        "gnome-keyring, KWallet and KeePassXC of Debian 12",
        "newer implementations (oo7, KDE 6's ksecretd)",
    ),
    Entry(
        "`windows-credentials`",
        WindowsCredentialStore(WindowsOptions()),
        "Windows CPython under Wine; documented limits on a stand-in",
        "Windows itself",
    ),
    Entry(
        "`windows-credentials`, ENTERPRISE",
        WindowsCredentialStore(WindowsOptions(WindowsPersistence.ENTERPRISE)),
        "as before, but for the roaming",
        "Windows itself; a roaming profile",
    ),
    Entry(
        "`windows-credentials`, SESSION",
        WindowsCredentialStore(WindowsOptions(WindowsPersistence.SESSION)),
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
        "`kernel-keyring`, session",
        KernelOnPaper(KernelKeyringOptions(Keyring.SESSION)),
        "the Linux kernel, as root and as an ordinary user",
        "",
    ),
    Entry(
        "`kernel-keyring`, user",
        KernelOnPaper(KernelKeyringOptions(Keyring.USER)),
        "the Linux kernel, as root and as an ordinary user",
        "",
    ),
    Entry(
        "`kernel-keyring`, persistent",
        KernelOnPaper(KernelKeyringOptions(Keyring.PERSISTENT)),
        "the Linux kernel, as root and as an ordinary user",
        "",
    ),
    Entry(
        "`android`",
        AndroidOnPaper(AndroidOptions()),
        "a Java machine with stand-ins for Android's classes, checked against the API's signatures",
        "a real device: its Keystore, StrongBox, biometrics",
    ),
    Entry(
        "`apple-keychain`, macOS file keychain",
        AppleStore(AppleOptions(), platform="darwin"),
        "a stand-in for Apple's frameworks, written in C",
        "a Mac",
    ),
    Entry(
        "`apple-keychain`, data-protection (iOS)",
        AppleStore(AppleOptions(), platform="ios"),
        "a stand-in for Apple's frameworks, written in C",
        "a Mac, an iPhone",
    ),
    Entry("memory (no name)", MemoryStore(), "everywhere the tests run", ""),
)


def text() -> str:
    """The page."""
    return "".join(
        (
            _HEAD,
            *(_row(entry.name, *_facts(entry.store.facts)) for entry in ENTRIES),
            _AFTER_FACTS,
            *(_row(entry.name, *outlook(entry.store.facts).values()) for entry in ENTRIES),
            "\nWhat to know besides:\n\n",
            *(
                f"* {entry.name}: {'; '.join(_lasting(entry.store.facts))}.\n"
                for entry in ENTRIES
                if _lasting(entry.store.facts)
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
