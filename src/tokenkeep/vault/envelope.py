"""The envelope: one sealed thing and what it is bound to. Nothing here does input or output.

An envelope is version (1 byte), key id (8), nonce (12), ciphertext and tag. Its associated data
names the format, the vault, the kind, the key and the item, each behind its length, so that an
envelope opens in no other place than its own.
"""

from __future__ import annotations

from tokenkeep import fields
from tokenkeep.crypto import NONCE_BYTES, TAG_BYTES, Cipher
from tokenkeep.errors import FormatUnsupported, SecretDamaged
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.format import KEY_ID_BYTES

ENVELOPE_VERSION = 1
_VERSION = bytes([ENVELOPE_VERSION])
_LABEL = b"tokenkeep envelope"
_OVERHEAD = 1 + KEY_ID_BYTES + NONCE_BYTES + TAG_BYTES


def subject(name: ItemName) -> bytes:
    """The item as bytes: kind, service and name."""
    return fields.join(
        name.kind.encode("utf-8"), name.service.encode("utf-8"), name.name.encode("utf-8")
    )


def seal(
    cipher: Cipher, vault_id: bytes, key_id: bytes, about: tuple[bytes, ...], value: Secret
) -> bytes:
    """The envelope of a value.

    Args:
        about: what it is and where it belongs: a kind and what identifies it within the kind.
    """
    return _VERSION + key_id + cipher.seal(value, _associated(vault_id, key_id, about))


def open_envelope(
    ciphers: dict[bytes, Cipher], vault_id: bytes, about: tuple[bytes, ...], envelope: bytes
) -> Secret:
    """The value in an envelope.

    Raises:
        FormatUnsupported: a newer version sealed it.
        SecretDamaged: it does not open, or its key is gone.
    """
    if len(envelope) < _OVERHEAD:
        raise SecretDamaged("the item is truncated", hint="tokenkeep vault check")
    if envelope[:1] > _VERSION:
        raise FormatUnsupported(
            "a newer version of tokenkeep wrote this item", hint="pip install --upgrade tokenkeep"
        )
    key_id = envelope[1 : 1 + KEY_ID_BYTES]
    cipher = ciphers.get(key_id)
    value = None
    if cipher is not None and envelope[:1] == _VERSION:
        value = cipher.open(envelope[1 + KEY_ID_BYTES :], _associated(vault_id, key_id, about))
    if value is None:
        raise SecretDamaged("the item does not open", hint="tokenkeep vault check")
    return value


def key_id_of(envelope: bytes) -> bytes:
    """The id of the key that the envelope says it is sealed with."""
    return envelope[1 : 1 + KEY_ID_BYTES]


def _associated(vault_id: bytes, key_id: bytes, about: tuple[bytes, ...]) -> bytes:
    return fields.join(_LABEL, vault_id, key_id, *about, _VERSION)
