"""Writes the test vectors of the vault's format: one file per case, one failure each.

Run as `python tests/vectors/write.py` after a change of the format, or with a folder to write into.
Nothing in them is random, so that running it again changes nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tokenkeep import crypto, fields
from tokenkeep.crypto import Argon2Profile
from tokenkeep.item import Call, ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import envelope, keys, slots
from tokenkeep.vault.envelope import subject
from tokenkeep.vault.format import (
    HEADER_MAGIC,
    KEY_FILE_MAGIC,
    SLOT_CHECKSUM_BYTES,
    Header,
    Slot,
    encode_key_file,
    header_fields,
    open_file,
    seal_file,
)
from tokenkeep.vault.passphrase import Passphrase
from tokenkeep.vault.transfer import EXPORT_MAGIC

HERE = Path(__file__).parent
VAULT_ID = bytes(range(16))
KEY_ID = bytes(range(0x10, 0x18))
ROOT = bytes(range(0x20, 0x40))
PREVIOUS_ROOT = bytes(range(0xA0, 0xC0))
DEK = bytes(range(0x40, 0x60))
KEY = bytes(range(0x60, 0x80))
NONCE = bytes(range(0x80, 0x8C))
NAME = ItemName("org.example.notes", "api key")
VALUE = b"s3cret"
PASSPHRASE = "correct horse"
CREDENTIAL = b"a credential of at least 32 bytes, whatever they are\n"
PROFILE = Argon2Profile(memory_kib=64, passes=1, lanes=1)


def key_slot(root: bytes = ROOT) -> Slot:
    slot = Slot(slot_id=b"\1\1\1\1", kind="key-file", label="", salt=bytes(16), wrapped=b"")
    kek = crypto.derive(Secret(KEY), b"tk key file", slot.salt)
    return slots.rewrapped(slot, kek, Secret(root), VAULT_ID)


def passphrase_slot(profile: Argon2Profile = PROFILE, salt: bytes = b"\5" * 16) -> Slot:
    slot = Slot(
        slot_id=b"\2\2\2\2", kind="passphrase", label="paper", salt=salt, wrapped=b"",
        profile=profile,
    )  # fmt: skip
    is_cheap = profile is PROFILE and len(salt) == 16
    kek = Passphrase(PASSPHRASE).opener(b"", Call(None))(slot) if is_cheap else None
    return slots.rewrapped(slot, kek or Secret(bytes(32)), Secret(ROOT), VAULT_ID)


def platform_slot(kind: str, purpose: bytes, key: bytes, **extra: bytes) -> Slot:
    slot = Slot(
        slot_id=b"\3\3\3\3", kind=kind, label="", salt=b"\6" * 16, wrapped=b"",
        extra={name.replace("_", "-"): value for name, value in extra.items()},
    )  # fmt: skip
    return slots.rewrapped(slot, crypto.derive(Secret(key), purpose, slot.salt), Secret(ROOT),
                           VAULT_ID)  # fmt: skip


def credential_slot() -> Slot:
    return platform_slot("systemd-credential", b"tk systemd", crypto.checksum(CREDENTIAL),
                         systemd_credential=b"notes", protection=b"FILE_PERMISSIONS")  # fmt: skip


def item_slot() -> Slot:
    return platform_slot("store-item", b"tk store item", KEY, store=b"memory",
                         protection=b"MEMORY", stays=b"PROCESS")  # fmt: skip


def tpm_slot(**changes: bytes) -> Slot:
    known = {
        "tpm_parent": b"\x00\x0b" + bytes(32), "tpm_public": bytes.fromhex("0008000b") + bytes(74),
        "tpm_private": bytes(158), "tpm_bank": b"\x00\x0b", "tpm_pcrs": b"\x80\x00\x00",
        "protection": b"HARDWARE",
    }  # fmt: skip
    return platform_slot("tpm2", b"tk tpm2", KEY, **{**known, **changes})


def dpapi_slot(sealed: bytes = bytes(range(0xD0, 0xF0)) * 5) -> Slot:
    return platform_slot("dpapi", b"tk dpapi", KEY, dpapi_sealed=sealed, protection=b"LOGIN",
                         readable_when_locked=b"yes", opens_elsewhere=b"no")  # fmt: skip


def header(*with_slots: Slot, **changes: Any) -> Header:
    wrapped = keys.wrap_key(Secret(ROOT), VAULT_ID, KEY_ID, Secret(DEK))
    values: dict[str, Any] = {
        "vault_id": VAULT_ID, "generation": 1, "current_key": KEY_ID,
        "wrapped_keys": {KEY_ID: wrapped}, "slots": with_slots or (key_slot(), passphrase_slot()),
    }  # fmt: skip
    return Header(**{**values, **changes})


def with_fields(data: bytes, magic: bytes, **changes: bytes | None) -> bytes:
    known = open_file(magic, data)
    assert known is not None
    for name, value in changes.items():
        known.pop(name.replace("_", "-"), None)
        if value is not None:
            known[name.replace("_", "-")] = value
    return seal_file(magic, known)


def flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def export(
    *names: str, passphrase: str = PASSPHRASE, count: int | None = None, format_number: int = 1,
    profile: Argon2Profile = PROFILE, salt: bytes = b"\7" * 16, magic: bytes = EXPORT_MAGIC,
    order: tuple[int, ...] = (),
) -> bytes:  # fmt: skip
    """An export of items; `order` puts its records in another one than they were sealed for."""
    export_id = bytes(range(0xF0, 0x100))
    costs = {"memory-kib": profile.memory_kib, "passes": profile.passes, "lanes": profile.lanes}
    head = seal_file(EXPORT_MAGIC, {
        "format": format_number.to_bytes(2, "big"), "id": export_id, "salt": salt,
        **{name: cost.to_bytes(4, "big") for name, cost in costs.items()},
    })  # fmt: skip
    is_cheap = profile is PROFILE and len(salt) == 16
    key = crypto.argon2id(Secret(passphrase), salt, profile) if is_cheap else Secret(bytes(32))

    def record(number: int, content: bytes) -> bytes:
        about = fields.join(b"tokenkeep export record", export_id, number.to_bytes(8, "big"))
        return fields.join(crypto.Cipher(key).seal(Secret(content), about))

    records = [
        record(number, fields.pack({"service": NAME.service.encode(), "name": name.encode(),
                                    "value": b"value of " + name.encode()}))
        for number, name in enumerate(names, 1)
    ]  # fmt: skip
    records = [records[at] for at in order] or records
    end = record(0, (len(names) if count is None else count).to_bytes(8, "big"))
    return magic + fields.join(head) + b"".join(records) + end


def export_cases() -> dict[str, dict[str, Any]]:
    names = ("api key", "other")
    good = {
        "what": "an export of two items",
        "expect": "opens",
        "export": export(*names),
        "passphrase": PASSPHRASE,
        "items": [[NAME.service, name, (b"value of " + name.encode()).hex()] for name in names],
    }

    def bad(what: str, expect: str, **changes: Any) -> dict[str, Any]:
        return {**good, "what": what, "expect": expect, **changes}

    whole, end_bytes = export(*names), 4 + 12 + 8 + 16
    greedy = Argon2Profile(memory_kib=1 << 30, passes=1, lanes=1)
    return {
        "ok-export": good,
        "ok-export-of-nothing": bad("an export of no item", "opens", export=export(), items=[]),
        "export-magic": bad("another magic", "not-a-vault", export=flip(whole, 0)),
        "export-header": bad("a flipped bit of the header", "vault-damaged",
            export=flip(whole, 60)),
        "export-newer": bad("a newer format", "format-unsupported",
            export=export(*names, format_number=2)),
        "export-costs": bad("a terabyte for Argon2id", "vault-damaged",
            export=export(*names, profile=greedy)),
        "export-salt-short": bad("a salt of 7 bytes", "vault-damaged",
            export=export(*names, salt=b"\7" * 7)),
        "export-wrong-passphrase": bad("another passphrase", "wrong-key", passphrase="wrong"),
        "export-cut-off": bad("cut off within a record", "vault-damaged", export=whole[:-1]),
        "export-without-end": bad("cut off between two records", "vault-damaged",
            export=whole[:-end_bytes]),
        "export-record-swapped": bad("the third record before the second", "vault-damaged",
            export=export(*names, "third", order=(0, 2, 1))),
        "export-record-twice": bad("a record twice", "vault-damaged",
            export=export(*names, order=(0, 0))),
        "export-record-damaged": bad("a flipped bit of the second record", "vault-damaged",
            export=flip(whole, -end_bytes - 1)),
        "export-count": bad("one item less than the end says", "vault-damaged",
            export=export(*names, count=3)),
        "export-without-records": bad("the end alone, which tells of two", "vault-damaged",
            export=export(count=2)),
        "export-longer": bad("something behind the end", "vault-damaged", export=whole + b"\0"),
    }  # fmt: skip


def cases() -> dict[str, dict[str, Any]]:
    opened = keys.Keys(header(), Secret(ROOT))
    place = opened.finder.place(NAME.service, subject(NAME))
    good: dict[str, Any] = {
        "what": "a vault that opens",
        "expect": "opens",
        "header": header().encode(),
        "key_file": encode_key_file(Secret(KEY), VAULT_ID).reveal_bytes(),
        "passphrase": None,
        "service": NAME.service,
        "name": NAME.name,
        "kind": NAME.kind,
        "place_a": place[0],
        "place_b": place[1],
        "sealed_name": opened.seal_name(place[0], subject(NAME)),
        "envelope": opened.seal_value(subject(NAME), Secret(VALUE)),
        "value": VALUE,
    }
    other = envelope.Sealer(crypto.Cipher(Secret(DEK)), bytes(16), KEY_ID)
    stranger = envelope.Sealer(crypto.Cipher(Secret(DEK)), VAULT_ID, b"stranger")
    whole, key_file, sealed = good["header"], good["key_file"], good["envelope"]
    damaged_slot = flip(key_slot().encode(), 0)
    packed = header_fields(whole)["slots"].replace(key_slot().encode(), damaged_slot)
    number = (2).to_bytes(2, "big")
    greedy = Argon2Profile(memory_kib=1 << 30, passes=1, lanes=1)

    def bad(what: str, expect: str, **changes: Any) -> dict[str, Any]:
        return {**good, "what": what, "expect": expect, **changes}

    def fields_of_header(**changes: bytes | None) -> bytes:
        return with_fields(whole, HEADER_MAGIC, **changes)

    def fields_of_key(**changes: bytes | None) -> bytes:
        return with_fields(key_file, KEY_FILE_MAGIC, **changes)

    def fields_of_slot(**changes: bytes) -> bytes:
        found = fields.unpack(header_fields(whole)["slots"])
        known = fields.unpack(found["02020202"][:-SLOT_CHECKSUM_BYTES])
        known.update({name.replace("_", "-"): value for name, value in changes.items()})
        body = fields.pack(known)
        found["02020202"] = body + crypto.checksum(body)[:SLOT_CHECKSUM_BYTES]
        return with_fields(whole, HEADER_MAGIC, slots=fields.pack(found))

    moving = header(
        previous_root=keys.wrap_previous_root(Secret(ROOT), VAULT_ID, Secret(PREVIOUS_ROOT))
    )
    previous = keys.Finder(Secret(PREVIOUS_ROOT)).place(NAME.service, subject(NAME))
    columns = {"place_a": place[0], "place_b": place[1], "name": good["sealed_name"],
               "envelope": flip(sealed, -1)}  # fmt: skip
    kept = {
        "kept": opened.seal_quarantined(Secret(fields.pack(columns))),
        "columns": {name: column.hex() for name, column in columns.items()},
    }
    hologram = platform_slot("hologram", b"tk hologram", KEY, hologram_angle=b"\x2a")

    by_phrase = {"key_file": None, "passphrase": PASSPHRASE}
    return {
        "ok-key-file": good,
        "ok-passphrase": bad("opened by its passphrase", "opens", **by_phrase),
        "ok-key-file-without-vault": bad("a key made beforehand", "opens",
            key_file=encode_key_file(Secret(KEY), b"").reveal_bytes()),
        "ok-unknown-field": bad("a field of a newer version", "opens",
            header=fields_of_header(colour=b"blue")),
        "ok-newer-but-readable": bad("a newer format that this one may read", "opens",
            header=fields_of_header(format=number, least_writer=number)),
        "ok-empty-value": bad("an empty value is a value", "opens", value=b"",
            envelope=opened.seal_value(subject(NAME), Secret(b""))),
        "ok-systemd-credential": bad("opened by a credential", "opens",
            header=header(credential_slot()).encode(), key_file=None,
            **{"systemd-credential": CREDENTIAL}),
        "ok-store-item": bad("opened by an item in another store", "opens",
            header=header(item_slot()).encode(), key_file=None, **{"store-item": KEY}),
        "ok-tpm2": bad("opened by what a TPM unseals", "opens",
            header=header(tpm_slot()).encode(), key_file=None, tpm2=KEY),
        "ok-dpapi": bad("opened by what DPAPI unseals", "opens",
            header=header(dpapi_slot()).encode(), key_file=None, dpapi=KEY),
        "ok-slot-of-another-platform": bad("a slot that this machine cannot open", "opens",
            header=header(key_slot(), dpapi_slot()).encode()),
        "ok-slot-of-unknown-kind": bad("a slot of a kind that nobody knows yet", "opens",
            header=header(key_slot(), hologram).encode()),
        "ok-slot-damaged-beside": bad("the other slot is damaged", "opens",
            header=with_fields(header(key_slot(), dpapi_slot()).encode(), HEADER_MAGIC,
                slots=fields.pack({"01010101": key_slot().encode(),
                                   "03030303": flip(dpapi_slot().encode(), 0)}))),
        "ok-previous-root": bad("the root key is being replaced", "opens",
            header=moving.encode(),
            previous_place_a=previous[0], previous_place_b=previous[1]),
        "ok-quarantine": bad("an entry of quarantine", "opens", **kept),
        "previous-root-empty": bad("a previous root key that is empty", "vault-damaged",
            header=fields_of_header(previous_root=b"")),
        "header-rekeying": bad("a mark that is not empty", "vault-damaged",
            header=fields_of_header(rekeying=b"1")),
        "key-file-of-an-empty-id": bad("a key file that names a vault without an id", "wrong-key",
            key_file=fields_of_key(vault_id=b"")),
        "previous-root-damaged": bad("a previous root key that does not open", "vault-damaged",
            header=header(previous_root=flip(moving.previous_root, -1)).encode()),
        "quarantine-tag": bad("a flipped bit of the tag", "secret-damaged",
            **{**kept, "kept": flip(kept["kept"], -1)}),
        "quarantine-of-a-value": bad("the envelope of a value", "secret-damaged",
            **{**kept, "kept": sealed}),
        "quarantine-without-envelope": bad("a row without its envelope", "secret-damaged",
            **{**kept, "kept": opened.seal_quarantined(Secret(fields.pack(
                {name: columns[name] for name in ("place_a", "place_b", "name")})))}),
        "slot-dpapi-empty": bad("nothing sealed", "vault-damaged", key_file=None, dpapi=KEY,
            header=header(dpapi_slot(sealed=b"")).encode()),
        "slot-salt-short": bad("a salt of 7 bytes", "vault-damaged", **by_phrase,
            header=header(passphrase_slot(salt=b"\5" * 7)).encode()),
        "slot-root-short": bad("a root key of 31 bytes", "vault-damaged",
            header=header(key_slot(ROOT[:31])).encode()),
        "slot-credential-short": bad("a credential of 31 bytes", "wrong-key",
            header=header(credential_slot()).encode(), key_file=None,
            **{"systemd-credential": CREDENTIAL[:31]}),
        "slot-item-short": bad("an item that is no key", "wrong-key",
            header=header(item_slot()).encode(), key_file=None, **{"store-item": KEY[:31]}),
        "slot-tpm2-pcrs": bad("PCRs in four bytes", "vault-damaged", key_file=None, tpm2=KEY,
            header=header(tpm_slot(tpm_pcrs=bytes(4))).encode()),
        "header-magic": bad("another magic", "not-a-vault", header=flip(whole, 0)),
        "header-empty": bad("an empty header", "not-a-vault", header=b""),
        "header-checksum": bad("a flipped bit of the checksum", "vault-damaged",
            header=flip(whole, -1)),
        "header-body": bad("a flipped bit of the fields", "vault-damaged", header=flip(whole, 60)),
        "header-truncated": bad("cut off", "vault-damaged", header=whole[:-40]),
        "header-newer": bad("a newer reader is needed", "format-unsupported",
            header=fields_of_header(least_reader=number)),
        "header-older": bad("an upgrade is needed", "format-unsupported",
            header=fields_of_header(format=bytes(2))),
        "header-without-generation": bad("a missing field", "vault-damaged",
            header=fields_of_header(generation=None)),
        "header-short-vault-id": bad("a vault id of 15 bytes", "vault-damaged",
            header=fields_of_header(vault_id=VAULT_ID[:15])),
        "header-without-format": bad("no format", "vault-damaged",
            header=fields_of_header(format=None)),
        "header-long-format": bad("a format of three bytes", "vault-damaged",
            header=fields_of_header(format=b"\0\0\1")),
        "header-without-slots": bad("nothing opens it", "vault-damaged",
            header=fields_of_header(slots=b"")),
        "header-key-in-capitals": bad("the id of a key in capitals", "vault-damaged",
            header=fields_of_header(keys=fields.pack({
                KEY_ID.hex(): header().wrapped_keys[KEY_ID],
                "101112131415161A": keys.wrap_key(
                    Secret(ROOT), VAULT_ID, KEY_ID[:-1] + b"\x1a", Secret(DEK))}))),
        "key-short": bad("a DEK of 31 bytes", "vault-damaged",
            header=header(wrapped_keys={KEY_ID: keys.wrap_key(
                Secret(ROOT), VAULT_ID, KEY_ID, Secret(DEK[:31]))}).encode()),
        "header-without-current-key": bad("the current key is not among the keys",
            "vault-damaged", header=fields_of_header(current_key=bytes(8))),
        "key-damaged": bad("a wrapped DEK that does not open", "vault-damaged",
            header=header(wrapped_keys={
                KEY_ID: flip(header().wrapped_keys[KEY_ID], -1)}).encode()),
        "slot-damaged": bad("the slot's own checksum is wrong", "vault-damaged",
            header=with_fields(whole, HEADER_MAGIC, slots=packed)),
        "slot-costs": bad("a terabyte for Argon2id", "vault-damaged",
            header=header(passphrase_slot(greedy)).encode(), **by_phrase),
        "slot-costs-long": bad("costs in eight bytes", "vault-damaged",
            header=fields_of_slot(memory_kib=(1 << 40).to_bytes(8, "big")), **by_phrase),
        "slot-wrong-passphrase": bad("another passphrase", "wrong-key", key_file=None,
            passphrase="wrong"),
        "key-file-wrong": bad("another key", "wrong-key", key_file=fields_of_key(key=bytes(32))),
        "key-file-of-another-vault": bad("the right key, named for another vault", "wrong-key",
            key_file=fields_of_key(vault_id=bytes(16))),
        "key-file-magic": bad("no key file", "wrong-key", key_file=flip(key_file, 0)),
        "key-file-checksum": bad("a damaged key file", "wrong-key", key_file=flip(key_file, -1)),
        "key-file-short": bad("a key of 31 bytes", "wrong-key",
            key_file=fields_of_key(key=KEY[:31])),
        "envelope-tag": bad("a flipped bit of the tag", "secret-damaged",
            envelope=flip(sealed, -1)),
        "envelope-nonce": bad("a flipped bit of the nonce", "secret-damaged",
            envelope=flip(sealed, 9)),
        "envelope-truncated": bad("cut off", "secret-damaged", envelope=sealed[:36]),
        "envelope-newer": bad("a newer version", "format-unsupported",
            envelope=b"\2" + sealed[1:]),
        "envelope-version-zero": bad("no version", "secret-damaged", envelope=b"\0" + sealed[1:]),
        "envelope-unknown-key": bad("sealed with a key that is not there", "secret-damaged",
            envelope=stranger.seal(envelope.VALUE, subject(NAME), Secret(VALUE))),
        "envelope-of-another-item": bad("another item's envelope", "secret-damaged",
            envelope=opened.seal_value(subject(ItemName("a", "b")), Secret(VALUE))),
        "envelope-of-another-kind": bad("a session's envelope", "secret-damaged",
            envelope=opened.seal_value(
                subject(ItemName(NAME.service, NAME.name, "session")), Secret(VALUE))),
        "envelope-of-a-name": bad("the name's envelope", "secret-damaged",
            envelope=good["sealed_name"]),
        "envelope-of-another-vault": bad("another vault's envelope", "secret-damaged",
            envelope=other.seal(envelope.VALUE, subject(NAME), Secret(VALUE))),
    }  # fmt: skip


def main(folder: Path) -> None:
    """Writes every case."""
    crypto.random_bytes = lambda size: (NONCE * 4)[:size]
    for name, case in {**cases(), **export_cases()}.items():
        text = {key: value.hex() if isinstance(value, bytes) else value
                for key, value in case.items()}  # fmt: skip
        content = json.dumps(text, indent=2) + "\n"
        (folder / f"{name}.json").write_bytes(content.encode("utf-8"))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
