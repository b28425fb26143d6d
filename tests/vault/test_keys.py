"""Key slots: what opens a vault, what does not, and what happens when the keys are replaced."""

from __future__ import annotations

import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tokenkeep import fields
from tokenkeep.backends.vault import VaultOptions, VaultStore
from tokenkeep.crypto import Argon2Profile
from tokenkeep.errors import (
    AccessDenied,
    InteractionDenied,
    SecretDamaged,
    StoreUnavailable,
    UnsupportedOption,
    VaultKeyMissing,
    WrongKey,
)
from tokenkeep.item import Call, Interaction
from tokenkeep.secret import Secret
from tokenkeep.store import Protection
from tokenkeep.vault import access
from tokenkeep.vault.check import check
from tokenkeep.vault.format import Slot, header_fields
from tokenkeep.vault.key_file import KeyFile
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.quarantine import erase
from tokenkeep.vault.rekey import rekey
from tokenkeep.vault.upgrade import encode_fields
from vault.places import (
    CHEAP,
    SERVICE,
    all_bytes,
    call,
    item,
    key_file,
    open_store,
    open_vault,
    passphrase,
    record,
    value,
)


def filled(directory: Path, count: int = 5, *keys: KeyFile | Passphrase) -> VaultStore:
    store = open_store(directory, *keys)
    for number in range(count):
        store.write(item(f"n{number}"), Secret(f"value {number}"), call())
    return store


@pytest.mark.requires("POSIX files")
def test_key_file_is_made_with_the_vault_and_private(tmp_path: Path) -> None:
    """The first write makes a key file of mode 0600 that names its vault."""
    open_store(tmp_path).write(item("a"), Secret("1"), call())
    assert 0o600 == stat.S_IMODE((tmp_path / "key").stat().st_mode)
    vault_id = key_file(tmp_path).read()[1]
    header = open_vault(tmp_path).header()
    assert header is not None
    assert header.vault_id == vault_id


def test_key_file_made_beforehand_opens_the_vault(tmp_path: Path) -> None:
    """`new_key` makes a key without a vault; creation takes it as it is."""
    key = access.new_key(str(tmp_path / "key"))
    secret = key.read()[0]
    open_store(tmp_path).write(item("a"), Secret("1"), call())
    assert secret == key.read()[0]
    with pytest.raises(UnsupportedOption):
        access.new_key(str(tmp_path / "key"))


def test_missing_key_file_is_key_missing_and_makes_nothing(tmp_path: Path) -> None:
    """A vault whose key is gone is not opened with a new one."""
    filled(tmp_path).close()
    (tmp_path / "key").rename(tmp_path / "elsewhere")
    for attempt in (
        lambda: value(open_store(tmp_path), "n0"),
        lambda: open_store(tmp_path).write(item("n0"), Secret("x"), call()),
    ):
        with pytest.raises(VaultKeyMissing):
            attempt()
    assert not (tmp_path / "key").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "key")
    assert value(open_store(tmp_path), "n0") == "value 0"


def test_missing_vault_that_a_key_file_names_is_an_error(tmp_path: Path) -> None:
    """A lost vault is never taken for none, neither by a read nor by a write."""
    filled(tmp_path).close()
    (tmp_path / "vault").rename(tmp_path / "lost")
    for attempt in (
        lambda: value(open_store(tmp_path), "n0"),
        lambda: open_store(tmp_path).write(item("n0"), Secret("x"), call()),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            attempt()
        assert caught.value.hint
    assert not (tmp_path / "vault").exists()


def test_two_vaults_are_never_confused(tmp_path: Path) -> None:
    """The key of one vault is the wrong key for another, also when the files change places."""
    one, two = tmp_path / "one", tmp_path / "two"
    for place in (one, two):
        place.mkdir()
        filled(place).close()
    with pytest.raises(WrongKey):
        value(open_store(one, key_file(two)), "n0")
    (one / "vault" / "header").replace(two / "vault" / "header")
    with pytest.raises(SecretDamaged):
        value(open_store(two, key_file(one)), "n0")


def test_wrong_passphrase_is_wrong_key(tmp_path: Path) -> None:
    """And the right one opens."""
    filled(tmp_path, 1, passphrase()).close()
    with pytest.raises(WrongKey):
        value(open_store(tmp_path, passphrase("wrong")), "n0")
    assert value(open_store(tmp_path, passphrase()), "n0") == "value 0"


def test_passphrase_is_asked_for_once_per_process(tmp_path: Path) -> None:
    """Reads, writes, and a header that changed ask the callable no second time."""
    asked = []

    def ask() -> str:
        asked.append(1)
        return "correct horse"

    filled(tmp_path, 1, passphrase()).close()
    store = open_store(tmp_path, Passphrase(ask, profile=CHEAP))
    assert value(store, "n0") == "value 0"
    store.write(item("b"), Secret("2"), call())
    rekey(open_vault(tmp_path, passphrase()), call)
    assert value(store, "n0") == "value 0"
    assert asked == [1]


def test_prompting_passphrase_needs_interaction(tmp_path: Path) -> None:
    """Nothing prompts unless prompting was allowed."""
    filled(tmp_path, 1, passphrase()).close()
    store = open_store(tmp_path, Passphrase(lambda: "correct horse", CHEAP, prompts=True))
    assert store.facts.may_prompt
    with pytest.raises(InteractionDenied):
        store.read(item("n0"), Call())
    found = store.read(item("n0"), Call(interaction=Interaction.ALLOWED))
    assert found is not None


def test_protection_is_the_weakest_slots(tmp_path: Path) -> None:
    """A passphrase beside a key file protects no better than the file."""
    store = filled(tmp_path, 1, passphrase())
    assert Protection.PASSPHRASE == store.facts.protection
    access.add_key(open_vault(tmp_path, passphrase()), key_file(tmp_path), call())
    assert Protection.FILE_PERMISSIONS == store.facts.protection


@pytest.mark.requires("POSIX files")
def test_key_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """The hint is the command that mends it."""
    filled(tmp_path).close()
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(AccessDenied) as caught:
        value(open_store(tmp_path), "n0")
    assert f"chmod 600 {tmp_path / 'key'}" == caught.value.hint
    shared = KeyFile(tmp_path / "key", readable_by_group=True)
    assert value(open_store(tmp_path, shared), "n0") == "value 0"
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(AccessDenied):
        value(open_store(tmp_path, shared), "n0")


@pytest.mark.requires("POSIX files")
def test_mounted_key_file_may_be_a_link(tmp_path: Path) -> None:
    """Container platforms mount secrets as links; only `readable_by_group` follows them."""
    filled(tmp_path).close()
    (tmp_path / "link").symlink_to("key")
    with pytest.raises(SecretDamaged):
        value(open_store(tmp_path, KeyFile(tmp_path / "link")), "n0")
    shared = KeyFile(tmp_path / "link", readable_by_group=True)
    assert value(open_store(tmp_path, shared), "n0") == "value 0"


@pytest.mark.requires("POSIX files")
@pytest.mark.parametrize("readable_by_group", [False, True])
def test_a_pipe_in_the_place_of_a_key_file_is_refused_with_a_remedy(
    tmp_path: Path, readable_by_group: bool
) -> None:
    """Nobody waits for who writes into it."""
    filled(tmp_path).close()
    (tmp_path / "key").unlink()
    os.mkfifo(tmp_path / "key", 0o600)
    key = KeyFile(tmp_path / "key", readable_by_group=readable_by_group)
    with pytest.raises(AccessDenied, match="is not a regular file") as caught:
        value(open_store(tmp_path, key), "n0")
    assert "put the file itself in its place" == caught.value.hint


@pytest.mark.parametrize("content", [b"", b"garbage", b"tokenkeep key  \n" + bytes(80)])
def test_file_that_is_no_key_is_a_wrong_key(tmp_path: Path, content: bytes) -> None:
    """Empty, foreign and damaged alike; it is left as it is."""
    filled(tmp_path).close()
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(WrongKey):
        value(open_store(tmp_path), "n0")
    assert content == (tmp_path / "key").read_bytes()


def test_added_key_opens_and_removed_key_does_not(tmp_path: Path) -> None:
    """Also in a store that was open all along."""
    store = filled(tmp_path)
    slot = access.add_key(open_vault(tmp_path), passphrase(), call(), label="paper")
    assert ["", "paper"] == sorted(slot.label for slot in access.list_keys(open_vault(tmp_path)))
    late = open_store(tmp_path, passphrase())
    assert value(late, "n0") == "value 0"
    access.remove_key(open_vault(tmp_path), slot.id, call())
    for other in (late, open_store(tmp_path, passphrase())):
        with pytest.raises(WrongKey):
            value(other, "n0")
    assert value(store, "n0") == "value 0"


def test_same_key_file_is_not_added_twice(tmp_path: Path) -> None:
    """Two slots for one key would make removing one look like a removal."""
    filled(tmp_path)
    with pytest.raises(UnsupportedOption):
        access.add_key(open_vault(tmp_path), key_file(tmp_path), call())


def test_last_key_cannot_be_removed(tmp_path: Path) -> None:
    """Nor one that is not there."""
    filled(tmp_path)
    vault = open_vault(tmp_path)
    (slot,) = access.list_keys(vault)
    with pytest.raises(UnsupportedOption):
        access.remove_key(vault, slot.id, call())
    with pytest.raises(UnsupportedOption):
        access.remove_key(vault, b"none", call())


@pytest.mark.parametrize("root", [False, True])
def test_rekey_keeps_every_item_and_replaces_every_key(tmp_path: Path, root: bool) -> None:
    """Items, records and quarantine; an open store follows; the old envelopes are gone."""
    store = filled(tmp_path, 450)
    store.write(record("alice"), Secret("record"), call())
    before = open_vault(tmp_path)
    old_header = before.header()
    engine, _keys = before.opened(call())
    old = [row[0] for row in engine.rows(call(), "SELECT envelope FROM item")]
    before.close()
    told: list[tuple[int, int]] = []
    report = rekey(open_vault(tmp_path), call, root=root, progress=lambda *at: told.append(at))
    assert (451, 0) == (report.items, report.damaged)
    assert told[-1] == (451, 451)
    for number in range(450):
        assert value(store, f"n{number}") == f"value {number}"
    assert 451 == len(store.names(SERVICE, call()))
    header = open_vault(tmp_path).header()
    assert header is not None
    assert old_header is not None
    assert 1 == len(header.wrapped_keys)
    assert not set(header.wrapped_keys) & set(old_header.wrapped_keys)
    assert not header.previous_root
    store.close()
    assert not rekey(open_vault(tmp_path), call).pending
    content = all_bytes(tmp_path)
    assert not any(envelope in content for envelope in old)


def test_removed_holder_cannot_use_what_he_kept(tmp_path: Path) -> None:
    """`remove` replaces the root key: the old one opens nothing any more."""
    filled(tmp_path)
    slot = access.add_key(open_vault(tmp_path), passphrase(), call())
    holder = open_vault(tmp_path, passphrase())
    kept_root = holder.opened(call())[1].root
    rekey(open_vault(tmp_path), call, remove=slot.id)
    assert kept_root != open_vault(tmp_path).opened(call())[1].root
    with pytest.raises(WrongKey):
        holder.read(item("n0"), call())
    assert value(open_store(tmp_path), "n0") == "value 0"


def test_new_root_needs_every_remaining_key(tmp_path: Path) -> None:
    """The error names the keys that are missing; nothing changed."""
    filled(tmp_path)
    access.add_key(open_vault(tmp_path), passphrase(), call(), label="paper")
    before = (tmp_path / "vault" / "header").read_bytes()
    with pytest.raises(VaultKeyMissing, match="paper"):
        rekey(open_vault(tmp_path), call, root=True)
    assert before == (tmp_path / "vault" / "header").read_bytes()
    rekey(open_vault(tmp_path, key_file(tmp_path), passphrase()), call, root=True)
    for key in (key_file(tmp_path), passphrase()):
        assert value(open_store(tmp_path, key), "n0") == "value 0"


@pytest.mark.parametrize("root", [False, True])
def test_rekey_never_loses_a_damaged_item(tmp_path: Path, root: bool) -> None:
    """Damaged afterwards too, not absent, and its old key kept; in quarantine no less."""
    import sqlite3

    store = filled(tmp_path)
    store.close()
    connection = sqlite3.connect(tmp_path / "vault" / "vault.db", isolation_level=None)
    place = open_vault(tmp_path).opened(call())[1].finder.place
    from tokenkeep.vault.envelope import subject

    number = place(SERVICE, subject(item("n3")))[0]
    (sealed,) = connection.execute(
        "SELECT envelope FROM item WHERE place_a = ?", (number,)
    ).fetchone()
    connection.execute(
        "UPDATE item SET envelope = ? WHERE place_a = ?",
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), number),
    )
    connection.close()
    report = rekey(open_vault(tmp_path), call, root=root)
    assert (4, 1) == (report.items, report.damaged)
    with pytest.raises(SecretDamaged):
        value(store, "n3")
    header = open_vault(tmp_path).header()
    assert header is not None
    assert 2 == len(header.wrapped_keys)
    store.write(item("n3"), Secret("new"), call())
    assert 5 == rekey(open_vault(tmp_path), call, root=root).items
    header = open_vault(tmp_path).header()
    assert header is not None
    assert 2 == len(header.wrapped_keys)
    assert (1, False) == erase(open_vault(tmp_path), None, call())
    assert 5 == rekey(open_vault(tmp_path), call, root=root).items
    header = open_vault(tmp_path).header()
    assert header is not None
    assert 1 == len(header.wrapped_keys)


@pytest.mark.requires("key-file default")
def test_key_file_lies_beside_the_vault(tmp_path: Path) -> None:
    """Where nothing names a key, and the platform seals none."""
    assert (KeyFile(tmp_path / "v.key"),) == VaultOptions(tmp_path / "v").keys


def test_options_are_values(tmp_path: Path) -> None:
    """Equal by content, immutable, and they print no passphrase."""
    options = VaultOptions(tmp_path / "v", KeyFile(tmp_path / "k"))
    assert VaultOptions(tmp_path / "v", [KeyFile(tmp_path / "k")]) == options
    with pytest.raises(AttributeError):
        options.create = False
    assert "secret words" not in repr(VaultOptions(tmp_path / "v", Passphrase("secret words")))
    for wrong in ("text", (), (1,)):
        with pytest.raises(UnsupportedOption):
            VaultOptions(tmp_path / "v", wrong)  # type: ignore[arg-type]


def test_key_file_named_by_several_at_once_is_whole_at_every_moment(tmp_path: Path) -> None:
    """A vault's creator and its first writers note in the key file which vault it opens."""
    for attempt in range(40):
        key = KeyFile(tmp_path / f"key{attempt}")
        made, _named, _extra = key.make()
        gate = threading.Barrier(6)

        def name(key: KeyFile = key, gate: threading.Barrier = gate) -> None:
            gate.wait()
            key.name_vault(bytes(range(16)))

        with ThreadPoolExecutor(6) as pool:
            naming = [pool.submit(name) for _ in range(6)]
            while not all(each.done() for each in naming):
                assert made == key.read()[0]
                time.sleep(0.001)  # Windows replaces nothing that somebody reads all the time
        assert [None] * 6 == [each.result() for each in naming]
        assert bytes(range(16)) == key.read()[1]
    assert 40 == len(os.listdir(tmp_path))


@pytest.mark.parametrize("profile", [(8, 1, 2), (1 << 21, 1, 1), (64, 0, 1), (64, 65, 1)])
def test_profile_that_no_reader_obeys_is_refused_before_it_is_used(
    profile: tuple[int, int, int],
) -> None:
    """A slot that nobody opens again must not be written."""
    with pytest.raises(UnsupportedOption, match="nobody would open") as caught:
        Passphrase("secret words", Argon2Profile(*profile))
    assert caught.value.hint is not None


def spoil(directory: Path, slot_id: bytes) -> bytes:
    """Damages a key slot in the header, whose own checksum is right; the slot's bytes."""
    path = directory / "vault" / "header"
    known = header_fields(path.read_bytes())
    blobs = fields.unpack(known["slots"])
    blob = bytearray(blobs[slot_id.hex()])
    blob[40] ^= 1
    blobs[slot_id.hex()] = bytes(blob)
    path.write_bytes(encode_fields({**known, "slots": fields.pack(blobs)}))
    return bytes(blob)


def with_spoilt_slot(directory: Path) -> tuple[bytes, bytes]:
    """A vault whose passphrase's slot is damaged: the slot's id and its bytes."""
    filled(directory).close()
    slot = access.add_key(open_vault(directory), passphrase(), call(), label="paper")
    return slot.id, spoil(directory, slot.id)


def test_damaged_slot_stays_as_it_is_when_the_header_changes(tmp_path: Path) -> None:
    """Byte for byte, so that nothing takes it for a whole one of a strange kind."""
    slot_id, blob = with_spoilt_slot(tmp_path)
    vault = open_vault(tmp_path)
    slot = access.add_key(vault, passphrase("another"), call())
    rekey(vault, call)
    access.remove_key(vault, slot.id, call())
    blobs = fields.unpack(header_fields((tmp_path / "vault" / "header").read_bytes())["slots"])
    assert blob == blobs[slot_id.hex()]
    assert [f"key {slot_id.hex()}"] == [finding.where for finding in check(vault, call).findings]
    with pytest.raises(VaultKeyMissing, match=slot_id.hex()):
        rekey(vault, call, root=True)


def test_last_key_that_is_whole_cannot_be_removed(tmp_path: Path) -> None:
    """A damaged slot beside it opens nothing, and can be removed itself."""
    slot_id, _blob = with_spoilt_slot(tmp_path)
    vault = open_vault(tmp_path)
    whole = next(slot.id for slot in access.list_keys(vault) if not slot.is_damaged)
    with pytest.raises(UnsupportedOption):
        access.remove_key(vault, whole, call())
    with pytest.raises(UnsupportedOption):
        rekey(vault, call, remove=whole)
    assert value(open_store(tmp_path), "n0") == "value 0"
    access.remove_key(vault, slot_id, call())
    assert [whole] == [slot.id for slot in access.list_keys(vault)]


def test_key_of_a_kind_that_nobody_here_knows_is_a_key(tmp_path: Path) -> None:
    """What it hangs on may be on another machine: whoever opens the vault there may leave here."""
    filled(tmp_path).close()
    vault = open_vault(tmp_path)
    strange = Slot(
        slot_id=b"\1\2\3\4", kind="of-another-machine", label="", salt=bytes(16), wrapped=bytes(60)
    )
    vault.change_header(
        call(),
        lambda _connection, keys: (
            keys.header.following(slots=(*keys.header.slots, strange)), keys.root,
        ),
    )  # fmt: skip
    ours = next(slot.id for slot in access.list_keys(vault) if slot.kind == "key-file")
    access.remove_key(vault, ours, call())
    (left,) = access.list_keys(vault)
    assert strange.encode() == left.encode()
