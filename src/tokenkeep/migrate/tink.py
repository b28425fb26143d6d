"""Tink's formats as EncryptedSharedPreferences uses them. Nothing here does input or output.

A keyset is a protocol buffer (tink.proto, aes_gcm.proto, aes_siv.proto), encrypted as a whole with
a master key; a ciphertext begins with 0x01 and the four bytes of its key's id.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenkeep.crypto import Cipher, aes_siv_open
from tokenkeep.errors import SecretDamaged
from tokenkeep.secret import Secret

_AES_GCM = b"type.googleapis.com/google.crypto.tink.AesGcmKey"
_AES_SIV = b"type.googleapis.com/google.crypto.tink.AesSivKey"
#: Which field of a key's own message holds the key.
_KEY_FIELD = {_AES_GCM: 3, _AES_SIV: 2}
_ENABLED, _TINK_PREFIX = 1, 1
_PREFIX_BYTES = 5
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


class Keyset:
    """The enabled keys of one keyset, by the prefix of what they encrypted."""

    def __init__(self, content: Secret) -> None:
        found: dict[bytes, tuple[bytes, Secret]] = {}
        is_sound = True
        try:
            for key in _all(content.reveal_bytes(), 2):
                entry = _entry(key)
                if entry is not None:
                    found[entry[0]] = entry[1:]
        except ValueError:
            is_sound = False
        if not is_sound or not found:
            raise SecretDamaged("the keyset is damaged")
        self._keys = found

    def open(self, sealed: bytes, associated: bytes) -> Secret | None:
        """What was sealed, with AES-256-GCM; None if it does not open."""
        kind, key = self._keys.get(sealed[:_PREFIX_BYTES], (b"", None))
        if key is None or kind != _AES_GCM:
            return None
        return Cipher(key).open(sealed[_PREFIX_BYTES:], associated)

    def open_deterministic(self, sealed: bytes, associated: bytes) -> Secret | None:
        """What was sealed, with AES-256-SIV; None if it does not open."""
        kind, key = self._keys.get(sealed[:_PREFIX_BYTES], (b"", None))
        if key is None or kind != _AES_SIV:
            return None
        return aes_siv_open(key, sealed[_PREFIX_BYTES:], associated)


def encrypted_keyset(content: bytes) -> bytes:
    """The ciphertext in an EncryptedKeyset.

    Raises:
        SecretDamaged: it is none.
    """
    found: list[bytes] = []
    try:
        found = _all(content, 2)
    except ValueError:
        pass
    if len(found) != 1:
        raise SecretDamaged("the keyset is damaged")
    return found[0]


def _entry(key: bytes) -> tuple[bytes, bytes, Secret] | None:
    """Prefix, type and key of a Keyset.Key; None if this is no enabled key that we know."""
    status = key_id = prefix_type = 0
    data = b""
    for number, value in _fields(key):
        if number == 1 and isinstance(value, bytes):
            data = value
        elif isinstance(value, int):
            status = value if number == 2 else status
            key_id = value if number == 3 else key_id
            prefix_type = value if number == 4 else prefix_type
    kinds, values = _all(data, 1), _all(data, 2)
    if status != _ENABLED or prefix_type != _TINK_PREFIX or len(kinds) != 1 or len(values) != 1:
        return None
    field = _KEY_FIELD.get(kinds[0])
    keys = [] if field is None else _all(values[0], field)
    if len(keys) != 1:
        return None
    return b"\x01" + (key_id & 0xFFFFFFFF).to_bytes(4, "big"), kinds[0], Secret(keys[0])


def _all(message: bytes, wanted: int) -> list[bytes]:
    return [
        value for number, value in _fields(message) if number == wanted and isinstance(value, bytes)
    ]


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Each field's number and value.

    Raises:
        ValueError: this is no protocol buffer.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED_32, _FIXED_64):
            size = 4 if wire == _FIXED_32 else 8
        else:
            raise ValueError("an unknown kind of field")
        if size > len(message) - at:
            raise ValueError("a field is cut short")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number is cut short")
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return value, at
    raise ValueError("a number is too long")
