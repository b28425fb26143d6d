"""Other people's tools open what we sealed in a TPM, as the page on the vault's format says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.tpm import Emulator, call
from tokenkeep.backends.tpm import TpmKey
from tokenkeep.crypto import derive
from tokenkeep.secret import Secret
from tokenkeep.vault.format import Slot

pytestmark = pytest.mark.requires("swtpm")


@pytest.fixture
def tpm() -> Iterator[Emulator]:
    with Emulator() as emulator:
        emulator.provision()
        yield emulator


def sealed(tpm: Emulator, key: TpmKey) -> Slot:
    """A new slot of the key, with its two parts as tpm2-tools read them."""
    extra = key.remember(bytes(4), bytes(16), call())
    for part in ("public", "private"):
        content = extra[f"tpm-{part}"]
        file = tpm.directory / part
        file.write_bytes(len(content).to_bytes(2, "big") + content)
    return Slot(slot_id=bytes(4), kind="tpm2", label="", salt=b"\5" * 16, wrapped=b"", extra=extra)


def unsealed(tpm: Emulator, pcrs: str, pin: str = "") -> bytes:
    """What tpm2-tools unseal under the policy that the page describes."""
    tpm.tool("tpm2_load", "-C", "0x81000001", "-u", "public", "-r", "private", "-c", "key.ctx")
    tpm.tool("tpm2_flushcontext", "-t")
    tpm.tool("tpm2_startauthsession", "--policy-session", "-S", "session.ctx")
    if pcrs:
        tpm.tool("tpm2_policypcr", "-S", "session.ctx", "-l", f"sha256:{pcrs}")
    tpm.tool("tpm2_policyauthvalue", "-S", "session.ctx")
    tpm.tool("tpm2_unseal", "-c", "key.ctx", "-p", f"session:session.ctx{pin}", "-o", "opened")
    tpm.tool("tpm2_flushcontext", "session.ctx")
    return Path(tpm.directory / "opened").read_bytes()


@pytest.mark.parametrize("pcrs", ["", "7", "0,7,23"])
def test_tpm2_tools_unseal_the_same_key(tpm: Emulator, pcrs: str) -> None:
    """Storage key, parts and policy are as documented: nothing about the slot is ours alone."""
    numbers = tuple(int(pcr) for pcr in pcrs.split(",") if pcr)
    key = TpmKey(numbers, device=tpm.device)
    slot = sealed(tpm, key)
    ours = key.opener(bytes(16), call())(slot)
    assert derive(Secret(unsealed(tpm, pcrs)), b"tk tpm2", slot.salt) == ours


def test_tpm2_tools_unseal_with_the_pin(tpm: Emulator) -> None:
    """The authorization value is the PIN's SHA-256."""
    key = TpmKey(device=tpm.device, auth="1234")
    slot = sealed(tpm, key)
    pin = hashlib.sha256(b"1234").hexdigest()
    theirs = unsealed(tpm, "7", f"+hex:{pin}")
    assert derive(Secret(theirs), b"tk tpm2", slot.salt) == key.opener(bytes(16), call())(slot)


def test_storage_key_has_the_name_that_the_slot_keeps(tpm: Emulator) -> None:
    """tpm2-tools compute the same Name."""
    slot = sealed(tpm, TpmKey(device=tpm.device))
    tpm.tool("tpm2_readpublic", "-c", "0x81000001", "-n", "name")
    assert (tpm.directory / "name").read_bytes() == slot.extra["tpm-parent"]
