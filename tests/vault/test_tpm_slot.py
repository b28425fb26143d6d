"""A vault's key in a TPM, on a real TPM 2.0 in software: its whole life."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from support.captured import assert_nothing_leaks
from support.tpm import Emulator, Relay, call, keys
from tokenkeep.backends.tpm import PcrBank, TpmKey
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
    VaultKeyMissing,
)
from tokenkeep.item import Call
from tokenkeep.native.tpm.session import auth_value
from tokenkeep.native.tpm.tpm import SHA256, Tpm
from tokenkeep.secret import Secret
from tokenkeep.storage import SecureStorage
from tokenkeep.store import Protection
from tokenkeep.vault import access
from tokenkeep.vault.check import check
from tokenkeep.vault.format import Header, Slot
from tokenkeep.vault.key import Key
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.vault import Vault
from vault.places import filled_by, item, passphrase, read_by

pytestmark = pytest.mark.requires("swtpm")

PCR_7 = b"\x80\x00\x00"


def files(place: Path) -> dict[str, bytes]:
    """What would be lost: every file of the vault but the lock."""
    return {file.name: file.read_bytes() for file in place.iterdir() if file.name != "lock"}


def assert_invalidated_and_kept(place: Path, key: TpmKey) -> StoreError:
    """The TPM says no for good, nothing is erased, and the other key still opens the vault."""
    before = files(place)
    with pytest.raises(SecretInvalidated) as caught:
        read_by(place, key)
    assert caught.value.hint is not None
    assert "add-key" in caught.value.hint
    assert before == files(place)
    assert Secret("kept") == read_by(place, key, passphrase())
    return caught.value


def test_sealed_key_opens_the_vault_and_nothing_stays_in_the_tpm(
    tpm: Emulator, tmp_path: Path
) -> None:
    """The slot has all that is needed; the TPM's few places are free again, sessions too.

    An emulator is as good as the files that it keeps its state in, and says so.
    """
    place, key = tmp_path / "vault", TpmKey(device=tpm.device)
    filled_by(place, key, spare=False)
    store = VaultStore(VaultOptions(place, TpmKey(device=tpm.device)))
    assert Secret("kept") == store.read(item("a"), call())
    assert Protection.FILE_PERMISSIONS is store.facts.protection
    assert "HARDWARE" == TpmKey().protection
    for handles in ("handles-transient", "handles-loaded-session", "handles-persistent"):
        assert tpm.tool("tpm2_getcap", handles).strip() == ""


def test_slot_knows_its_own_pcrs(tpm: Emulator, tmp_path: Path) -> None:
    """What a key object says of PCRs is for new slots: any TPM key opens any TPM slot."""
    place = tmp_path / "vault"
    filled_by(place, TpmKey((0, 7, 23), device=tpm.device))
    assert Secret("kept") == read_by(place, TpmKey((), device=tpm.device))


@pytest.mark.parametrize("bank", list(PcrBank))
def test_changed_pcr_invalidates_and_adding_the_tpm_again_mends(
    tpm: Emulator, tmp_path: Path, bank: PcrBank
) -> None:
    """After a firmware update the other key opens, and a new slot is sealed to the new state."""
    place, key = tmp_path / "vault", TpmKey(bank=bank, device=tpm.device)
    filled_by(place, key)
    tpm.extend(8)
    assert Secret("kept") == read_by(place, key)
    tpm.extend(7)
    assert_invalidated_and_kept(place, key)
    access.add_key(Vault(str(place), keys(passphrase())), key, call())
    assert Secret("kept") == read_by(place, key)


def test_without_pcrs_any_state_of_this_machine_opens(tpm: Emulator, tmp_path: Path) -> None:
    """An empty list of PCRs ties the vault to the machine alone."""
    place, key = tmp_path / "vault", TpmKey((), device=tpm.device)
    filled_by(place, key)
    tpm.extend(7)
    assert Secret("kept") == read_by(place, key)


def test_cleared_tpm_invalidates(tpm: Emulator, tmp_path: Path) -> None:
    """Clearing makes another storage key, which is noticed before anything is tried."""
    place, key = tmp_path / "vault", TpmKey(device=tpm.device)
    filled_by(place, key)
    tpm.tool("tpm2_clear")
    assert "cleared" in str(assert_invalidated_and_kept(place, key))


def test_reset_is_the_way_out_of_a_cleared_tpm(tmp_path: Path) -> None:
    """Nothing is erased before; with another key at hand that opens, the vault is never moved."""
    place = tmp_path / "vault"
    with Emulator() as tpm:
        key = TpmKey(device=tpm.device)

        def storage(*by: Key) -> SecureStorage:
            store = VaultStore(VaultOptions(place, by))
            return SecureStorage("org.example", store, state_directory=str(tmp_path / "state"))

        filled_by(place, key)
        tpm.tool("tpm2_clear")
        assert storage(key, passphrase()).reset().set_aside is None
        with pytest.raises(SecretInvalidated):
            storage(key).read("b")
        frozen = storage(key)
        tpm.freeze()
        with pytest.raises(StoreTimeout):
            frozen.reset()
        tpm.thaw()
        aside = storage(key).reset().set_aside
        assert aside is not None
        storage(key).write("b", "anew")
        assert "anew" == storage(key).read("b").reveal()  # type: ignore[union-attr]
    assert Secret("kept") == read_by(Path(aside), passphrase())


def test_copied_to_another_machine_the_vault_is_recognised(tpm: Emulator, tmp_path: Path) -> None:
    """Another TPM is not this one: invalidated, nothing erased, quarantine kept."""
    place, key = tmp_path / "vault", TpmKey(device=tpm.device)
    filled_by(place, key)
    copied = tmp_path / "copied"
    shutil.copytree(place, copied)
    with Emulator() as other:
        error = assert_invalidated_and_kept(copied, TpmKey(device=other.device))
        assert "not the one" in str(error)
        report = check(Vault(str(copied), keys(TpmKey(device=other.device))), call)
        assert ["secret-invalidated"] == [each.error.code for each in report.findings]
    assert Secret("kept") == read_by(place, key)


def test_restored_from_a_backup_the_same_machine_opens_it(tpm: Emulator, tmp_path: Path) -> None:
    """The sealed key is in the vault itself: a backup of one directory is whole."""
    place, key = tmp_path / "vault", TpmKey(device=tpm.device)
    filled_by(place, key)
    shutil.copytree(place, tmp_path / "backup")
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "backup", place)
    tpm.stop()
    tpm.start()
    assert Secret("kept") == read_by(place, key)


def test_wrong_pin_is_sent_once_and_the_right_one_opens(tpm: Emulator, tmp_path: Path) -> None:
    """However often a program asks, one wrong PIN is one attempt."""
    place = tmp_path / "vault"
    filled_by(place, TpmKey(device=tpm.device, auth="1234"))
    wrong = TpmKey(device=tpm.device, auth=lambda: "4321")
    for _ in range(10):
        with pytest.raises(AccessDenied) as caught:
            read_by(place, wrong)
        assert_nothing_leaks(caught.value, "4321", "1234")
    lockout = tpm.tool("tpm2_getcap", "properties-variable")
    assert "TPM2_PT_LOCKOUT_COUNTER: 0x1" in lockout
    assert Secret("kept") == read_by(place, TpmKey(device=tpm.device, auth="1234"))
    with pytest.raises(AccessDenied, match="needs its PIN"):
        read_by(place, TpmKey(device=tpm.device))


def test_pin_is_asked_for_only_where_that_is_allowed(tpm: Emulator, tmp_path: Path) -> None:
    """A question to a person is never put in a call that forbids it."""
    place, asked = tmp_path / "vault", []

    def ask() -> str:
        asked.append(1)
        return "1234"

    filled_by(place, TpmKey(device=tpm.device, auth="1234"))
    with pytest.raises(InteractionDenied):
        read_by(place, TpmKey(device=tpm.device, auth=ask, prompts=True))
    assert [] == asked
    with pytest.raises(UnsupportedOption, match="empty"):
        read_by(place, TpmKey(device=tpm.device, auth=""))


def test_lockout_is_locked_until_the_tpm_lets_go(tpm: Emulator, tmp_path: Path) -> None:
    """Too many wrong PINs: temporary, nothing is lost, and a slot without a PIN still opens."""
    place = tmp_path / "vault"
    filled_by(place, TpmKey(device=tpm.device, auth="1234"))
    tpm.tool("tpm2_dictionarylockout", "--setup-parameters", "--max-tries=1", "--recovery-time=60")
    with pytest.raises((AccessDenied, StoreLocked)):
        read_by(place, TpmKey(device=tpm.device, auth="4321"))
    right = TpmKey(device=tpm.device, auth="1234")
    with pytest.raises(StoreLocked) as caught:
        read_by(place, right)
    assert caught.value.is_temporary
    assert Secret("kept") == read_by(place, right, passphrase())
    without = TpmKey(device=tpm.device)
    access.add_key(Vault(str(place), keys(passphrase())), without, call())
    tpm.tool("tpm2_dictionarylockout", "--clear-lockout")
    assert Secret("kept") == read_by(place, right)


def test_slot_without_a_pin_opens_in_a_locked_out_tpm(tpm: Emulator, tmp_path: Path) -> None:
    """What cannot be guessed is not subject to the lockout that others caused."""
    place = tmp_path / "vault"
    filled_by(place, TpmKey(device=tpm.device))
    filled_by(tmp_path / "other", TpmKey(device=tpm.device, auth="1234"))
    tpm.tool("tpm2_dictionarylockout", "--setup-parameters", "--max-tries=1", "--recovery-time=60")
    with pytest.raises((AccessDenied, StoreLocked)):
        read_by(tmp_path / "other", TpmKey(device=tpm.device, auth="4321"))
    assert Secret("kept") == read_by(place, TpmKey(device=tpm.device))


def test_frozen_tpm_ends_with_the_deadline(tpm: Emulator, tmp_path: Path) -> None:
    """A TPM that takes a command and never answers: StoreTimeout, and later it opens."""
    place, key = tmp_path / "vault", TpmKey(device=tpm.device)
    filled_by(place, key)
    tpm.freeze()
    started = time.monotonic()
    with pytest.raises(StoreTimeout) as caught:
        VaultStore(VaultOptions(place, key)).read(item("a"), Call(0.4))
    assert 0.3 < time.monotonic() - started < 3
    assert caught.value.is_temporary
    tpm.thaw()
    assert Secret("kept") == read_by(place, key)


@pytest.mark.parametrize("field", ["tpm-private", "tpm-public"])
@pytest.mark.parametrize("at", [0, 40, -1])
def test_tampered_blob_opens_nothing(tpm: Emulator, tmp_path: Path, field: str, at: int) -> None:
    """Somebody who can write the header cannot make the TPM unseal something else."""
    place, key = tmp_path / "vault", TpmKey(device=tpm.device)
    filled_by(place, key)

    def tampered(value: bytes) -> bytes:
        changed = bytearray(value)
        changed[at] ^= 1
        return bytes(changed)

    change_slot(place, **{field: tampered})
    with pytest.raises((SecretInvalidated, SecretDamaged)):
        read_by(place, key)
    assert Secret("kept") == read_by(place, key, passphrase())


@pytest.mark.parametrize(
    "field", ["tpm-parent", "tpm-public", "tpm-private", "tpm-bank", "tpm-pcrs"]
)
@pytest.mark.parametrize("value", [b"", bytes(4000)])
def test_malformed_slot_is_damage(tpm: Emulator, tmp_path: Path, field: str, value: bytes) -> None:
    """A field that no writer of ours leaves goes to no TPM."""
    place, key = tmp_path / "vault", TpmKey(device=tpm.device)
    filled_by(place, key)
    change_slot(place, **{field: lambda _value: value})
    with pytest.raises(VaultDamaged):
        read_by(place, key)


def change_slot(place: Path, **fields: object) -> None:
    """Changes fields of the TPM slot and makes its checksum right again."""
    header = Header.decode((place / "header").read_bytes())
    slots: list[Slot] = []
    for slot in header.slots:
        if slot.kind == "tpm2":
            for name, change in fields.items():
                slot.extra[name] = change(slot.extra[name])  # type: ignore[operator]
        slots.append(slot)
    header.slots = tuple(slots)
    (place / "header").write_bytes(header.encode())


def test_no_tpm_is_unavailable_and_the_other_key_opens(tpm: Emulator, tmp_path: Path) -> None:
    """A machine without a TPM, or with it switched off, is told apart from a key that is gone."""
    place = tmp_path / "vault"
    filled_by(place, TpmKey(device=tpm.device))
    for device in ("/dev/no-such-tpm", f"unix:{tmp_path}/none", f"unix:{tmp_path}"):
        absent = TpmKey(device=device)
        with pytest.raises(StoreUnavailable) as caught:
            read_by(place, absent)
        assert not isinstance(caught.value, VaultKeyMissing)
        assert Secret("kept") == read_by(place, absent, passphrase())
    with pytest.raises(StoreUnavailable):
        filled_by(tmp_path / "new", TpmKey(device="/dev/no-such-tpm"), spare=False)
    assert not (tmp_path / "new").exists()


def test_rekey_wraps_the_new_root_key_for_the_tpm_too(tpm: Emulator, tmp_path: Path) -> None:
    """A new root key goes through every slot at hand; the sealed key stays as it was."""
    place, key = tmp_path / "vault", TpmKey(device=tpm.device)
    filled_by(place, key)
    rekey(Vault(str(place), keys(key, passphrase())), call, root=True)
    assert Secret("kept") == read_by(place, key)
    tpm.freeze()
    with pytest.raises(VaultKeyMissing, match="missing"):
        rekey(Vault(str(place), keys(passphrase(), key)), lambda: Call(2), root=True)
    tpm.thaw()
    assert Secret("kept") == read_by(place, key)


def test_bus_shows_neither_key_nor_pin(tpm: Emulator) -> None:
    """Both ways are encrypted under a salt that only the TPM's storage key opens."""
    value, pin = os.urandom(32), auth_value(Secret("1234"))
    with Relay(tpm) as relay:
        with Tpm(relay.device, call()) as session:
            parent = session.storage_key()
            policy = session.policy(SHA256, PCR_7)
            public, private = session.seal(parent, Secret(value), pin, policy)
        with Tpm(relay.device, call()) as session:
            parent = session.storage_key(parent.name)
            opened = session.unseal(parent, public, private, pin, SHA256, PCR_7)
        assert Secret(value) == opened
        assert private in relay.heard
        assert value not in relay.heard
        assert pin.reveal_bytes() not in relay.heard


def test_answer_that_was_changed_on_its_way_is_refused(tpm: Emulator, tmp_path: Path) -> None:
    """What the TPM did not say is not used as a key."""
    place = tmp_path / "vault"
    with Relay(tpm) as relay:
        key = TpmKey(device=relay.device)
        filled_by(place, key)

        def alter(command: bytes, response: bytes) -> bytes:
            if command[6:10] == bytes.fromhex("0000015e"):
                return response[:20] + bytes([response[20] ^ 1]) + response[21:]
            return response

        relay.alter = alter
        with pytest.raises(StoreUnavailable, match="changed"):
            read_by(place, key)


@pytest.mark.parametrize("size", [0, 6, 10, 13])
def test_answer_that_is_cut_short_is_unavailable(tpm: Emulator, tmp_path: Path, size: int) -> None:
    """Nothing is read out of what is not there."""
    place = tmp_path / "vault"
    with Relay(tpm) as relay:
        key = TpmKey(device=relay.device)
        filled_by(place, key)
        relay.alter = lambda _command, response: (
            response[:2] + size.to_bytes(4, "big") + response[6:size] if size else b""
        )
        with pytest.raises((StoreUnavailable, StoreTimeout)):
            VaultStore(VaultOptions(place, key)).read(item("a"), Call(0.5))


def test_provisioned_storage_key_is_used(tpm: Emulator, tmp_path: Path) -> None:
    """A machine that has its storage key needs no owner's password, and is quicker."""
    place = tmp_path / "vault"
    with Relay(tpm) as relay:
        key = TpmKey(device=relay.device)
        filled_by(place, key)
        assert 0x131 in relay.commands
        tpm.provision()
        tpm.tool("tpm2_changeauth", "-c", "owner", "secret")
        relay.commands.clear()
        assert Secret("kept") == read_by(place, key)
        assert 0x131 not in relay.commands


def test_owner_s_password_without_a_storage_key_is_denied(tpm: Emulator, tmp_path: Path) -> None:
    """The remedy is named: provision the TPM."""
    tpm.tool("tpm2_changeauth", "-c", "owner", "secret")
    with pytest.raises(AccessDenied, match="owner") as caught:
        filled_by(tmp_path / "vault", TpmKey(device=tpm.device))
    assert "provision" in str(caught.value.hint)


def test_pcr_that_the_tpm_does_not_keep_is_refused(tpm: Emulator, tmp_path: Path) -> None:
    """A TPM would leave it out of the policy in silence, and seal to less than was asked."""
    tpm.tool("tpm2_pcrallocate", "sha256:all+sha384:none+sha1:none+sha512:none")
    tpm.stop()
    tpm.start()
    with pytest.raises(UnsupportedOption, match="no such PCR"):
        filled_by(tmp_path / "vault", TpmKey(bank=PcrBank.SHA384, device=tpm.device))
    assert not (tmp_path / "vault").exists()


def test_threads_take_turns(tpm: Emulator, tmp_path: Path) -> None:
    """Several openings at once all succeed, each on a connection of its own."""
    place = tmp_path / "vault"
    filled_by(place, TpmKey(device=tpm.device))
    found: list[Secret | None] = []

    def work() -> None:
        found.append(read_by(place, TpmKey(device=tpm.device)))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [Secret("kept")] * 6 == found
