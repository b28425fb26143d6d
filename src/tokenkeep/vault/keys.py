"""The keys of an unlocked vault: a value that knows how to find, seal and open. No input or output.

The root key derives what items are found by, and wraps the DEKs that seal them. While a root key
is being replaced there are two of them: items that were not moved yet are found by the previous.
"""

from __future__ import annotations

from tokenkeep import fields
from tokenkeep.crypto import Cipher, KeyedHash, derive
from tokenkeep.errors import VaultDamaged
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import envelope
from tokenkeep.vault.format import Header

#: Half of a BLAKE2b-512: the look-up hash, and beside it the independent bits of the row's id.
LOOKUP_BYTES = 32
_ROW_ID_MASK = (1 << 63) - 1
SERVICE_TAG_BYTES = 16

_ITEM_KIND = b"value"
_NAME_KIND = b"name"
_QUARANTINE_KIND = b"quarantine"
_DEK_LABEL = b"tokenkeep dek"
_ROOT_LABEL = b"tokenkeep previous root"


class Finder:
    """Where the items of one root key lie: keyed hashes of their names."""

    __slots__ = ("_items", "_services")

    def __init__(self, root: Secret) -> None:
        self._items = KeyedHash(derive(root, b"tk find item"), b"tk item", LOOKUP_BYTES + 8)
        self._services = KeyedHash(
            derive(root, b"tk find service"), b"tk service", SERVICE_TAG_BYTES
        )

    def place(self, subject: bytes) -> tuple[bytes, int]:
        """The look-up hash and the row id of an item: two ways to it, with no bit in common."""
        digest = self._items.digest(subject)
        return (
            digest[:LOOKUP_BYTES],
            int.from_bytes(digest[LOOKUP_BYTES:], "big") & _ROW_ID_MASK,
        )

    def service_tag(self, service: str) -> bytes:
        """What the rows of a service have in common."""
        return self._services.digest(service.encode("utf-8"))


class Keys:
    """Everything that a header and its root key give."""

    __slots__ = ("_ciphers", "current_key", "finder", "header", "previous", "root", "vault_id")

    def __init__(self, header: Header, root: Secret) -> None:
        """Unwraps the keys.

        Raises:
            VaultDamaged: the root key is right and a wrapped key does not open.
        """
        self.header = header
        self.root = root
        self.vault_id = header.vault_id
        self.current_key = header.current_key
        self.finder = Finder(root)
        wrapping = Cipher(derive(root, b"tk wrap"))
        self._ciphers = {
            key_id: Cipher(_unwrapped(wrapping, wrapped, _DEK_LABEL, header.vault_id, key_id))
            for key_id, wrapped in header.wrapped_keys.items()
        }
        self.previous: Finder | None = None
        if header.previous_root:
            self.previous = Finder(
                _unwrapped(wrapping, header.previous_root, _ROOT_LABEL, header.vault_id)
            )

    def open_value(self, subject: bytes, sealed: bytes) -> Secret:
        """The item's value; raises as `open_envelope`."""
        return envelope.open_envelope(self._ciphers, self.vault_id, (_ITEM_KIND, subject), sealed)

    def seal_value(self, subject: bytes, value: Secret) -> bytes:
        """The envelope of an item's value, under the current DEK."""
        return self._seal((_ITEM_KIND, subject), value)

    def open_name(self, lookup: bytes, sealed: bytes) -> ItemName:
        """The name of the item that lies at this look-up hash.

        Raises:
            SecretDamaged: it does not open.
            FormatUnsupported: a newer version sealed it.
        """
        packed = envelope.open_envelope(self._ciphers, self.vault_id, (_NAME_KIND, lookup), sealed)
        found = fields.unpack(packed.reveal_bytes())
        return ItemName(
            found["service"].decode("utf-8"),
            found["name"].decode("utf-8"),
            found["kind"].decode("utf-8"),
        )

    def seal_name(self, lookup: bytes, name: ItemName) -> bytes:
        """The envelope of an item's name."""
        packed = fields.pack(
            {
                "kind": name.kind.encode("utf-8"),
                "service": name.service.encode("utf-8"),
                "name": name.name.encode("utf-8"),
            }
        )
        return self._seal((_NAME_KIND, lookup), Secret(packed))

    def open_quarantined(self, sealed: bytes) -> Secret:
        """What quarantine keeps of an item."""
        return envelope.open_envelope(self._ciphers, self.vault_id, (_QUARANTINE_KIND,), sealed)

    def seal_quarantined(self, kept: Secret) -> bytes:
        """The envelope of what quarantine keeps."""
        return self._seal((_QUARANTINE_KIND,), kept)

    def _seal(self, about: tuple[bytes, ...], value: Secret) -> bytes:
        key_id = self.current_key
        return envelope.seal(self._ciphers[key_id], self.vault_id, key_id, about, value)


def wrap_key(root: Secret, vault_id: bytes, key_id: bytes, key: Secret) -> bytes:
    """A DEK as the header keeps it."""
    return Cipher(derive(root, b"tk wrap")).seal(key, fields.join(_DEK_LABEL, vault_id, key_id))


def unwrap_key(root: Secret, vault_id: bytes, key_id: bytes, wrapped: bytes) -> Secret:
    """A DEK out of the header.

    Raises:
        VaultDamaged: it does not open.
    """
    return _unwrapped(Cipher(derive(root, b"tk wrap")), wrapped, _DEK_LABEL, vault_id, key_id)


def wrap_previous_root(root: Secret, vault_id: bytes, previous: Secret) -> bytes:
    """The root key that is being replaced, as the header keeps it meanwhile."""
    return Cipher(derive(root, b"tk wrap")).seal(previous, fields.join(_ROOT_LABEL, vault_id))


def _unwrapped(wrapping: Cipher, wrapped: bytes, *about: bytes) -> Secret:
    key = wrapping.open(wrapped, fields.join(*about))
    if key is None:
        raise VaultDamaged("a key in the vault's header is damaged")
    return key
