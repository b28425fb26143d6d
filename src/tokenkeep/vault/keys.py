"""The keys of an unlocked vault: a value that knows how to find, seal and open. No input or output.

The root key derives what items are found by, and wraps the DEKs that seal them. While a root key
is being replaced there are two of them: items that were not moved yet are found by the previous.
"""

from __future__ import annotations

from tokenkeep import fields
from tokenkeep.crypto import KEY_BYTES, Cipher, KeyedHash, derive
from tokenkeep.errors import SecretDamaged, VaultDamaged
from tokenkeep.item import ItemName
from tokenkeep.secret import Secret
from tokenkeep.vault import envelope
from tokenkeep.vault.envelope import Sealer
from tokenkeep.vault.format import RESTORE_HINT, Header

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: When an item's entry was looked at, its first place, and the envelope that was put there.
    Put = tuple[float, bytearray, bytearray]

#: A place is a service's tag and an item's hash. Two services or two items of one vault meet in
#: neither half by accident: 2**64 services and 2**128 items apart.
SERVICE_TAG_BYTES = 8
ITEM_HASH_BYTES = 16
#: Services whose tags are remembered; an application has one.
_MOST_SERVICES = 64

#: Items whose envelopes are remembered, at most some hundred bytes and this value each.
_MOST_ITEMS = 1000
_LONGEST_VALUE = 4096

_DEK_LABEL = b"tokenkeep dek"
_ROOT_LABEL = b"tokenkeep previous root"


class Finder:
    """Where the items of one root key lie: keyed hashes of their names."""

    __slots__ = ("_items", "_services", "_tags")

    def __init__(self, root: Secret) -> None:
        self._items = KeyedHash(derive(root, b"tk find item"), b"tk item", 2 * ITEM_HASH_BYTES)
        self._services = KeyedHash(
            derive(root, b"tk find service"), b"tk service", 2 * SERVICE_TAG_BYTES
        )
        self._tags: dict[str, tuple[bytes, bytes]] = {}

    def place(self, service: str, subject: bytes) -> tuple[bytes, bytes]:
        """The two places of an item, with no bit in common."""
        tag_a, tag_b = self._tags.get(service) or self.tags(service)
        digest = self._items.digest(subject)
        return tag_a + digest[:ITEM_HASH_BYTES], tag_b + digest[ITEM_HASH_BYTES:]

    def tags(self, service: str) -> tuple[bytes, bytes]:
        """What the places of a service's items begin with."""
        digest = self._services.digest(service.encode("utf-8"))
        tags = digest[:SERVICE_TAG_BYTES], digest[SERVICE_TAG_BYTES:]
        if len(self._tags) < _MOST_SERVICES:
            self._tags[service] = tags
        return tags


class Keys:
    """Everything that a header and its root key give.

    Attributes:
        sealer: seals under the current DEK.
        put: what this process put last, by subject; somebody may have written since.
    """

    __slots__ = (
        "_sealers",
        "current_key",
        "finder",
        "header",
        "previous",
        "put",
        "root",
        "sealer",
        "vault_id",
    )

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
        self.put: dict[bytes, Put] = {}
        self._sealers = {
            key_id: Sealer(
                Cipher(_unwrapped(wrapping, wrapped, _DEK_LABEL, header.vault_id, key_id)),
                header.vault_id,
                key_id,
            )
            for key_id, wrapped in header.wrapped_keys.items()
        }
        self.sealer = self._sealers[self.current_key]
        self.previous: Finder | None = None
        if header.previous_root:
            self.previous = Finder(
                _unwrapped(wrapping, header.previous_root, _ROOT_LABEL, header.vault_id)
            )

    def finders(self) -> tuple[Finder, ...]:
        """Where to look, the previous root key first: items move from there, never to there."""
        return (self.finder,) if self.previous is None else (self.previous, self.finder)

    def open_value(self, subject: bytes, sealed: bytes) -> Secret:
        """The item's value; raises as `open_envelope`."""
        return envelope.open_envelope(self._sealers, envelope.VALUE, subject, sealed)

    def opens(self, subject: bytes, sealed: object) -> bool:
        """Whether that is the envelope of the item's value, and opens."""
        try:
            return isinstance(sealed, bytes) and self.open_value(subject, sealed) is not None
        except SecretDamaged:
            return False

    def seal_value(self, subject: bytes, value: Secret) -> bytes:
        """The envelope of an item's value, under the current DEK."""
        return self.sealer.seal(envelope.VALUE, subject, value)

    def open_name(self, place_a: bytes, sealed: bytes) -> ItemName:
        """The name of the item that lies at this place.

        Raises:
            SecretDamaged: it does not open.
            FormatUnsupported: a newer version sealed it.
        """
        opened = envelope.open_envelope(self._sealers, envelope.NAME, place_a, sealed)
        return envelope.name_of(opened.reveal_bytes())

    def seal_name(self, place_a: bytes, subject: bytes) -> bytes:
        """The envelope of an item's name."""
        return self.sealer.seal_name(place_a, subject)

    def remember(self, subject: bytes, put: Put) -> None:
        """Keeps how an item was just put."""
        if len(put[-1]) <= _LONGEST_VALUE:
            if len(self.put) >= _MOST_ITEMS:
                self.put.clear()  # in one step: other threads are looking
            self.put[subject] = put

    def forget(self, subject: bytes) -> None:
        """Takes back what `remember` kept: the item does not open any more."""
        self.put.pop(subject, None)

    def open_quarantined(self, sealed: object) -> Secret:
        """What quarantine keeps of an item; raises as `open_name`."""
        if not isinstance(sealed, bytes):
            raise SecretDamaged("the entry is damaged", hint="tokenkeep vault check")
        return envelope.open_envelope(self._sealers, envelope.QUARANTINE, b"", sealed)

    def seal_quarantined(self, kept: Secret) -> bytes:
        """The envelope of what quarantine keeps."""
        return self.sealer.seal(envelope.QUARANTINE, b"", kept)


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
    if key is None or key.size != KEY_BYTES:
        raise VaultDamaged("a key in the vault's header is damaged", hint=RESTORE_HINT)
    return key
