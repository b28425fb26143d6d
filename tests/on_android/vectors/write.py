"""Writes what EncryptedSharedPreferences leaves behind, with Tink itself (the package `tink`).

Run as `python tests/on_android/vectors/write.py` in an environment with `tink`; nothing of
tokenkeep's has a part in it. The keys are random: another run writes other files, as good as these.
What the Android classes do around Tink is written here after androidx.security.crypto: names with
the file's name as associated data, values with the sealed name, master key without any.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path
from typing import Any

import tink
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tink import aead, daead, proto_keyset_format, secret_key_access, tink_config
from tink.proto import tink_pb2

HERE = Path(__file__).parent
NAMES = "__androidx_security_crypto_encrypted_prefs_key_keyset__"
VALUES = "__androidx_security_crypto_encrypted_prefs_value_keyset__"
FLUTTER = "VGhpcyBpcyB0aGUgcHJlZml4IGZvciBhIHNlY3VyZSBzdG9yYWdlCg_"


class MasterKey(aead.Aead):
    """As AndroidKeystoreAesGcm: nonce, ciphertext and tag, without Tink's prefix."""

    def __init__(self, key: bytes) -> None:
        self._key = AESGCM(key)

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._key.encrypt(nonce, plaintext, associated_data)

    def decrypt(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        return self._key.decrypt(ciphertext[:12], ciphertext[12:], associated_data)


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">ii", 0, len(encoded)) + encoded


#: Name -> (the bytes that the Android classes make of the value, what a reader gets).
ENTRIES: dict[str, tuple[bytes, Any]] = {
    "token": (text("s3cret"), "s3cret"),
    "ключ": (text("zażółć 🗝"), "zażółć 🗝"),
    "empty": (text(""), ""),
    "null": (text("__NULL__"), None),
    "int": (struct.pack(">ii", 2, -7), "-7"),
    "long": (struct.pack(">iq", 3, 1 << 40), str(1 << 40)),
    "boolean": (struct.pack(">ib", 5, 1), "true"),
    "float": (struct.pack(">if", 4, 1.5), {"error": "unsupported-option"}),
    "set": (struct.pack(">ii", 1, 1) + b"x", {"error": "unsupported-option"}),
    FLUTTER + "refresh": (text("flutter's"), "flutter's"),
}


def write(file: str) -> None:
    master = os.urandom(32)
    names = tink.new_keyset_handle(daead.deterministic_aead_key_templates.AES256_SIV)
    values = _rotated()
    sealer, value_sealer = names.primitive(daead.DeterministicAead), values.primitive(aead.Aead)
    entries = {
        NAMES: proto_keyset_format.serialize_encrypted(names, MasterKey(master), b"").hex(),
        VALUES: proto_keyset_format.serialize_encrypted(values, MasterKey(master), b"").hex(),
    }
    for name, (value, _read) in ENTRIES.items():
        sealed = sealer.encrypt_deterministically(name.encode(), file.encode())
        place = base64.b64encode(sealed).decode()
        entries[place] = base64.b64encode(value_sealer.encrypt(value, place.encode())).decode()
    content = {
        "file": file,
        "master_key": master.hex(),
        "entries": entries,
        "values": {name: read for name, (_value, read) in ENTRIES.items()},
    }
    path = HERE / f"{file}.json"
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _rotated() -> Any:
    """A keyset with a key that is retired, one that is destroyed, and the primary."""
    template = aead.aead_key_templates.AES256_GCM
    keyset = tink_pb2.Keyset()
    for _ in range(3):
        handle = tink.new_keyset_handle(template)
        raw = proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
        keyset.key.extend(tink_pb2.Keyset.FromString(raw).key)
    keyset.key[1].status = tink_pb2.KeyStatusType.DISABLED
    keyset.primary_key_id = keyset.key[2].key_id
    return proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)


if __name__ == "__main__":
    tink_config.register()
    for name in ("secret_shared_prefs", "FlutterSecureStorage"):
        write(name)
