"""The envelope: one sealed thing and what it is bound to. Nothing here does input or output.

An envelope is version (1 byte), key id (8), nonce (12), ciphertext and tag. Its associated data
names the format, the vault, the kind, the key and the item, each behind its length, so that an
envelope opens in no other place than its own.
"""

from __future__ import annotations

from tokenkeep import fields
from tokenkeep.crypto import NONCE_BYTES, TAG_BYTES, Cipher
from tokenkeep.errors import FormatUnsupported, InvalidName, SecretDamaged
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault.format import KEY_ID_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ENVELOPE_VERSION = 1
_VERSION = bytes([ENVELOPE_VERSION])
_LABEL = b"tokenkeep envelope"
#: The version and the key id.
HEAD_BYTES = 1 + KEY_ID_BYTES
_OVERHEAD = HEAD_BYTES + NONCE_BYTES + TAG_BYTES
_END = fields.join(_VERSION)

#: What an envelope holds: an item's value or name, or what quarantine keeps of an item.
VALUE = b"value"
NAME = b"name"
QUARANTINE = b"quarantine"
_KINDS = (VALUE, NAME, QUARANTINE)


class Sealer:
    """One DEK of one vault."""

    __slots__ = ("_cipher", "_head", "_starts")

    def __init__(self, cipher: Cipher, vault_id: bytes, key_id: bytes) -> None:
        self._cipher = cipher
        self._head = _VERSION + key_id
        self._starts = {kind: fields.join(_LABEL, vault_id, key_id, kind) for kind in _KINDS}

    @property
    def decrypt(self) -> Callable[[bytes, bytes, bytes], bytes]:
        """As the cipher's."""
        return self._cipher.decrypt

    def seal(self, kind: bytes, about: bytes, value: Secret) -> bytes:
        """The envelope of a value.

        Args:
            about: where it belongs: whoever opens it has to know.
        """
        return self._head + self._cipher.seal(value, self._associated(kind, about))

    def seal_name(self, place_a: bytes, subject: bytes) -> bytes:
        """The envelope of an item's name."""
        return self._head + self._cipher.seal_plain(subject, self._associated(NAME, place_a))

    def seal_item(
        self, place_a: bytes, subject: bytes, value: Secret
    ) -> tuple[bytearray, bytearray, bytearray]:
        """The envelopes of an item's name and of its value, and what the latter is bound to."""
        associated = self._associated(VALUE, subject)
        name, sealed = self._cipher.seal_pair(
            self._head, subject, self._associated(NAME, place_a), value, associated
        )
        return name, sealed, associated

    def open(self, kind: bytes, about: bytes, envelope: bytes) -> Secret | None:
        """The value in an envelope of this DEK; None if it does not open."""
        return self._cipher.open(envelope[HEAD_BYTES:], self._associated(kind, about))

    def _associated(self, kind: bytes, about: bytes) -> bytearray:
        return bytearray().join((self._starts[kind], len(about).to_bytes(4, "big"), about, _END))


def open_envelope(
    sealers: dict[bytes, Sealer], kind: bytes, about: bytes, envelope: bytes
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
    sealer = sealers.get(key_id_of(envelope))
    value = None
    if sealer is not None and envelope[:1] == _VERSION:
        value = sealer.open(kind, about, envelope)
    if value is None:
        raise SecretDamaged("the item does not open", hint="tokenkeep vault check")
    return value


def key_id_of(envelope: bytes) -> bytes:
    """The id of the key that the envelope says it is sealed with."""
    return envelope[1:HEAD_BYTES]


def subject(name: ItemName) -> bytes:
    """The item as bytes: kind, service and name."""
    kind = name.kind.encode("utf-8")
    service = name.service.encode("utf-8")
    own = name.name.encode("utf-8")
    # What `fields.join` gives; every read and every write asks for it.
    return b"\0\0\0%c%b\0\0\0%c%b\0\0\0%c%b" % (
        len(kind), kind, len(service), service, len(own), own,
    )  # fmt: skip


def name_of(subject: bytes) -> ItemName:
    """The item that `subject` turned into bytes.

    Raises:
        SecretDamaged: they are no item.
    """
    parts: list[str] = []
    at = 0
    try:
        while at < len(subject):
            end = at + 4 + int.from_bytes(subject[at : at + 4], "big")
            parts.append(subject[at + 4 : end].decode("utf-8"))
            at = end
        kind, service, name = parts
        return ItemName(service, name, kind)
    except (ValueError, InvalidName):
        raise SecretDamaged("the item's name is damaged", hint="tokenkeep vault check") from None
