"""Every documented code of DPAPI and CNG: what it becomes, and that nothing is lost by it."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from support.fake_dpapi import FakeDpapi
from tokenkeep.backends.dpapi import DpapiKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    UnsupportedOption,
    VaultDamaged,
)
from tokenkeep.item import Call, ItemName
from tokenkeep.native import dpapi
from tokenkeep.secret import Secret
from tokenkeep.vault.format import Slot

#: code -> the error. NTE_NOT_FOUND is in `ERRORS` as "absent", which to a sealed key means gone.
EXPECTED: dict[int, type[StoreError]] = {
    2: StoreLocked,  # ERROR_FILE_NOT_FOUND
    0x80070002: StoreLocked,  # the same as an HRESULT
    8: StoreTimeout,  # ERROR_NOT_ENOUGH_MEMORY
    13: SecretDamaged,  # ERROR_INVALID_DATA
    87: UnsupportedOption,  # ERROR_INVALID_PARAMETER
    1325: InteractionDenied,  # ERROR_PASSWORD_RESTRICTION
    1722: StoreUnavailable,  # RPC_S_SERVER_UNAVAILABLE
    6000: SecretDamaged,  # ERROR_DECRYPTION_FAILED
    0x80090005: SecretDamaged,  # NTE_BAD_DATA
    0x80090009: UnsupportedOption,  # NTE_BAD_FLAGS
    0x8009000B: SecretInvalidated,  # NTE_BAD_KEY_STATE
    0x8009000D: SecretInvalidated,  # NTE_NO_KEY
    0x8009000F: UnsupportedOption,  # NTE_EXISTS
    0x80090010: AccessDenied,  # NTE_PERM
    0x80090011: SecretInvalidated,  # NTE_NOT_FOUND
    0x80090016: SecretInvalidated,  # NTE_BAD_KEYSET
    0x80090022: InteractionDenied,  # NTE_SILENT_CONTEXT
    0x80090030: StoreTimeout,  # NTE_DEVICE_NOT_READY
    0x80090033: AccessDenied,  # NTE_INCORRECT_PASSWORD
    0x80090035: StoreUnavailable,  # NTE_DEVICE_NOT_FOUND
    0x80090036: InteractionDenied,  # NTE_USER_CANCELLED
    0x80280001: AccessDenied,  # TPM_E_AUTHFAIL
    0x80280803: StoreLocked,  # TPM_E_DEFEND_LOCK_RUNNING
    0x80280921: StoreLocked,  # TPM_20_E_LOCKOUT
    31: StoreUnavailable,  # a code that no table knows
}
ITEM = ItemName("org.example.notes", "a")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDpapi:
    fake = FakeDpapi()
    monkeypatch.setattr(dpapi, "Crypt32", fake)
    return fake


def call() -> Call:
    return Call(5.0)


def slot_of(slot_id: bytes, extra: dict[str, bytes], kind: str = "dpapi") -> Slot:
    return Slot(slot_id=slot_id, kind=kind, label="", salt=bytes(16), wrapped=b"", extra=extra)


def filled(place: Path) -> VaultOptions:
    options = VaultOptions(place, DpapiKey())
    VaultStore(options).write(ITEM, Secret("kept"), call())
    return options


def test_every_entry_of_the_table_is_expected_here() -> None:
    """A code that is added to the table is added here too."""
    assert dpapi.ERRORS.keys() == EXPECTED.keys() - {0x80070002, 31}


@pytest.mark.parametrize("code", EXPECTED, ids=hex)
def test_code_becomes_its_error_and_nothing_is_lost(
    fake: FakeDpapi, tmp_path: Path, code: int
) -> None:
    """Through a vault: the error of the table, the files as before, and the item afterwards."""
    options = filled(tmp_path / "vault")
    before = {each.name: each.read_bytes() for each in (tmp_path / "vault").iterdir()}
    fake.code = code
    with pytest.raises(EXPECTED[code]) as caught:
        VaultStore(options).read(ITEM, call())
    assert caught.type is EXPECTED[code]
    after = {each.name: each.read_bytes() for each in (tmp_path / "vault").iterdir()}
    assert before["header"] == after["header"]
    assert before["vault.db"] == after["vault.db"]
    fake.code = 0
    assert Secret("kept") == VaultStore(options).read(ITEM, call())


@pytest.mark.parametrize("code", EXPECTED, ids=hex)
def test_code_while_sealing_makes_no_vault(fake: FakeDpapi, tmp_path: Path, code: int) -> None:
    """A vault without a key would be lost at once."""
    fake.code = code
    with pytest.raises(EXPECTED[code]):
        filled(tmp_path / "vault")
    assert not (tmp_path / "vault").exists()


@pytest.mark.parametrize("code", [8, 0x80090030], ids=hex)
def test_busy_windows_is_asked_again(fake: FakeDpapi, tmp_path: Path, code: int) -> None:
    """What passes by itself is nobody's error."""
    options = filled(tmp_path / "vault")
    fake.code, fake.times = code, 2
    assert Secret("kept") == VaultStore(options).read(ITEM, call())


def test_another_user_does_not_open_it(fake: FakeDpapi, tmp_path: Path) -> None:
    """A vault copied to another user or machine is recognised, and stays."""
    options = filled(tmp_path / "vault")
    fake.user = b"somebody else"
    with pytest.raises(SecretDamaged):
        VaultStore(options).read(ITEM, call())
    fake.user = b"somebody"
    assert Secret("kept") == VaultStore(options).read(ITEM, call())


def test_slot_is_bound_to_its_vault_and_itself(fake: FakeDpapi) -> None:
    """What was sealed for one slot does not open as another."""
    key = DpapiKey()
    kept = key.remember(b"slot", b"vault", call())
    for vault_id, slot_id in [(b"other", b"slot"), (b"vault", b"tols")]:
        slot = slot_of(slot_id, kept)
        with pytest.raises(SecretDamaged):
            key.opener(vault_id, call())(slot)


@pytest.mark.parametrize("sealed", [None, b"", bytes(4097)])
def test_slot_that_no_writer_left_is_not_given_to_windows(
    fake: FakeDpapi, sealed: bytes | None
) -> None:
    """A header from elsewhere does not decide what Windows parses."""
    extra = {} if sealed is None else {"dpapi-sealed": sealed}
    with pytest.raises(VaultDamaged):
        DpapiKey().opener(b"vault", call())(slot_of(b"slot", extra))
    assert 0 == fake.calls


def test_other_slots_are_left_to_other_keys(fake: FakeDpapi) -> None:
    """A slot of another kind is not this key's, and Windows is not asked."""
    slot = slot_of(b"slot", {}, kind="key-file")
    assert DpapiKey().opener(b"vault", call())(slot) is None
    assert 0 == fake.calls


def test_without_windows_the_key_is_unavailable(tmp_path: Path) -> None:
    """Asked for on another system, it says so, and makes nothing."""
    with pytest.raises(StoreUnavailable, match="only on Windows"):
        filled(tmp_path / "vault")
    assert not (tmp_path / "vault").exists()


class Advising:
    """In the place of `crypt32` and `kernel32`: opens, and says that it should be sealed anew.

    CRYPT_I_NEW_PROTECTION_REQUIRED is what the last error is beside a success, on the page of
    CryptUnprotectData.
    """

    NEW_PROTECTION_REQUIRED = 0x00091012

    def __init__(self) -> None:
        self.given = ctypes.create_string_buffer(b"s3cret", 6)
        self.asked: list[str] = []

    def CryptUnprotectData(self, *arguments: Any) -> int:  # noqa: N802 - Windows' name
        self.asked.append("unprotect")
        plain = arguments[-1]._obj
        plain.size, plain.data = len(self.given), ctypes.addressof(self.given)
        return 1

    def LocalFree(self, data: int) -> None:  # noqa: N802 - Windows' name
        assert ctypes.addressof(self.given) == data
        self.asked.append("free")

    def last_error(self) -> int:
        return self.NEW_PROTECTION_REQUIRED


def test_advice_to_seal_anew_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret is there: it is given, nothing is sealed or written, and Windows' copy is gone."""
    windows = Advising()
    monkeypatch.setattr(dpapi, "_crypt32", lambda: windows)
    monkeypatch.setattr(dpapi, "_kernel32", lambda: windows)
    monkeypatch.setattr(dpapi, "last_error", windows.last_error)
    assert Secret("s3cret") == dpapi.unprotect(b"sealed")
    assert ["unprotect", "free"] == windows.asked
    assert bytes(6) == windows.given.raw
