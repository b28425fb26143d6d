"""A crash reporter prints the locals of a constructor that refuses its arguments."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from tokenkeep import (
    AndroidOptions,
    AppleOptions,
    AsyncSecureStorage,
    KernelKeyringOptions,
    KeyFile,
    MemoryOptions,
    Passphrase,
    PresenceGate,
    Provider,
    Secret,
    SecretServiceOptions,
    SecureStorage,
    StoreItemKey,
    SystemdCredential,
    TokenStorage,
    TpmKey,
    VaultOptions,
    WindowsOptions,
)
from tokenkeep.item import ItemName

REFUSED: dict[str, Callable[[], object]] = {
    "service": lambda: SecureStorage(""),
    "service, async": lambda: AsyncSecureStorage("a\0b"),
    "item": lambda: ItemName("", ""),
    "key file": lambda: KeyFile(""),
    "vault's path": lambda: VaultOptions(""),
    "vault's key": lambda: VaultOptions("vault", key=5),  # type: ignore[arg-type]
    "account": lambda: TokenStorage(SecureStorage("s", MemoryOptions()), account=""),
    "record's name": lambda: TokenStorage(SecureStorage("s", MemoryOptions()), name="\0"),
    "issuer": lambda: Provider("ftp://issuer.example", client_id="notes"),
    "client": lambda: Provider("https://issuer.example", client_id=""),
    "passphrase": lambda: Passphrase(5),  # type: ignore[arg-type]
    "secret": lambda: Secret(5),  # type: ignore[arg-type]
    "item's store": lambda: StoreItemKey(5),  # type: ignore[arg-type]
    "PCR": lambda: TpmKey(pcrs=[99]),
    "credential": lambda: SystemdCredential("a/b"),
    "keyring": lambda: KernelKeyringOptions("x"),  # type: ignore[arg-type]
    "collection": lambda: SecretServiceOptions(1),  # type: ignore[arg-type,misc]
    "accessibility": lambda: AppleOptions(accessible=3),  # type: ignore[call-arg]
    "place": lambda: AndroidOptions(3),  # type: ignore[arg-type,misc]
    "persistence": lambda: WindowsOptions(3),  # type: ignore[arg-type]
    "verifier": lambda: PresenceGate(3),  # type: ignore[call-arg,arg-type]
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_refused_argument_can_be_reported_with_locals(refused: Callable[[], object]) -> None:
    """What is half made prints, so that the report holds our error and not another one."""
    with pytest.raises(Exception) as caught:
        refused()
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert type(caught.value).__name__ in "".join(told.format())
