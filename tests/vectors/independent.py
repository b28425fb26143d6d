"""Reads a vault and an export, from `docs/reference/vault-format.md` alone.

It proves the page: nothing of tokenkeep is imported, and what the page does not say is not done.
Every function refuses with `Failure`, whose word is one of the page's table of failures.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

FORMAT = 1
VAULT_MAGIC, KEY_MAGIC, EXPORT_MAGIC = (
    b"tokenkeep vault\n",
    b"tokenkeep key  \n",
    b"tokenkeep export",
)
#: The platforms' kinds of slots, with the purpose of their KEK and the lengths of their fields.
PLATFORMS: dict[str, tuple[bytes, dict[str, tuple[int, int]]]] = {
    "tpm2": (b"tk tpm2", {"tpm-public": (1, 1024), "tpm-private": (1, 1024), "tpm-parent": (34, 34),
                          "tpm-bank": (2, 2), "tpm-pcrs": (3, 3)}),
    "systemd-credential": (b"tk systemd", {}),
    "dpapi": (b"tk dpapi", {"dpapi-sealed": (1, 4096)}),
    "store-item": (b"tk store item", {}),
}  # fmt: skip


class Failure(Exception):
    """What is read does not open; the one argument is the page's word for why."""


class Key(NamedTuple):
    """What opens the slots of one kind: a slot's fields in, the KEK out."""

    kind: str
    kek: Callable[[dict[str, bytes]], bytes]


class Item(NamedTuple):
    """One item of a vault or an export."""

    kind: str
    service: str
    name: str
    value: bytes


# Building blocks


def join(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def unpack(data: bytes, word: str) -> dict[str, bytes]:
    fields: dict[str, bytes] = {}
    last = None
    while data:
        name_end = 2 + int.from_bytes(data[:2], "big")
        value_end = name_end + 4 + int.from_bytes(data[name_end : name_end + 4], "big")
        name = data[2:name_end]
        if len(fields) == 10_000:
            raise Failure(word)
        if name_end + 4 > len(data) or value_end > len(data) or (last is not None and name <= last):
            raise Failure(word)
        fields[text(name, word)] = data[name_end + 4 : value_end]
        data, last = data[value_end:], name
    return fields


def text(data: bytes, word: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Failure(word) from None


def open_file(magic: bytes, data: bytes, word: str) -> dict[str, bytes]:
    body, checksum = data[:-32], data[-32:]
    if not body.startswith(magic) or hashlib.blake2b(body, digest_size=32).digest() != checksum:
        raise Failure(word)
    return unpack(body[len(magic) :], word)


def sized(fields: dict[str, bytes], name: str, size: int, word: str = "vault-damaged") -> bytes:
    if len(fields.get(name, b"")) != size:
        raise Failure(word)
    return fields[name]


def number(fields: dict[str, bytes], name: str, size: int) -> int:
    return int.from_bytes(sized(fields, name, size), "big")


def keyed(key: bytes, purpose: bytes, data: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, key=key, person=purpose, digest_size=size).digest()


def derive(key: bytes, purpose: bytes, data: bytes = b"") -> bytes:
    return keyed(key, purpose, data, 32)


def unseal(key: bytes, about: bytes, sealed: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], about) if len(sealed) >= 28 else None
    except InvalidTag:
        return None


def unseal_key(key: bytes, about: bytes, sealed: bytes) -> bytes:
    found = unseal(key, about, sealed)
    if found is None or len(found) != 32:
        raise Failure("vault-damaged")
    return found


def argon2id(passphrase: str, fields: dict[str, bytes]) -> bytes:
    salt = sized(fields, "salt", 16)
    memory, passes, lanes = (number(fields, name, 4) for name in ("memory-kib", "passes", "lanes"))
    if not (1 <= passes <= 64 and 1 <= lanes <= 16 and 8 * lanes <= memory <= 1 << 20):
        raise Failure("vault-damaged")
    kdf = Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory)
    return kdf.derive(passphrase.encode("utf-8"))


# Keys


def passphrase_key(passphrase: str) -> Key:
    return Key("passphrase", lambda slot: argon2id(passphrase, slot))


def key_file(data: bytes, vault_id: bytes) -> Key:
    fields = open_file(KEY_MAGIC, data, "wrong-key")
    key = sized(fields, "key", 32, "wrong-key")
    if fields.get("vault-id", vault_id) != vault_id:
        raise Failure("wrong-key")
    return Key("key-file", lambda slot: derive(key, b"tk key file", slot["salt"]))


def platform_key(kind: str, given: bytes) -> Key:
    """Of what the platform gives: an unsealed key, a credential, or an item."""
    purpose, lengths = PLATFORMS[kind]

    def kek(slot: dict[str, bytes]) -> bytes:
        if any(not least <= len(slot.get(name, b"")) <= most
               for name, (least, most) in lengths.items()):  # fmt: skip
            raise Failure("vault-damaged")
        key = given
        if kind == "systemd-credential":
            if not 32 <= len(given) <= 65_536:
                raise Failure("wrong-key")
            key = hashlib.blake2b(given, digest_size=32).digest()
        if len(key) != 32:
            raise Failure("wrong-key" if kind == "store-item" else "vault-damaged")
        return derive(key, purpose, slot["salt"])

    return Key(kind, kek)


# The header


class Header:
    """What a vault says without a key."""

    def __init__(self, data: bytes) -> None:
        if not data.startswith(VAULT_MAGIC):
            raise Failure("not-a-vault")
        fields = open_file(VAULT_MAGIC, data, "vault-damaged")
        if number(fields, "least-reader", 2) > FORMAT or number(fields, "format", 2) < 1:
            raise Failure("format-unsupported")
        number(fields, "least-writer", 2)
        self.vault_id = sized(fields, "vault-id", 16)
        self.generation = number(fields, "generation", 8)
        self.deks = by_id(fields, "keys", 8)
        self.slots = by_id(fields, "slots", 4)
        self.previous_root = fields.get("previous-root")
        if "rekeying" in fields:
            sized(fields, "rekeying", 0)
        if sized(fields, "current-key", 8) not in self.deks or not self.slots:
            raise Failure("vault-damaged")


def by_id(fields: dict[str, bytes], name: str, size: int) -> dict[bytes, bytes]:
    if name not in fields:
        raise Failure("vault-damaged")
    found = {}
    for hexadecimal, value in unpack(fields[name], "vault-damaged").items():
        if len(hexadecimal) != 2 * size or set(hexadecimal) - set("0123456789abcdef"):
            raise Failure("vault-damaged")
        found[bytes.fromhex(hexadecimal)] = value
    return found


def slot_fields(blob: bytes) -> dict[str, bytes]:
    body, mark = blob[:-16], blob[-16:]
    if hashlib.blake2b(body, digest_size=32).digest()[:16] != mark:
        raise Failure("vault-damaged")
    fields = unpack(body, "vault-damaged")
    sized(fields, "salt", 16)
    for name in ("kind", "label"):
        text(fields.get(name, b"\xff"), "vault-damaged")
    if "wrapped" not in fields:
        raise Failure("vault-damaged")
    for name in ("memory-kib", "passes", "lanes"):
        if "memory-kib" in fields:
            sized(fields, name, 4)
    return fields


def root_key(header: Header, key: Key) -> bytes:
    words, is_damaged = [], False
    for slot_id, blob in header.slots.items():
        try:
            slot = slot_fields(blob)
        except Failure:
            is_damaged = True
            continue
        if slot["kind"] != key.kind.encode():
            continue
        try:
            kek = key.kek(slot)
        except Failure as failure:
            words.append(str(failure))
            continue
        about = join(b"tokenkeep slot", header.vault_id, slot_id, slot["kind"], slot["salt"])
        if unseal(kek, about, slot["wrapped"]) is not None:
            return unseal_key(kek, about, slot["wrapped"])
        words.append("wrong-key")
    only_damage = set(words) == {"vault-damaged"} if words else is_damaged
    raise Failure("vault-damaged" if only_damage else "wrong-key")


# The items


class Vault:
    """An unlocked vault: what is sealed, opened; and where items lie."""

    def __init__(self, header: Header, root: bytes) -> None:
        self.vault_id, wrapping = header.vault_id, derive(root, b"tk wrap")
        self.deks = {
            dek_id: unseal_key(wrapping, join(b"tokenkeep dek", self.vault_id, dek_id), wrapped)
            for dek_id, wrapped in header.deks.items()
        }
        self.roots = [root]
        if header.previous_root is not None:
            about = join(b"tokenkeep previous root", self.vault_id)
            self.roots.insert(0, unseal_key(wrapping, about, header.previous_root))

    def places(self, kind: str, service: str, name: str) -> list[tuple[bytes, bytes]]:
        """Of either root key, the previous one's first."""
        found = []
        for root in self.roots:
            t = keyed(derive(root, b"tk find service"), b"tk service", service.encode(), 16)
            h = keyed(derive(root, b"tk find item"), b"tk item", subject(kind, service, name), 32)
            found.append((t[0:8] + h[0:16], t[8:16] + h[16:32]))
        return found

    def open(self, what: bytes, where: bytes, envelope: bytes) -> bytes:
        if len(envelope) < 37:
            raise Failure("secret-damaged")
        version, dek_id, sealed = envelope[:1], envelope[1:9], envelope[9:]
        if version > b"\1":
            raise Failure("format-unsupported")
        about = join(b"tokenkeep envelope", self.vault_id, dek_id, what, where, version)
        found = None
        if version == b"\1" and dek_id in self.deks:
            found = unseal(self.deks[dek_id], about, sealed)
        if found is None:
            raise Failure("secret-damaged")
        return found

    def name(self, place_a: bytes, envelope: bytes) -> tuple[str, str, str]:
        packed, parts = self.open(b"name", place_a, envelope), []
        while packed:
            end = 4 + int.from_bytes(packed[:4], "big")
            if end > len(packed):
                raise Failure("secret-damaged")
            parts.append(text(packed[4:end], "secret-damaged"))
            packed = packed[end:]
        if len(parts) != 3 or parts[0] not in ("item", "session", "migration"):
            raise Failure("secret-damaged")
        return parts[0], parts[1], parts[2]

    def quarantined(self, kept: bytes) -> dict[str, bytes]:
        """The columns of a row that did not open."""
        columns = unpack(self.open(b"quarantine", b"", kept), "secret-damaged")
        if not {"place_a", "place_b", "name", "envelope"} <= columns.keys():
            raise Failure("secret-damaged")
        return columns


def subject(kind: str, service: str, name: str) -> bytes:
    return join(kind.encode(), service.encode(), name.encode())


def read_vault(
    path: Path, key: Callable[[Header], Key]
) -> tuple[list[Item], list[tuple[tuple[str, str, str], dict[str, bytes]]]]:
    """Every item of a vault's directory, and what is in quarantine: whose it is, and its row."""
    header = Header((path / "header").read_bytes())
    vault = Vault(header, root_key(header, key(header)))
    connection = sqlite3.connect(f"{(path / 'vault.db').as_uri()}?mode=ro", uri=True)
    try:
        state = connection.execute(
            "SELECT vault_id, generation FROM state WHERE one = 1"
        ).fetchone()
        numbers = [connection.execute(f"PRAGMA {name}").fetchone()[0]
                   for name in ("application_id", "user_version")]  # fmt: skip
        rows = connection.execute("SELECT place_a, place_b, name, envelope FROM item").fetchall()
        kept = connection.execute("SELECT place_a, name, kept FROM quarantine").fetchall()
    finally:
        connection.close()
    if numbers != [0x746B7631, 1] or state[0] != header.vault_id or state[1] > header.generation:
        raise Failure("vault-damaged")
    items = []
    for place_a, place_b, sealed, envelope in rows:
        name = vault.name(place_a, sealed)
        if (place_a, place_b) not in vault.places(*name):
            raise Failure("secret-damaged")
        items.append(Item(*name, vault.open(b"value", subject(*name), envelope)))
    return sorted(items), [
        (vault.name(place_a, sealed), vault.quarantined(row)) for place_a, sealed, row in kept
    ]


# The export


def read_export(data: bytes, passphrase: str) -> list[Item]:
    if not data.startswith(EXPORT_MAGIC):
        raise Failure("not-a-vault")
    if int.from_bytes(data[16:20], "big") > 4096:
        raise Failure("vault-damaged")
    at = 20 + int.from_bytes(data[16:20], "big")
    fields = open_file(EXPORT_MAGIC, data[20:at], "vault-damaged")
    if number(fields, "format", 2) > FORMAT:
        raise Failure("format-unsupported")
    export_id, key = sized(fields, "id", 16), argon2id(passphrase, fields)
    items: list[Item] = []

    def record(n: int, sealed: bytes) -> bytes | None:
        about = join(b"tokenkeep export record", export_id, n.to_bytes(8, "big"))
        return unseal(key, about, sealed)

    while True:
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or at + 4 > len(data):
            raise Failure("vault-damaged")
        content = record(len(items) + 1, data[at + 4 : end])
        if content is None:
            last = record(0, data[at + 4 : end])
            if end == len(data) and last == len(items).to_bytes(8, "big"):
                return items
            raise Failure("vault-damaged" if items or last is not None else "wrong-key")
        found = unpack(content, "vault-damaged")
        if not {"service", "name", "value"} <= found.keys():
            raise Failure("vault-damaged")
        service, name = (text(found[each], "vault-damaged") for each in ("service", "name"))
        items.append(Item("item", service, name, found["value"]))
        at = end


# The vectors


def verdict(case: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """How a vector's case fails, or `opens`; and what it holds, in the case's words."""
    try:
        return "opens", _export(case) if "export" in case else _item(case)
    except Failure as failure:
        return str(failure), {}


def _export(case: dict[str, Any]) -> dict[str, Any]:
    items = read_export(bytes.fromhex(case["export"]), case["passphrase"])
    return {"items": [[item.service, item.name, item.value.hex()] for item in items]}


def _item(case: dict[str, Any]) -> dict[str, Any]:
    data = {name: bytes.fromhex(case[name] or "") for name in
            ("header", "key_file", "place_a", "sealed_name", "envelope")}  # fmt: skip
    header = Header(data["header"])
    vault = Vault(header, root_key(header, _key(case, header)))
    whole = case["kind"], case["service"], case["name"]
    value = vault.open(b"value", subject(*whole), data["envelope"])
    found: dict[str, Any] = {"value": value.hex()}
    *previous, found["place_a"], found["place_b"] = [
        place.hex() for places in vault.places(*whole) for place in places
    ]
    if previous:
        found["previous_place_a"], found["previous_place_b"] = previous
    kind, found["service"], found["name"] = vault.name(data["place_a"], data["sealed_name"])
    if "kept" in case:
        columns = vault.quarantined(bytes.fromhex(case["kept"]))
        found["columns"] = {name: column.hex() for name, column in columns.items()}
    return {**found, "kind": kind}


def _key(case: dict[str, Any], header: Header) -> Key:
    for kind in PLATFORMS:
        if kind in case:
            return platform_key(kind, bytes.fromhex(case[kind]))
    if case["key_file"] is not None:
        return key_file(bytes.fromhex(case["key_file"]), header.vault_id)
    return passphrase_key(case["passphrase"])
