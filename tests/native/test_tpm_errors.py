"""What a TPM and its driver say, entry by entry, and that nothing is lost over it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.tpm import Emulator, Relay, call, keys, refusal
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    SecretInvalidated,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreTimeout,
    StoreUnavailable,
    ValueTooLarge,
)
from tokenkeep.item import Call
from tokenkeep.native.tpm.codes import (
    BUSY_DEVICE,
    DEVICE,
    RESPONSES,
    RETRIED,
    device_error,
    response_error,
)
from tokenkeep.native.tpm.device import Device
from tokenkeep.secret import Secret
from tokenkeep.testing import FakeClock
from vault.places import item, passphrase

#: Response code, as TPM 2.0 part 2 numbers it, and our error.
CODES = [
    (0x921, StoreLocked),  # LOCKOUT
    (0x148, StoreLocked),  # NV_LOCKED
    (0x922, StoreTimeout),  # RETRY
    (0x908, StoreTimeout),  # YIELDED
    (0x90A, StoreTimeout),  # TESTING
    (0x920, StoreTimeout),  # NV_RATE
    (0x923, StoreTimeout),  # NV_UNAVAILABLE
    (0x902, StoreTimeout),  # OBJECT_MEMORY
    (0x903, StoreTimeout),  # SESSION_MEMORY
    (0x904, StoreTimeout),  # MEMORY
    (0x905, StoreTimeout),  # SESSION_HANDLES
    (0x128, StoreTimeout),  # PCR_CHANGED
    (0x909, InteractionDenied),  # CANCELED
    (0x08E, AccessDenied),  # AUTH_FAIL
    (0x0A2, AccessDenied),  # BAD_AUTH
    (0x09D, SecretInvalidated),  # POLICY_FAIL
    (0x09F, SecretInvalidated),  # INTEGRITY
    (0x08B, SecretInvalidated),  # HANDLE
    (0x152, SecretInvalidated),  # PARENT
    (0x0A3, SecretInvalidated),  # EXPIRED
    (0x155, SecretDamaged),  # SENSITIVE
    (0x095, SecretDamaged),  # SIZE
    (0x147, ValueTooLarge),  # NV_SIZE
    (0x14B, StoreFull),  # NV_SPACE
    (0x100, StoreUnavailable),  # INITIALIZE
    (0x101, StoreUnavailable),  # FAILURE
    (0x120, StoreUnavailable),  # DISABLED
    (0x130, StoreUnavailable),  # REBOOT
]
DRIVER = [
    (errno.ENOENT, StoreUnavailable),
    (errno.ENODEV, StoreUnavailable),
    (errno.ENXIO, StoreUnavailable),
    (errno.ENOTDIR, StoreUnavailable),
    (errno.ECONNREFUSED, StoreUnavailable),
    (errno.EACCES, AccessDenied),
    (errno.EPERM, AccessDenied),
    (errno.EBUSY, StoreTimeout),
    (errno.EAGAIN, StoreTimeout),
    (errno.EINTR, StoreTimeout),
    (errno.ETIME, StoreTimeout),
    (errno.ETIMEDOUT, StoreTimeout),
]
#: CreatePrimary is the second command of an opening: the first only looks whether a key is there.
LOOK = 1


@pytest.mark.parametrize(("code", "error"), CODES)
def test_a_response_code_is_this_error(code: int, error: type[StoreError]) -> None:
    """Locked, busy, denied, invalidated, damaged and unavailable are told apart."""
    assert error is type(response_error(code, "unsealing"))
    assert f"0x{code:03x}" in str(response_error(code, "unsealing"))


def test_the_table_has_no_other_entry() -> None:
    """Each entry has its row above."""
    assert sorted(RESPONSES) == sorted(code for code, _ in CODES)
    assert sorted(DEVICE) == sorted(number for number, _ in DRIVER)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (0x1DF, SecretInvalidated),  # INTEGRITY, parameter 1
        (0x98E, AccessDenied),  # AUTH_FAIL, session 1
        (0x9A2, AccessDenied),  # BAD_AUTH, session 1
        (0x99D, SecretInvalidated),  # POLICY_FAIL, session 1
        (0x18B, SecretInvalidated),  # HANDLE, handle 1
        (0x2D5, SecretDamaged),  # SIZE, parameter 2
        (0xB0922, StoreTimeout),  # RETRY, through a resource manager
    ],
)
def test_where_a_code_points_makes_no_difference(code: int, error: type[StoreError]) -> None:
    """Parameter, handle, session and layer are no part of what happened."""
    assert error is type(response_error(code, "unsealing"))


def test_an_unknown_code_is_unavailable() -> None:
    """What we do not know is never taken for absent or gone."""
    assert StoreUnavailable is type(response_error(0x17F, "unsealing"))
    assert StoreUnavailable is type(device_error(errno.EIO, "/dev/tpmrm0"))


@pytest.mark.parametrize(("number", "error"), DRIVER)
def test_a_driver_s_errno_is_this_error(number: int, error: type[StoreError]) -> None:
    """No device, no permission and a busy device are told apart."""
    assert error is type(device_error(number, "/dev/tpmrm0"))
    assert errno.errorcode[number] in str(device_error(number, "/dev/tpmrm0"))


def test_what_passes_says_to_retry() -> None:
    """Every time-out has its way out."""
    problems = [
        *(response_error(code, "unsealing") for code, error in CODES if error is StoreTimeout),
        *(device_error(number, "/dev/tpm") for number, error in DRIVER if error is StoreTimeout),
    ]
    assert len(problems) == 15
    assert all("retry" in (problem.hint or "") for problem in problems)


class BusySystem:
    """The operating system, one of whose calls fails so often with an errno.

    Args:
        step: "open", "write" or "read".
        after: how many such calls pass before.
    """

    def __init__(self, step: str, number: int, times: int, after: int = 0) -> None:
        self._step, self._number = step, number
        self.left, self._after = times, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._busy(real) if name == self._step else real

    def _busy(self, real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if self._after:
                self._after -= 1
            elif self.left:
                self.left -= 1
                raise OSError(self._number, "busy")
            return real(*arguments)

        return call


@pytest.mark.requires("POSIX paths")
@pytest.mark.parametrize("number", sorted(BUSY_DEVICE))
@pytest.mark.parametrize("step", ["open", "write", "read"])
def test_a_busy_device_is_asked_again_until_the_deadline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str, number: int
) -> None:
    """At every step: late within the deadline is in time; past it there is a remedy."""
    answer = bytes.fromhex("8001 0000000a 00000000")
    clock = FakeClock()

    def asked(times: int) -> bytes:
        # A file in the device's place: what was written to it before is not read again.
        path = tmp_path / "device"
        path.write_bytes(bytes(4) + answer)
        monkeypatch.setattr("tokenkeep.native.tpm.device.os", BusySystem(step, number, times))
        device = Device(str(path), Call(5.0, clock=clock))
        try:
            return device.exchange(bytes(4))
        finally:
            device.close()

    assert answer == asked(12)
    began = clock.monotonic()
    with pytest.raises(StoreTimeout, match=errno.errorcode[number]) as caught:
        asked(10_000)
    assert 4.0 <= clock.monotonic() - began <= 5.0
    assert "retry" in (caught.value.hint or "")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Relay, Path]]:
    """A vault whose slots are a TPM's, behind a relay, and a passphrase."""
    place = tmp_path_factory.mktemp("sealed") / "vault"
    with Emulator() as tpm, Relay(tpm) as relay:
        both = keys(TpmKey(device=relay.device), passphrase())
        VaultStore(VaultOptions(place, both)).write(item("a"), Secret("kept"), call())
        yield relay, place


@pytest.mark.requires("swtpm")
@pytest.mark.parametrize(("code", "error"), CODES)
def test_a_vault_says_it_and_loses_nothing(
    sealed: tuple[Relay, Path], code: int, error: type[StoreError]
) -> None:
    """Whatever the TPM says, the other key opens the vault, and so does the TPM afterwards."""
    relay, place = sealed
    key = TpmKey(device=relay.device)
    before = (place / "header").read_bytes()
    relay.answers(code, after=LOOK)
    with pytest.raises(error) as caught:
        VaultStore(VaultOptions(place, key)).read(item("a"), Call(0.3))
    assert type(caught.value) is error
    other = VaultStore(VaultOptions(place, passphrase())).read(item("a"), call())
    relay.interfere = lambda _command: None
    again = VaultStore(VaultOptions(place, key)).read(item("a"), call())
    assert [Secret("kept"), Secret("kept")] == [other, again]
    assert before == (place / "header").read_bytes()


def times_out(store: VaultStore) -> bool:
    """Whether reading ends by its deadline; what was read before the device was busy is right."""
    try:
        value = store.read(item("a"), Call(30.0, clock=FakeClock()))
    except StoreTimeout:
        return True
    assert Secret("kept") == value
    return False


@pytest.mark.requires("swtpm")
@pytest.mark.parametrize("step", ["write", "read"])
def test_a_busy_device_loses_nothing_at_any_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever command it is busy at: a time-out, nothing erased, and opened once it is free."""
    place, busy = tmp_path / "vault", "tokenkeep.native.tpm.device.os"
    timed_out = 0
    with Emulator() as tpm:
        key = TpmKey(device=tpm.device)
        VaultStore(VaultOptions(place, key)).write(item("a"), Secret("kept"), call())
        before = (place / "header").read_bytes()
        for after in range(60):
            for_ever = BusySystem(step, errno.EBUSY, 1_000_000, after)
            monkeypatch.setattr(busy, for_ever)
            timed_out += times_out(VaultStore(VaultOptions(place, key)))
            finished = for_ever.left == 1_000_000
            tpm.stop()  # which forgets, as the kernel does for who has gone, what was loaded
            tpm.start()
            monkeypatch.setattr(busy, BusySystem(step, errno.EBUSY, 2, after))
            store = VaultStore(VaultOptions(place, key))
            assert Secret("kept") == store.read(item("a"), call())
            assert before == (place / "header").read_bytes()
            if finished:
                break
        else:
            raise AssertionError("the opening never ran to its end")
    assert timed_out > 5


@pytest.mark.requires("swtpm")
@pytest.mark.parametrize("code", sorted(RETRIED))
def test_a_busy_tpm_is_asked_again(sealed: tuple[Relay, Path], code: int) -> None:
    """What passes by itself is waited for within the deadline."""
    relay, place = sealed
    relay.answers(code, after=LOOK, times=3)
    store = VaultStore(VaultOptions(place, TpmKey(device=relay.device)))
    assert Secret("kept") == store.read(item("a"), call())


@pytest.mark.requires("swtpm")
def test_policy_that_a_measurement_overtook_is_stated_anew(sealed: tuple[Relay, Path]) -> None:
    """PCR_CHANGED: something was extended between policy and unsealing; the next session opens."""
    relay, place = sealed
    left = 2

    def interfere(command: bytes) -> bytes | None:
        nonlocal left
        if command[6:10] != bytes.fromhex("0000015e") or not left:
            return None
        left -= 1
        return refusal(0x128)

    relay.interfere = interfere
    store = VaultStore(VaultOptions(place, TpmKey(device=relay.device)))
    assert Secret("kept") == store.read(item("a"), call())
    assert left == 0


@pytest.mark.requires("swtpm")
@pytest.mark.parametrize("code", [0x98E, 0x921])
def test_a_refused_pin_and_a_lockout_are_not_tried_again(
    sealed: tuple[Relay, Path], code: int
) -> None:
    """Each attempt would count: one call sends one."""
    relay, place = sealed
    unseal = 0x15E
    refused: list[bytes] = []

    def interfere(command: bytes) -> bytes | None:
        if int.from_bytes(command[6:10], "big") != unseal:
            return None
        refused.append(command)
        return refusal(code)

    relay.interfere = interfere
    started = time.monotonic()
    with pytest.raises((AccessDenied, StoreLocked)):
        VaultStore(VaultOptions(place, TpmKey(device=relay.device))).read(item("a"), Call(20))
    relay.interfere = lambda _command: None
    assert len(refused) == 1
    assert time.monotonic() - started < 10
